//! Which files of a repository become documents.

use std::collections::BTreeMap;

use super::repository::Repository;
use super::tree::File;
use crate::node::source::globs::{Choice, Selection};
use crate::record::Counts;

/// What the settings choose of a repository's files.
pub(super) struct Chosen<'f> {
    /// The files, in the order of the tree.
    pub(super) files: Vec<&'f File>,
    /// The others, by why they are none.
    pub(super) left_out: Counts,
    /// How many of all fit a glob of `include`.
    fitting: usize,
}

/// Chooses files by their paths and sizes.
pub(super) fn choose<'f>(files: &'f [File], selection: &Selection, max_bytes: u64) -> Chosen<'f> {
    let mut chosen = Chosen { files: Vec::new(), left_out: Counts::default(), fitting: 0 };
    for file in files {
        let choice = selection.choose(&file.path);
        chosen.fitting += usize::from(choice != Choice::NotIncluded);
        let reason = match choice {
            Choice::NotIncluded => "left out: no glob of `include` fits",
            Choice::Excluded => "left out: a glob of `exclude` fits",
            Choice::Taken if !file.is_regular => "left out: a symbolic link or a submodule",
            Choice::Taken if file.size > max_bytes => "left out: larger than `max-bytes`",
            Choice::Taken => {
                chosen.files.push(file);
                continue;
            }
        };
        chosen.left_out.add(reason, 1);
    }
    chosen
}

impl Chosen<'_> {
    /// Says why nothing of `files` was chosen, and what was there, where that is so.
    pub(super) fn nothing(&self, repo: &Repository, files: &[File]) -> Option<String> {
        if !self.files.is_empty() {
            return None;
        }
        let what = match self.fitting {
            0 => "no file fits a glob of `include`".to_owned(),
            1 => "1 file fits a glob of `include`, but it is left out".to_owned(),
            n => format!("{n} files fit a glob of `include`, but all are left out"),
        };
        Some(format!("{repo} gives no document: {what}; it has {}", inventory(files)))
    }
}

/// Says in one phrase what files there are: `1,204 files: 812 .go, 90 .md, 20 others`.
fn inventory(files: &[File]) -> String {
    let mut endings: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files {
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        let ending = name.rfind('.').map_or(name, |at| &name[at..]);
        *endings.entry(ending).or_default() += 1;
    }
    let mut endings: Vec<(&str, usize)> = endings.into_iter().collect();
    endings.sort_by_key(|(ending, count)| (std::cmp::Reverse(*count), *ending));
    let others: usize = endings.iter().skip(6).map(|(_, count)| count).sum();
    let mut parts: Vec<String> = endings.iter().take(6).map(|(ending, count)| format!("{count} {ending}")).collect();
    if others > 0 {
        parts.push(format!("{others} others"));
    }
    if parts.is_empty() {
        return "no file at all".to_owned();
    }
    format!("{} files: {}", files.len(), parts.join(", "))
}
