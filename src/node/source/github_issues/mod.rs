//! `source.github-issues`: the issues of GitHub repositories with their comments, and at the next refresh only news.
//!
//! A first fetch lists all issues and then all comments of a repository by `Link` headers, one request for each hundred,
//! and joins them by number. A later one asks both listings for what changed since the newest issue of the last
//! snapshot, and puts it in place by id, so that edits, new comments, and closed and re-opened issues arrive. What was
//! deleted upstream stays. A fetch that stops half-way keeps its pages and goes on from the last one at the next try.
//!
//! Pull requests are another kind's work; they stand in the same listings and are left out here.

mod error;
mod fetch;
mod journal;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::error::GithubIssuesError;
use self::fetch::{Changes, Fetch};
use crate::net::{Client, NetError, Policy, Secret, Url, Watch};
use crate::node::{
    Content, Count, Determinism, FailureClass, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run,
    SettingProblem, Weight, settings,
};
use crate::record::{Record, RecordError, RecordSet, upsert, write};
use crate::store::{Artifact, RecordsRef};

/// Issues with their comments.
pub(super) struct GithubIssues;

/// The settings of `source.github-issues`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
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
}

fn github() -> String {
    "https://api.github.com".into()
}

fn an_hour() -> String {
    "65m".into()
}

static INFO: KindInfo = KindInfo {
    family: Family::Source,
    name: "github-issues",
    version: 1,
    summary: "issues of GitHub repositories with their comments",
    inputs: &[],
    outputs: &[OutputInfo { name: "records", content: Content::Records }],
    fields: &["issues"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: true,
    effect: false,
};

impl Kind for GithubIssues {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let canonical = settings::canonical::<Settings>(settings)?;
        let problems = match Settings::deserialize(&canonical) {
            Ok(settings) => settings.problems(),
            Err(error) => vec![problem(&[], "settings::wrong_value", error.to_string(), None)],
        };
        if problems.is_empty() { Ok(canonical) } else { Err(problems) }
    }

    fn outside_key(&self) -> &'static [&'static str] {
        &["token", "max-wait"]
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let api = Url::parse(&settings.api).map_err(failure)?;
        let watcher = Watcher(run);
        let client = client(run, &settings, &api).map_err(failure)?;
        let previous = previous(run).map_err(failure)?;
        let known = previous.map(|set| Ok((set.root, RecordSet::open(run.store, &set)?))).transpose();
        let known = known.map_err(|error: RecordError| failure(error))?;
        let api = settings.api.trim_end_matches('/');
        let fetch = Fetch { run, client: &client, watch: &watcher, api, previous: known };
        let mut changes = Changes::default();
        for repo in &settings.repos {
            fetch.repository(repo, &mut changes).map_err(failure)?;
        }
        let report = report(&changes);
        let records = assemble(run, previous, &settings, changes).map_err(failure)?;
        fetch.forget_progress(&settings.repos).map_err(failure)?;
        Ok(Outcome {
            outputs: BTreeMap::from([("records".to_owned(), Artifact::Records(records))]),
            fields: BTreeMap::from([("issues".to_owned(), records.count.into())]),
            report,
        })
    }
}

impl Settings {
    fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        if self.repos.is_empty() {
            let help = Some("name at least one, as `OWNER/NAME`");
            problems.push(problem(&["repos"], "settings::empty", "no repository is named".into(), help));
        }
        let mut seen = BTreeSet::new();
        for (index, repo) in self.repos.iter().enumerate() {
            let at = index.to_string();
            if !is_repository(repo) {
                let message = format!("`{repo}` is not the name of a repository");
                let help = Some("write it as `OWNER/NAME`, without `https://github.com/`");
                problems.push(problem(&["repos", &at], "settings::wrong_value", message, help));
            } else if !seen.insert(repo.to_ascii_lowercase()) {
                let message = format!("repository `{repo}` is named twice");
                problems.push(problem(&["repos", &at], "settings::twice", message, Some("leave one out")));
            }
        }
        if self.token.as_ref().is_some_and(|token| environment_name(token).is_none()) {
            // The value may be a real token: it must not enter a message.
            let help =
                Some("write `token = \"env:GITHUB_TOKEN\"` and set that variable; revoke a token that was committed");
            let message = "the token is no reference to an environment variable".to_owned();
            problems.push(problem(&["token"], "settings::literal_secret", message, help));
        }
        if let Err(error) = Url::parse(&self.api) {
            let help = Some("write it as `https://HOST/PATH`; credentials go into `token`");
            problems.push(problem(&["api"], "settings::wrong_value", error.to_string(), help));
        }
        if humantime::parse_duration(&self.max_wait).is_err() {
            let message = format!("`{}` is no length of time", self.max_wait);
            problems.push(problem(&["max-wait"], "settings::wrong_value", message, Some("write it as `90s` or `10m`")));
        }
        problems
    }

    fn max_wait(&self) -> Duration {
        humantime::parse_duration(&self.max_wait).unwrap_or_default()
    }
}

fn problem(path: &[&str], code: &'static str, message: String, help: Option<&str>) -> SettingProblem {
    let path = path.iter().map(|&key| key.to_owned()).collect();
    SettingProblem { path, code, message, label: "here".into(), help: help.map(str::to_owned) }
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

fn environment_name(token: &str) -> Option<&str> {
    token
        .strip_prefix("env:")
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// Makes the client, with the token where there is one.
fn client(run: &Run<'_>, settings: &Settings, api: &Url) -> Result<Client, GithubIssuesError> {
    let client = Client::new(Policy { max_wait: settings.max_wait(), ..Policy::default() });
    let Some(name) = settings.token.as_deref().and_then(environment_name) else { return Ok(client) };
    let Some(token) = run.secrets.environment(name) else {
        run.warn(format!(
            "environment variable `{name}` is not set: GitHub answers 60 requests an hour without a token"
        ));
        return Ok(client);
    };
    Ok(client.with_token(api, Secret::new(&token)?))
}

/// Returns the last snapshot, when all of it is still there.
fn previous(run: &Run<'_>) -> Result<Option<RecordsRef>, GithubIssuesError> {
    let Some(Artifact::Records(records)) = run.job.previous.get("records") else { return Ok(None) };
    if !run.store.has(&records.root)? || !RecordSet::open(run.store, records)?.is_complete()? {
        run.note("the last snapshot is in no store: everything is fetched again");
        return Ok(None);
    }
    Ok(Some(*records))
}

/// Puts what changed into the last snapshot, and takes out what belongs to no repository any more.
fn assemble(
    run: &Run<'_>,
    previous: Option<RecordsRef>,
    settings: &Settings,
    changes: Changes,
) -> Result<RecordsRef, GithubIssuesError> {
    let threads = changes.threads.into_values().map(Record::Issue);
    let Some(previous) = previous else { return Ok(write(run.store, threads)?) };
    let mut dropped = BTreeSet::new();
    for line in RecordSet::open(run.store, &previous)?.lines() {
        let id = line?.id().to_owned();
        let belongs = id.rsplit_once('#').is_some_and(|(repo, _)| settings.repos.iter().any(|named| named == repo));
        if !belongs {
            dropped.insert(id);
        }
    }
    Ok(upsert(run.store, &previous, threads, &dropped)?)
}

/// Counts what the fetch brought.
fn report(changes: &Changes) -> Vec<Count> {
    let counts = [
        ("issues that are new or changed", changes.threads.len() as u64),
        ("comments read", changes.comments),
        ("pull requests left out", changes.pulls),
    ];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    counts.map(|(what, count)| Count { what: what.to_owned(), count }).collect()
}

/// Makes the node's failure of an error, which another try may mend when it lies in the network.
fn failure(error: impl Into<GithubIssuesError>) -> NodeError {
    let error = error.into();
    match &error {
        GithubIssuesError::Net(NetError::Cancelled) => NodeError::cancelled(),
        GithubIssuesError::Net(net) if net.is_transient() => NodeError::new(FailureClass::Transient, &error),
        _ => NodeError::new(FailureClass::Permanent, &error),
    }
}

/// Passes the run's cancel flag on, and tells its user about pauses.
struct Watcher<'a, 'r>(&'a Run<'r>);

impl Watch for Watcher<'_, '_> {
    fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    fn waits(&self, wait: Duration, why: &str) {
        let wait = Duration::from_secs(wait.as_secs().max(1));
        self.0.note(format!("{why}: waiting {}", humantime::format_duration(wait)));
    }
}
