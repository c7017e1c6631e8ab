//! The kinds as the engine sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize as _;
use serde_json::Value;

use super::base::Base;
use super::cursor::Cursor;
use super::error::{GithubError, Result};
use super::fetch::{Fetch, News};
use super::forecast;
use super::settings::{self, Settings, Sweep};
use super::subject::Subject;
use super::watcher::Watcher;
use crate::net::{Client, NetError, Policy, Url};
use crate::node::{
    Content, Count, Determinism, FailureClass, Family, FileInput, Forecast, Kind, KindInfo, NodeError, Outcome,
    Outlook, OutputInfo, Run, SettingProblem, Weight,
};
use crate::record::{upsert, write};
use crate::store::{Artifact, RecordsRef};

/// How often a question by GraphQL is tried before a smaller one is.
const GRAPHQL_ATTEMPTS: u32 = 2;

/// A kind of the family.
pub(in crate::node::source) struct Github {
    subject: Subject,
    info: &'static KindInfo,
}

const FAMILY: KindInfo = KindInfo {
    family: Family::Source,
    name: "github-issues",
    // History: 2, labels are sorted, deleted users have no login in whatever way GitHub says so, and a cursor is pinned.
    version: 2,
    summary: "issues of GitHub repositories with their comments",
    inputs: &[],
    outputs: &[
        OutputInfo { name: "records", content: Content::Records },
        OutputInfo { name: "cursor", content: Content::Files },
    ],
    fields: &["issues"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: true,
    effect: false,
};

/// Issues with their comments.
pub(in crate::node::source) static ISSUES: Github = Github { subject: Subject::Issues, info: &FAMILY };

/// Pull requests with their comments and review threads.
pub(in crate::node::source) static PULLS: Github = Github {
    subject: Subject::Pulls,
    info: &KindInfo {
        name: "github-pulls",
        // History: 1, the first.
        version: 1,
        summary: "pull requests of GitHub repositories with their comments and review threads",
        fields: &["pulls"],
        ..FAMILY
    },
};

/// Discussions with their comments and replies.
pub(in crate::node::source) static DISCUSSIONS: Github = Github {
    subject: Subject::Discussions,
    info: &KindInfo {
        name: "github-discussions",
        // History: 1, the first.
        version: 1,
        summary: "discussions of GitHub repositories with their comments, replies and accepted answers",
        fields: &["discussions"],
        ..FAMILY
    },
};

impl Kind for Github {
    fn info(&self) -> &'static KindInfo {
        self.info
    }

    fn schema(&self) -> Value {
        settings::schema(self.subject)
    }

    fn canonical(&self, settings: &Value) -> std::result::Result<Value, Vec<SettingProblem>> {
        settings::canonical(self.subject, settings)
    }

    /// How it is fetched shapes no bytes: ways give the same records, and a sweep brings what a later fetch would.
    fn outside_key(&self) -> &'static [&'static str] {
        match self.subject {
            Subject::Issues => &["token", "max-wait", "via", "sweep", "seed"],
            Subject::Pulls => &["token", "max-wait", "sweep", "seed"],
            Subject::Discussions => &["token", "max-wait", "sweep"],
        }
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        let seed = settings.get("seed").and_then(Value::as_str);
        let file = |path| FileInput { setting: "seed", path: PathBuf::from(path), globs: None, optional: true };
        seed.map(file).into_iter().collect()
    }

    fn first_files(&self) -> &'static [&'static str] {
        if self.subject == Subject::Discussions { &[] } else { &["seed"] }
    }

    fn forecast(&self, outlook: &Outlook<'_>) -> Option<Forecast> {
        Some(forecast::forecast(self.subject, &Settings::deserialize(outlook.settings).ok()?, outlook))
    }

    fn run(&self, run: &Run<'_>) -> std::result::Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let fetch = self.fetch(run, &settings).map_err(failure)?;
        let news = fetch.all(&settings.repos).map_err(|error| {
            if let Some(kept) = fetch.kept(&settings.repos) {
                run.note(format!("kept for the next run, which goes on from there: {kept}"));
            }
            failure(error)
        })?;
        let outcome = self.assemble(&fetch, &settings, news).map_err(failure)?;
        fetch.forget_progress(&settings.repos).map_err(failure)?;
        Ok(outcome)
    }
}

impl Github {
    /// Makes all that fetching needs.
    fn fetch<'a, 'r>(&self, run: &'a Run<'r>, settings: &Settings) -> Result<Fetch<'a, 'r>> {
        let token = settings.access().token(run)?;
        let api = Url::parse(&settings.api)?;
        let policy = Policy { max_wait: settings.access().max_wait(), ..Policy::default() };
        let client = |policy| match &token {
            Some(token) => Client::new(policy).with_token(&api, token.clone()),
            None => Client::new(policy),
        };
        Ok(Fetch {
            run,
            subject: self.subject,
            graphql: client(Policy { attempts: GRAPHQL_ATTEMPTS, ..policy.clone() }),
            client: client(policy),
            watch: Watcher::new(run),
            api: settings.api.trim_end_matches('/').to_owned(),
            via: settings.via,
            sweep: settings.sweep().unwrap_or(Sweep::Never),
            has_token: token.is_some(),
            base: Base::find(run, settings, self.subject)?,
        })
    }

    /// Puts the news into the last snapshot, and takes out what is gone or belongs to no repository any more.
    fn assemble(&self, fetch: &Fetch<'_, '_>, settings: &Settings, news: BTreeMap<String, News>) -> Result<Outcome> {
        let mut report = self.report(&news);
        report.push(Count { what: "requests".into(), count: fetch.watch.asked() });
        let mut cursor = Cursor { version: self.info.version, repos: BTreeMap::new() };
        let mut gone: BTreeSet<String> = fetch.base.foreign(&settings.repos)?.into_iter().collect();
        let mut threads = Vec::new();
        for (repo, news) in news {
            cursor.repos.insert(repo, news.place);
            gone.extend(news.gone);
            threads.extend(news.threads.into_values().map(|thread| self.subject.record(thread)));
        }
        let records: RecordsRef = match fetch.base.records {
            Some(base) => upsert(fetch.run.store, &base, threads, &gone)?,
            None => write(fetch.run.store, threads)?,
        };
        let cursor = cursor.put(fetch.run.store)?;
        Ok(Outcome {
            outputs: BTreeMap::from([
                ("records".to_owned(), Artifact::Records(records)),
                ("cursor".to_owned(), cursor),
            ]),
            fields: BTreeMap::from([(self.subject.field().to_owned(), records.count.into())]),
            report,
        })
    }

    /// Counts what the fetch brought.
    fn report(&self, news: &BTreeMap<String, News>) -> Vec<Count> {
        let sum = |of: fn(&News) -> u64| news.values().map(of).sum::<u64>();
        let plural = self.subject.plural();
        let others = if self.subject == Subject::Pulls { "issues" } else { "pull requests" };
        let counts = [
            (format!("{plural} that are new or changed"), sum(|news| news.threads.len() as u64)),
            (format!("{plural} that are gone upstream"), sum(|news| news.gone.len() as u64)),
            ("comments read".to_owned(), sum(|news| news.comments)),
            ("review comments read".to_owned(), sum(|news| news.reviews)),
            (format!("{others} left out"), sum(|news| news.others)),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| Count { what, count }).collect()
    }
}

/// Makes the node's failure of an error, which another try may mend when it lies in the network.
fn failure(error: impl Into<GithubError>) -> NodeError {
    let error = error.into();
    match &error {
        GithubError::Net(NetError::Cancelled) => NodeError::cancelled(),
        GithubError::Net(net) if net.is_transient() => NodeError::new(FailureClass::Transient, &error),
        _ => NodeError::new(FailureClass::Permanent, &error),
    }
}
