//! Names of repositories in settings.

use std::collections::BTreeSet;

use crate::node::SettingProblem;

/// Returns what is wrong with the setting `repos`: a list of different names, at least one.
pub(super) fn repository_problems(repos: &[String]) -> Vec<SettingProblem> {
    let mut problems = Vec::new();
    if repos.is_empty() {
        let help = "name at least one, as `OWNER/NAME`";
        problems.push(SettingProblem::new(&["repos"], "settings::empty", "no repository is named", help));
    }
    let mut seen = BTreeSet::new();
    for (index, repo) in repos.iter().enumerate() {
        let at = index.to_string();
        if !is_repository(repo) {
            let message = format!("`{repo}` is not the name of a repository");
            let help = "write it as `OWNER/NAME`, without `https://github.com/`";
            problems.push(SettingProblem::new(&["repos", &at], "settings::wrong_value", message, help));
        } else if !seen.insert(repo.to_ascii_lowercase()) {
            let message = format!("repository `{repo}` is named twice");
            problems.push(SettingProblem::new(&["repos", &at], "settings::twice", message, "leave one out"));
        }
    }
    problems
}

/// Returns whether `name` is `OWNER/NAME` in GitHub's characters.
fn is_repository(name: &str) -> bool {
    let fits = |part: &str| {
        !part.is_empty()
            && !matches!(part, "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    name.split_once('/').is_some_and(|(owner, name)| fits(owner) && fits(name))
}
