//! How questions are worded where nobody asked one.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::text::pattern;
use crate::node::SettingProblem;

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\{[A-Za-z_-]*\}"));

/// Templates of questions; `{title}` and `{heading}` stand for the document's.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Questions {
    /// For a pull request.
    pub(super) pull: String,
    /// For a document's text before its first heading, and under a heading that repeats the title.
    pub(super) page: String,
    /// For a section.
    pub(super) section: String,
    /// For a section whose heading starts with `How to`; `{heading}` is the rest of it.
    pub(super) how_to: String,
    /// For a section whose heading starts with a verb in `-ing`, such as `Installing the CLI`.
    pub(super) task: String,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            pull: "Explain the motivation and changes of this pull request: {title}".into(),
            page: "Explain \"{title}\".".into(),
            section: "Explain \"{heading}\" in the context of \"{title}\".".into(),
            how_to: "How do I {heading}?".into(),
            task: "How do I go about {heading}? (\"{title}\")".into(),
        }
    }
}

impl Questions {
    /// Returns every placeholder that stands for nothing.
    pub(super) fn problems(&self) -> Vec<SettingProblem> {
        let templates: [(&str, &str, &[&str]); 5] = [
            ("pull", &self.pull, &["{title}"]),
            ("page", &self.page, &["{title}"]),
            ("section", &self.section, &["{heading}", "{title}"]),
            ("how-to", &self.how_to, &["{heading}", "{title}"]),
            ("task", &self.task, &["{heading}", "{title}"]),
        ];
        let problem = |key: &str, found: &str, known: &[&str]| SettingProblem {
            path: vec!["questions".to_owned(), key.to_owned()],
            code: "settings::unknown_placeholder",
            message: format!("`{found}` stands for nothing here"),
            label: "no such placeholder".into(),
            help: Some(format!("there is {}", known.join(" and "))),
        };
        let unknown = templates.iter().flat_map(|(key, template, known)| {
            let placeholders = PLACEHOLDER.find_iter(template).map(|found| found.as_str());
            placeholders.filter(|found| !known.contains(found)).map(|found| problem(key, found, known))
        });
        unknown.collect()
    }
}
