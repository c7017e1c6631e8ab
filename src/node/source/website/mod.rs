//! `source.website`: the pages of a website as documents.
//!
//! From `start` the links are followed inside `prefix`; `sitemap` names pages outright. robots.txt is obeyed, and there
//! is a pause between two requests. Each page is kept as soon as it came, with the server's name for it: a fetch that
//! was stopped asks for no page twice, and the next one asks only for what changed.
//!
//! A page becomes Markdown without what is around its text. Pages that are one are merged, lines that stand on most
//! pages are dropped, and what is too short to say anything is counted and left out.

mod address;
mod browser;
mod crawl;
mod depth;
mod documents;
mod error;
mod form;
mod page;
mod robots;
mod settings;
mod sitemap;
mod table;
mod tree;
mod visit;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;

use self::browser::Browser;
use self::crawl::Crawl;
use self::error::WebsiteError;
use self::settings::{Render, Settings};
use self::visit::Visitor;
use super::kept::Kept;
use crate::net::{Client, Policy};
use crate::node::{
    Content, Count, Determinism, Family, Forecast, Kind, KindInfo, NodeError, Outcome, Outlook, OutputInfo, Run,
    SettingProblem, Weight, settings as canonical_settings,
};
use crate::record::{Counts, Record, write};
use crate::store::Artifact;

/// Bytes of one answer: a sitemap is the largest.
const MOST_BYTES: u64 = sitemap::MOST_BYTES;

/// What one answer may take.
const DEADLINE: Duration = Duration::from_mins(1);

/// Pages of a website.
pub(super) struct Website;

static INFO: KindInfo = KindInfo {
    family: Family::Source,
    name: "website",
    // History: 1, the first.
    version: 1,
    summary: "the pages of a website, by its links or its sitemap",
    inputs: &[],
    outputs: &[OutputInfo { name: "documents", content: Content::Records }],
    fields: &["pages"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: true,
    effect: false,
};

impl Kind for Website {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let canonical = canonical_settings::canonical::<Settings>(settings)?;
        let problems = Settings::deserialize(&canonical).map(|settings| settings.problems()).unwrap_or_default();
        if problems.is_empty() { Ok(canonical) } else { Err(problems) }
    }

    fn outside_key(&self) -> &'static [&'static str] {
        &["delay", "max-wait"]
    }

    fn forecast(&self, outlook: &Outlook<'_>) -> Option<Forecast> {
        let settings = Settings::deserialize(outlook.settings).ok()?;
        let (requests, seconds, note) = match outlook.previous.get("documents") {
            Some(Artifact::Records(documents)) => {
                let requests = documents.count + 1 + settings.sitemap.len() as u64;
                let pauses = settings.delay().as_secs_f64() * requests as f64;
                let note = "pages that did not change are not sent again".to_owned();
                (Some(requests), Some(pauses.ceil() as u64), note)
            }
            _ => (None, None, format!("how many pages there are is known at the end: at most {}", settings.max_pages)),
        };
        Some(Forecast { requests, seconds, note, ..Forecast::default() })
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        fetch(run, &settings).map_err(WebsiteError::failure)
    }
}

/// Reads the site and makes its documents.
fn fetch(run: &Run<'_>, settings: &Settings) -> Result<Outcome, WebsiteError> {
    let browser = match settings.render {
        Render::None => None,
        Render::Browser => Some(Browser::find(run)?),
    };
    // What a browser makes of a page is another content than what its server sends.
    let kept = Kept::open(run.store, INFO.name, &run.job.node, &[if browser.is_some() { "browser" } else { "plain" }]);
    let policy =
        Policy { max_wait: settings.max_wait(), max_bytes: MOST_BYTES, deadline: DEADLINE, ..Policy::default() };
    let client = Client::new(policy);
    let visitor = Visitor {
        run,
        client: &client,
        kept: &kept,
        browser,
        delay: settings.delay(),
        last: Cell::default(),
        robots: RefCell::default(),
        requests: Cell::default(),
        unchanged: Cell::default(),
    };
    let scope = settings.scope();
    let site = Crawl::new(&visitor, &scope, settings).run()?;
    let (documents, mut counts) = documents::documents(site, &scope, settings);
    counts.add("requests", visitor.requests.get());
    counts.add("pages that did not change", visitor.unchanged.get());
    if documents.is_empty() {
        return Err(WebsiteError::Empty { why: listed(&counts) });
    }
    let pages = documents.len() as u64;
    let records = write(run.store, documents.into_iter().map(Record::Document))?;
    kept.finish()?;
    Ok(Outcome {
        outputs: BTreeMap::from([("documents".to_owned(), Artifact::Records(records))]),
        fields: BTreeMap::from([("pages".to_owned(), pages.into())]),
        report: Count::all(&counts),
    })
}

fn listed(counts: &Counts) -> String {
    let counts: Vec<String> = counts.iter().map(|(what, count)| format!("{what}: {count}")).collect();
    counts.join(", ")
}

/// Reads what websites send: a page, a sitemap, a robots.txt. Returns the page's Markdown.
pub fn read_website(bytes: &[u8]) -> Option<String> {
    let rules = robots::Robots::parse(bytes);
    rules.allows(&String::from_utf8_lossy(&bytes[..bytes.len().min(100)]));
    drop(sitemap::read(bytes));
    let url = url::Url::parse("https://a.example/b/").ok()?;
    page::read(bytes, "text/html", &url).ok().map(|page| page.content)
}
