//! Lines with the same id: which of them count, and what they are called.

use rayon::slice::ParallelSliceMut as _;
use serde::{Deserialize, Serialize};

use super::read::Facts;
use crate::record::Form;
use crate::store::Digest;

/// A run with the lines of it that are not simply taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Resolved {
    /// The run.
    pub(super) run: Digest,
    /// Record of the run, from 0, and what becomes of it; in order.
    pub(super) exceptions: Vec<(u32, Fate)>,
}

/// What becomes of a record whose id another one has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Fate {
    /// An equal or a later one is taken.
    #[serde(rename = "-")]
    Dropped,
    /// Its id gets the suffix `~N`.
    #[serde(rename = "~")]
    Numbered(u32),
}

/// How many lines were not simply taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) identical: u64,
    pub(super) superseded: u64,
    pub(super) numbered: u64,
}

/// Decides on all lines of a file.
///
/// Equal records count once. Different rows of one source are all kept, numbered `~2`, `~3`, … in order of the file. Of
/// different issues, pull requests and documents with one id the last counts: the scripts append newer versions.
pub(super) fn resolve(form: Form, runs: &[Digest], facts: &[Facts]) -> (Vec<Resolved>, Tally) {
    let mut resolved: Vec<Resolved> = runs.iter().map(|run| Resolved { run: *run, exceptions: Vec::new() }).collect();
    let mut tally = Tally::default();
    let mut places: Vec<(u128, u32, u32)> = Vec::with_capacity(facts.iter().map(|facts| facts.records.len()).sum());
    for (run, facts) in facts.iter().enumerate() {
        places.extend(facts.records.iter().enumerate().map(|(at, fact)| (fact.id, run as u32, at as u32)));
    }
    places.par_sort_unstable();
    let content = |run: u32, at: u32| facts[run as usize].records[at as usize].content;
    for group in places.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1) {
        let contents: Vec<u64> = group.iter().map(|(_, run, at)| content(*run, *at)).collect();
        for ((_, run, at), fate) in group.iter().zip(fates(form, &contents, &mut tally)) {
            if let Some(fate) = fate {
                resolved[*run as usize].exceptions.push((*at, fate));
            }
        }
    }
    for run in &mut resolved {
        run.exceptions.sort_unstable();
    }
    (resolved, tally)
}

/// Returns what becomes of the records of one id, in order of the file; nothing for those that are simply taken.
fn fates(form: Form, contents: &[u64], tally: &mut Tally) -> Vec<Option<Fate>> {
    let last = contents.last();
    let mut kept: Vec<u64> = Vec::new();
    let mut fates = Vec::with_capacity(contents.len());
    for (n, content) in contents.iter().enumerate() {
        let fate = if form == Form::Rows {
            if kept.contains(content) {
                tally.identical += 1;
                Some(Fate::Dropped)
            } else {
                kept.push(*content);
                tally.numbered += u64::from(kept.len() > 1);
                (kept.len() > 1).then_some(Fate::Numbered(kept.len() as u32))
            }
        } else if n + 1 == contents.len() {
            None
        } else {
            let is_same = Some(content) == last;
            tally.identical += u64::from(is_same);
            tally.superseded += u64::from(!is_same);
            Some(Fate::Dropped)
        };
        fates.push(fate);
    }
    fates
}

impl Resolved {
    /// Returns what becomes of a record of the run; nothing when it is simply taken.
    pub(super) fn fate(&self, record: usize) -> Option<Fate> {
        let at = self.exceptions.binary_search_by_key(&(record as u32), |(at, _)| *at).ok()?;
        Some(self.exceptions[at].1)
    }
}
