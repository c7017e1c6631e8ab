//! The settings of the family, and what may be wrong with them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::subject::Subject;
use crate::node::source::access::{Access, EXAMPLE, an_hour, github};
use crate::node::source::repository::repository_problems;
use crate::node::{SettingProblem, settings};

/// Declares the settings of one kind: what all have, and its own.
macro_rules! settings_of {
    ($(#[$doc:meta])* $name:ident { $($own:tt)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        struct $name {
            /// Repositories, as `OWNER/NAME`.
            repos: Vec<String>,
            /// Where the token is, as `env:NAME`. Without one GitHub answers 60 requests an hour, with one 5,000.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            token: Option<String>,
            /// The API's address; for GitHub Enterprise `https://HOST/api/v3`.
            #[serde(default = "github")]
            api: String,
            /// How long one request may wait for a rate limit, such as `10m`. GitHub's own lasts an hour at most.
            #[serde(default = "an_hour")]
            max_wait: String,
            /// How old the last full list may be when a refresh lists everything again, to take out what was deleted or
            /// moved upstream: a time such as `30d`, `always` or `never`.
            #[serde(default = "a_month")]
            sweep: String,
            $($own)*
        }
    };
}

settings_of! {
    /// The settings of `source.github-issues`.
    IssueSettings {
        /// How to ask. `auto`: a first fetch with a token goes the way that takes fewer requests, all else by REST.
        #[serde(default)]
        via: Via,
        /// A file that the first snapshot begins with: issues as `raw_issues.jsonl` has them. Nothing in it that is still
        /// right is fetched again; once there is a snapshot the file is not read any more. gzip and Zstandard are recognised
        /// by their content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<String>,
    }
}

settings_of! {
    /// The settings of `source.github-pulls`.
    PullSettings {
        /// A file that the first snapshot begins with: pull requests as `raw_pull_requests.jsonl` has them. Nothing in it
        /// that is still right is fetched again; once there is a snapshot the file is not read any more. gzip and Zstandard
        /// are recognised by their content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<String>,
    }
}

settings_of! {
    /// The settings of `source.github-discussions`.
    DiscussionSettings {}
}

/// How to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Via {
    /// Whichever takes fewer requests.
    #[default]
    Auto,
    /// By REST: one request for each hundred entries of a list.
    Rest,
    /// By GraphQL: whole threads in batches; it needs a token.
    Graphql,
}

/// When everything is listed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sweep {
    Never,
    Always,
    Every(Duration),
}

/// The settings of any kind of the family, as its canonical form has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Settings {
    pub(super) repos: Vec<String>,
    token: Option<String>,
    pub(super) api: String,
    max_wait: String,
    sweep: String,
    #[serde(default)]
    pub(super) via: Via,
    pub(super) seed: Option<String>,
}

fn a_month() -> String {
    "30d".into()
}

/// Returns the schema of a kind's settings.
pub(super) fn schema(subject: Subject) -> Value {
    match subject {
        Subject::Issues => schemars::schema_for!(IssueSettings).to_value(),
        Subject::Pulls => schemars::schema_for!(PullSettings).to_value(),
        Subject::Discussions => schemars::schema_for!(DiscussionSettings).to_value(),
    }
}

/// Returns the settings with every default filled in, or all that is wrong with them.
pub(super) fn canonical(subject: Subject, written: &Value) -> Result<Value, Vec<SettingProblem>> {
    let canonical = match subject {
        Subject::Issues => settings::canonical::<IssueSettings>(written)?,
        Subject::Pulls => settings::canonical::<PullSettings>(written)?,
        Subject::Discussions => settings::canonical::<DiscussionSettings>(written)?,
    };
    let problems = match Settings::deserialize(&canonical) {
        Ok(settings) => settings.problems(),
        Err(error) => vec![SettingProblem::new(&[], "settings::wrong_value", error.to_string(), "see the schema")],
    };
    settings::accepted(canonical, problems)
}

impl Settings {
    fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = repository_problems(&self.repos);
        problems.extend(self.access().problems());
        if self.sweep().is_none() {
            let message = format!("`{}` is no length of time", self.sweep);
            let help = "write it as `30d`, `always` or `never`";
            problems.push(SettingProblem::new(&["sweep"], "settings::wrong_value", message, help));
        }
        if self.via == Via::Graphql && self.token.is_none() {
            let help = format!("add `token = \"{EXAMPLE}\"`, or leave `via` out");
            let message = "GitHub answers GraphQL only with a token".to_owned();
            problems.push(SettingProblem::new(&["via"], "settings::needs_token", message, &help));
        }
        if self.via == Via::Graphql && self.seed.is_some() {
            let help = "leave `via` out: what a file has is compared with the list that REST gives";
            let message = "`seed` goes with REST only".to_owned();
            problems.push(SettingProblem::new(&["via"], "settings::wrong_value", message, help));
        }
        problems
    }

    /// Returns how the API is reached.
    pub(super) fn access(&self) -> Access<'_> {
        Access { token: self.token.as_deref(), api: &self.api, max_wait: &self.max_wait }
    }

    /// Returns when everything is listed again; nothing when that is no time.
    pub(super) fn sweep(&self) -> Option<Sweep> {
        Some(match self.sweep.as_str() {
            "never" => Sweep::Never,
            "always" => Sweep::Always,
            time => Sweep::Every(humantime::parse_duration(time).ok()?),
        })
    }
}
