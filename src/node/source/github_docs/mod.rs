//! `source.github-docs`: documents of GitHub repositories at a pinned commit.
//!
//! A branch or tag is resolved to its commit, the commit's tree names each file by its bytes, and only bytes that were
//! never fetched are asked for: one request a file, or the archive of all files where ten or more are missing (two
//! requests, unless the repository is larger than 512 MiB). What came is checked against Git's own name for it and kept
//! in the store at once, so that a fetch that was stopped goes on with what is missing.

mod access;
mod archive;
mod blobs;
mod chosen;
mod error;
mod fetch;
mod forecast;
mod repository;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::access::{client, failure, website};
use self::fetch::Fetch;
use self::repository::Repository;
use crate::node::source::access::{Access, an_hour, github};
use crate::node::source::globs::Selection;
use crate::node::{
    Content, Count, Determinism, Family, Forecast, Kind, KindInfo, NodeError, Outcome, Outlook, OutputInfo, Run,
    SettingProblem, Weight, settings,
};
use crate::record::{Counts, Record, write};
use crate::store::Artifact;

/// Documents of repositories.
#[derive(Debug)]
pub(super) struct GithubDocs;

/// The settings of `source.github-docs`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Repositories, as `OWNER/NAME`, or `OWNER/NAME@REF` for a branch, a tag or a commit; else the default branch.
    repos: Vec<String>,
    /// Which files, as globs of their paths.
    #[serde(default = "all_markdown")]
    include: Vec<String>,
    /// Which files to leave out, as globs; by default what other people wrote and what tests and forms are made of.
    #[serde(default = "not_documents")]
    exclude: Vec<String>,
    /// A larger file is left out, in bytes.
    #[serde(default = "a_megabyte")]
    max_bytes: u64,
    /// Where the token is, as `env:NAME`. Without one GitHub answers 60 requests an hour, with one 5,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The API's address; for GitHub Enterprise `https://HOST/api/v3`.
    #[serde(default = "github")]
    api: String,
    /// How long one request may wait for a rate limit, such as `10m`. GitHub's own lasts an hour at most.
    #[serde(default = "an_hour")]
    max_wait: String,
}

fn all_markdown() -> Vec<String> {
    vec!["**/*.md".to_owned()]
}

fn not_documents() -> Vec<String> {
    let folders = ["vendor", "node_modules", "testdata", ".github"];
    folders.iter().map(|folder| format!("**/{folder}/**")).collect()
}

const fn a_megabyte() -> u64 {
    1_000_000
}

static INFO: KindInfo = KindInfo {
    family: Family::Source,
    name: "github-docs",
    // History: 1, the first.
    version: 1,
    summary: "documents of GitHub repositories, chosen by globs, at a pinned commit",
    inputs: &[],
    outputs: &[OutputInfo { name: "documents", content: Content::Records }],
    fields: &["records", "commits"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: true,
    effect: false,
};

impl Kind for GithubDocs {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let canonical = settings::canonical::<Settings>(settings)?;
        let mut problems: Vec<SettingProblem> =
            ["include", "exclude"].iter().flat_map(|key| settings::glob_problems(key, &canonical[*key])).collect();
        match Settings::deserialize(&canonical) {
            Ok(settings) => problems.extend(settings.problems()),
            Err(error) => {
                problems.push(SettingProblem::new(&[], "settings::wrong_value", error.to_string(), "see the schema"));
            }
        }
        if problems.is_empty() { Ok(canonical) } else { Err(problems) }
    }

    fn outside_key(&self) -> &'static [&'static str] {
        &["token", "max-wait"]
    }

    fn forecast(&self, outlook: &Outlook<'_>) -> Option<Forecast> {
        let settings = Settings::deserialize(outlook.settings).ok()?;
        Some(forecast::forecast(&settings, outlook))
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let selection = Selection::new(&settings.include, &settings.exclude).map_err(failure)?;
        let client = client(run, &settings).map_err(failure)?;
        let (api, website) = (settings.base(), website(&settings.api));
        let max_bytes = settings.max_bytes;
        let fetch = Fetch { run, client: &client, watch: run, api, website: website.as_deref(), selection, max_bytes };
        let mut counts = Counts::default();
        let mut documents = Vec::new();
        let mut commits = Vec::new();
        for repo in settings.repositories() {
            let commit = fetch.repository(&repo, &mut documents, &mut counts).map_err(failure)?;
            commits.push(format!("{}@{commit}", repo.name));
        }
        let records = write(run.store, documents.into_iter().map(Record::Document))?;
        Ok(Outcome {
            outputs: BTreeMap::from([("documents".to_owned(), Artifact::Records(records))]),
            fields: BTreeMap::from([
                ("records".to_owned(), json!(records.count)),
                ("commits".to_owned(), json!(commits.join(" "))),
            ]),
            report: Count::all(&counts),
        })
    }
}

impl Settings {
    /// Returns the API's base address, without a slash at its end.
    fn base(&self) -> &str {
        self.api.trim_end_matches('/')
    }

    fn repositories(&self) -> impl Iterator<Item = Repository> {
        self.repos.iter().filter_map(|repo| Repository::parse(repo).ok())
    }

    /// Returns how the API is reached.
    fn access(&self) -> Access<'_> {
        Access { token: self.token.as_deref(), api: &self.api, max_wait: &self.max_wait }
    }

    fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = self.access().problems();
        for (key, list, help) in [
            ("repos", &self.repos, "name at least one, as `OWNER/NAME` or `OWNER/NAME@REF`"),
            ("include", &self.include, "name at least one glob, such as `**/*.md`"),
        ] {
            if list.is_empty() {
                problems.push(SettingProblem::new(&[key], "settings::empty", format!("`{key}` is empty"), help));
            }
        }
        let mut seen = BTreeSet::new();
        for (index, repo) in self.repos.iter().enumerate() {
            let at = index.to_string();
            match Repository::parse(repo) {
                Err(what) => {
                    let help = "write it as `OWNER/NAME` or `OWNER/NAME@REF`, without `https://github.com/`";
                    problems.push(SettingProblem::new(
                        &["repos", &at],
                        "settings::wrong_value",
                        format!("`{repo}` {what}"),
                        help,
                    ));
                }
                Ok(parsed) if !seen.insert(parsed.name.to_ascii_lowercase()) => {
                    let message = format!("repository `{}` is named twice", parsed.name);
                    let help = "leave one out; for two branches of it make two nodes";
                    problems.push(SettingProblem::new(&["repos", &at], "settings::twice", message, help));
                }
                Ok(_) => {}
            }
        }
        if self.max_bytes == 0 {
            let help = "write a number of bytes, such as `max-bytes = 1000000`";
            let message = "`max-bytes` leaves every file out".to_owned();
            problems.push(SettingProblem::new(&["max-bytes"], "settings::wrong_value", message, help));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_filled_in_and_every_problem_has_its_place() {
        let canonical = GithubDocs.canonical(&json!({"repos": ["o/r@v1"]})).unwrap();
        assert_eq!(canonical["include"], json!(["**/*.md"]));
        assert_eq!(
            canonical["exclude"],
            json!(["**/vendor/**", "**/node_modules/**", "**/testdata/**", "**/.github/**"])
        );
        let wrong = json!({
            "repos": ["o/r", "O/R@main", "https://github.com/o/r", "o/x@a..b"], "include": ["a["], "max-bytes": 0,
            "token": "ghp_real", "api": "ftp://x", "max-wait": "soon",
        });
        let problems = GithubDocs.canonical(&wrong).unwrap_err();
        let mut places: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
        places.sort();
        assert_eq!(places, ["api", "include.0", "max-bytes", "max-wait", "repos.1", "repos.2", "repos.3", "token"]);
        assert!(!format!("{problems:?}").contains("ghp_real"));
    }

    #[test]
    fn a_token_and_the_patience_are_no_part_of_the_key() {
        assert_eq!(GithubDocs.outside_key(), ["token", "max-wait"]);
    }
}
