//! Counted remarks of a filter, such as dropped records by reason.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How often each remark was made. Zero and absent are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<Cow<'static, str>, u64>);

impl Counts {
    /// Counts `what` `n` times more.
    pub fn add(&mut self, what: impl Into<Cow<'static, str>>, n: u64) {
        if n > 0 {
            *self.0.entry(what.into()).or_default() += n;
        }
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for (what, n) in &other.0 {
            match self.0.get_mut(what) {
                Some(count) => *count += n,
                None => self.add(what.clone(), *n),
            }
        }
    }

    /// Takes all of `other` away.
    pub(super) fn subtract_all(&mut self, other: &Self) {
        for (what, n) in &other.0 {
            if let Some(count) = self.0.get_mut(what) {
                *count = count.saturating_sub(*n);
            }
        }
        self.0.retain(|_, count| *count > 0);
    }

    /// Returns how often `what` was counted.
    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Returns the remarks in order of their text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, count)| (&**what, *count))
    }
}
