//! What a fetch is going to ask, and what the globs select of the files that were there last time.

use super::Settings;
use super::chosen::choose;
use super::tree::last_tree;
use crate::node::source::access::AN_HOUR;
use crate::node::source::globs::Selection;
use crate::node::{Forecast, Outlook, Selected};

/// Forecasts the requests of a run.
pub(super) fn forecast(settings: &Settings, outlook: &Outlook<'_>) -> Forecast {
    let repos = settings.repos.len() as u64;
    let (requests, note) = if outlook.previous.contains_key("documents") {
        (repos, "and for each repository that moved its tree, and what changed in it")
    } else {
        (4 * repos, "commit, tree and archive of each repository")
    };
    let mut notes = vec![note.to_owned()];
    notes.extend(settings.access().advice(outlook.secrets).filter(|_| requests > AN_HOUR));
    let (mut warnings, mut selected) = (Vec::new(), Vec::new());
    if let Ok(selection) = Selection::new(&settings.include, &settings.exclude) {
        for repo in settings.repositories() {
            let Some((commit, files)) = last_tree(outlook.store, settings.base(), &repo) else {
                notes.push(format!("what the globs select of `{repo}` is known when its tree was fetched"));
                continue;
            };
            let chosen = choose(&files, &selection, settings.max_bytes);
            let (count, all, commit) = (chosen.files.len(), files.len(), &commit[..7]);
            notes.push(format!("the globs select {count} of {all} files of `{repo}` as it was at {commit}"));
            warnings.extend(chosen.nothing(&repo, &files));
            let files = chosen.files.iter().map(|file| file.path.clone()).collect();
            selected.push(Selected { of: repo.name.clone(), files });
        }
    }
    Forecast { requests: Some(requests), seconds: None, note: notes.join("; "), warnings, selected }
}
