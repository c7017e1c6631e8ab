//! Counted remarks of a filter, such as dropped records by reason.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How often each remark was made. Zero and absent are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Cow<'static, str>, u64>", into = "BTreeMap<Cow<'static, str>, u64>")]
pub struct Counts(
    /// In order of the remarks. Most records have one or none, for which a tree would be large.
    Vec<(Cow<'static, str>, u64)>,
);

impl Counts {
    /// Counts `what` `n` times more.
    pub fn add(&mut self, what: impl Into<Cow<'static, str>>, n: u64) {
        if n == 0 {
            return;
        }
        let what = what.into();
        match self.place(&what) {
            Ok(at) => self.0[at].1 += n,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (what, n));
            }
        }
    }

    /// Returns how often `what` was counted.
    pub fn of(&self, what: &str) -> u64 {
        self.place(what).map_or(0, |at| self.0[at].1)
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for (what, n) in &other.0 {
            match self.place(what) {
                Ok(at) => self.0[at].1 += n,
                Err(_) => self.add(what.clone(), *n),
            }
        }
    }

    /// Takes all of `other` away.
    pub(super) fn subtract_all(&mut self, other: &Self) {
        for (what, n) in &other.0 {
            if let Ok(at) = self.place(what) {
                self.0[at].1 = self.0[at].1.saturating_sub(*n);
            }
        }
        self.0.retain(|(_, count)| *count > 0);
    }

    /// Returns how often `what` was counted.
    pub fn get(&self, what: &str) -> u64 {
        self.place(what).map_or(0, |at| self.0[at].1)
    }

    /// Returns where a remark is, or where it would be.
    fn place(&self, what: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(what))
    }

    /// Returns the remarks in order of their text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, count)| (&**what, *count))
    }
}

impl From<BTreeMap<Cow<'static, str>, u64>> for Counts {
    fn from(counts: BTreeMap<Cow<'static, str>, u64>) -> Self {
        Self(counts.into_iter().collect())
    }
}

impl From<Counts> for BTreeMap<Cow<'static, str>, u64> {
    fn from(Counts(counts): Counts) -> Self {
        counts.into_iter().collect()
    }
}
