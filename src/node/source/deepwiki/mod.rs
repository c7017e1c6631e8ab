//! `source.deepwiki`: the wikis that DeepWiki makes of repositories.
//!
//! A wiki is asked for by the MCP server's tools, two calls for all its pages; where those fail, it is read from the
//! payload of its page, which holds every page of the wiki too. A wiki comes whole or not at all. Where some of several
//! fail, the others are kept, and the next try asks only for the rest.

mod answer;
mod clean;
mod error;
mod fetch;
mod mcp;
mod pages;
mod payload;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::error::DeepwikiError;
use self::fetch::{Fetch, Fetched};
use self::mcp::Mcp;
use super::kept::Kept;
use super::repository::repository_problems;
use crate::net::{Client, NetError, Policy, Url};
use crate::node::{
    Content, Count, Determinism, Family, Forecast, Kind, KindInfo, NodeError, Outcome, Outlook, OutputInfo, Run,
    SettingProblem, Weight, settings,
};
use crate::record::{Document, Record, write};
use crate::store::Artifact;

/// Bytes that a wiki may have where the settings say nothing: some of over a million tokens exist.
const MAX_BYTES: u64 = 64 << 20;

/// What one answer may take: a large wiki is put together while we wait.
const DEADLINE: Duration = Duration::from_mins(5);

/// Wikis of repositories.
pub(super) struct Deepwiki;

/// The settings of `source.deepwiki`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Repositories, as `OWNER/NAME`.
    repos: Vec<String>,
    /// Whether Mermaid diagrams stay in the text, with their captions.
    #[serde(default)]
    diagrams: bool,
    /// Whether lines that name the source files of a section (`Sources: …`) stay, as plain text.
    #[serde(default)]
    citations: bool,
    /// Bytes that one wiki may have.
    #[serde(default = "max_bytes")]
    max_bytes: u64,
    /// The address of the MCP server.
    #[serde(default = "mcp")]
    mcp: String,
    /// The address of the site, for wikis that the MCP server does not give.
    #[serde(default = "site")]
    site: String,
}

fn max_bytes() -> u64 {
    MAX_BYTES
}

fn mcp() -> String {
    "https://mcp.deepwiki.com/mcp".into()
}

fn site() -> String {
    "https://deepwiki.com".into()
}

static INFO: KindInfo = KindInfo {
    family: Family::Source,
    name: "deepwiki",
    // History: 1, the first.
    version: 1,
    summary: "the wikis that DeepWiki makes of GitHub repositories",
    inputs: &[],
    outputs: &[OutputInfo { name: "documents", content: Content::Records }],
    fields: &["pages", "commits"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: true,
    effect: false,
};

impl Kind for Deepwiki {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let canonical = settings::canonical::<Settings>(settings)?;
        let problems = Settings::deserialize(&canonical).map(|settings| settings.problems()).unwrap_or_default();
        if problems.is_empty() { Ok(canonical) } else { Err(problems) }
    }

    fn outside_key(&self) -> &'static [&'static str] {
        &["max-bytes"]
    }

    fn forecast(&self, outlook: &Outlook<'_>) -> Option<Forecast> {
        let repos = Settings::deserialize(outlook.settings).ok()?.repos.len() as u64;
        let note = "each wiki is read whole; one that the MCP server does not have takes one or two more".to_owned();
        // A session is opened, greeted, asked for the structure and the contents, and ended.
        Some(Forecast { requests: Some(2 * repos + 3), note, ..Forecast::default() })
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        fetch_all(run, &settings).map_err(DeepwikiError::failure)
    }
}

impl Settings {
    fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = repository_problems(&self.repos);
        for (key, address) in [("mcp", &self.mcp), ("site", &self.site)] {
            if let Err(error) = Url::parse(address) {
                let help = "leave it out for DeepWiki's own, or write it as `https://HOST/PATH`";
                problems.push(SettingProblem::new(&[key], "settings::wrong_value", error.to_string(), help));
            }
        }
        if self.max_bytes == 0 {
            let (message, help) = ("`max-bytes` must be at least 1", format!("leave it out for {MAX_BYTES}"));
            problems.push(SettingProblem::new(&["max-bytes"], "settings::wrong_value", message, help));
        }
        problems
    }

    #[cfg(test)]
    fn for_tests(mcp: &str, site: &str) -> Self {
        let repos = vec!["o/r".to_owned()];
        let (mcp, site) = (mcp.to_owned(), site.to_owned());
        Self { repos, diagrams: false, citations: false, max_bytes: MAX_BYTES, mcp, site }
    }
}

/// Fetches every wiki that this round lacks, and makes the documents of all.
fn fetch_all(run: &Run<'_>, settings: &Settings) -> Result<Outcome, DeepwikiError> {
    let kept = Kept::open(run.store, INFO.name, &run.job.node, &[&settings.mcp, &settings.site]);
    let client = Client::new(Policy { max_bytes: settings.max_bytes, deadline: DEADLINE, ..Policy::default() });
    let mcp = Mcp::new(&client, run, Url::parse(&settings.mcp)?);
    let site = settings.site.trim_end_matches('/');
    let mut fetch = Fetch { run, client: &client, watch: run, mcp, site };
    let mut wikis: Vec<(&str, Fetched)> = Vec::new();
    let mut failed: Vec<(&str, DeepwikiError)> = Vec::new();
    for repo in &settings.repos {
        match wiki(&kept, &mut fetch, repo) {
            Ok(wiki) => wikis.push((repo, wiki)),
            Err(error @ DeepwikiError::Net(NetError::Cancelled)) => return Err(error),
            // The other wikis lie on the same host, which would be asked in spite of its limit.
            Err(error) if error.is_limit() => return Err(error),
            Err(error) => failed.push((repo, error)),
        }
    }
    fetch.mcp.end();
    if !failed.is_empty() {
        return Err(pending(failed, settings.repos.len()));
    }
    let outcome = outcome(run, settings, &wikis)?;
    kept.finish()?;
    Ok(outcome)
}

/// Returns a wiki that came earlier in this round, or fetches it.
fn wiki(kept: &Kept<'_>, fetch: &mut Fetch<'_, '_>, repo: &str) -> Result<Fetched, DeepwikiError> {
    let wiki = if let Some(wiki) = kept.of_this_round::<Fetched>(repo) {
        fetch.run.note(format!("{repo}: {} pages of an earlier try", wiki.pages.len()));
        wiki
    } else {
        let wiki = fetch.wiki(repo)?;
        kept.keep(repo, &wiki)?;
        wiki
    };
    let pages = wiki.pages.len() as u64;
    fetch.run.progress(pages, Some(pages), "pages", repo);
    Ok(wiki)
}

/// Makes the error for wikis that did not come: the only one's own, or a list.
fn pending(mut failed: Vec<(&str, DeepwikiError)>, of: usize) -> DeepwikiError {
    if of == 1
        && let Some((_, error)) = failed.pop()
    {
        return error;
    }
    let transient = failed.iter().any(|(_, error)| error.is_transient());
    let pending = failed.into_iter().map(|(repo, error)| format!("`{repo}`: {error}")).collect();
    DeepwikiError::Pending { pending, of, transient }
}

fn outcome(run: &Run<'_>, settings: &Settings, wikis: &[(&str, Fetched)]) -> Result<Outcome, DeepwikiError> {
    let mut documents: Vec<Document> = Vec::new();
    let mut empty = 0;
    let mut commits = Vec::new();
    for (repo, wiki) in wikis {
        let (made, without_text) = pages::documents(repo, &wiki.pages, settings);
        documents.extend(made);
        empty += without_text;
        commits.extend(wiki.commit.as_ref().map(|commit| format!("{repo}@{commit}")));
    }
    let pages = documents.len() as u64;
    documents.sort_by(|a, b| a.id.cmp(&b.id));
    let records = write(run.store, documents.into_iter().map(Record::Document))?;
    let counts = [("wiki pages read", pages), ("dropped page: no text", empty)];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    Ok(Outcome {
        outputs: BTreeMap::from([("documents".to_owned(), Artifact::Records(records))]),
        fields: BTreeMap::from([("pages".to_owned(), pages.into()), ("commits".to_owned(), commits.join(" ").into())]),
        report: counts.map(|(what, count)| Count { what: what.to_owned(), count }).collect(),
    })
}

/// Reads what DeepWiki sends: an answer of its MCP server, the texts of its tools, the payload of a page.
///
/// # Errors
/// What the first reader finds wrong.
pub fn read_wiki(bytes: &[u8]) -> Result<(), DeepwikiError> {
    let text = String::from_utf8_lossy(bytes);
    let settings =
        Settings { repos: Vec::new(), diagrams: false, citations: false, max_bytes: 0, mcp: mcp(), site: site() };
    let raw = pages::split(&text, &pages::structure(&text));
    pages::documents("owner/name", &raw, &settings);
    let payload = payload::read(bytes).map_err(|what| DeepwikiError::BadPayload { repo: "owner/name".into(), what });
    if let Ok(wiki) = &payload {
        pages::documents("owner/name", &wiki.pages, &settings);
    }
    answer::told(answer::result(bytes, 1)?)?;
    payload.map(drop)
}
