//! `source.deepwiki` against a server that plays the MCP endpoint and the site, with the bad habits of either.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tunesmith::node::{FailureClass, Family, NodeError, Outcome};
use tunesmith::record::{Document, Record, RecordSet};
use tunesmith::store::Artifact;

use crate::support::fake_site::{Asked, FakeSite, Told};
use crate::support::node_run::Bench;

const STRUCTURE: &str = "Available pages for o/r:\n\n- 1 Overview\n  - 1.1 Größe und Kosten\n";

const CONTENTS: &str = "# Page: Overview\n\n# Overview\n\n<details>\n<summary>Relevant source files</summary>\n\n- \
    [README.md](README.md)\n\n</details>\n\nWhat it is.\n\n```md\n# Page: in code\n```\n\nSources: [README.md:1-9]()\n\n\
    # Page: Größe und Kosten\n\n# Größe und Kosten\n\nKlein — 你好. See [Overview](#1).\n";

/// How the fake server behaves.
#[derive(Clone, Default)]
struct Habits {
    /// Answers that replace a tool's text: tool, repository, text, whether it is called an error.
    texts: Vec<(&'static str, &'static str, &'static str, bool)>,
    /// What the MCP endpoint answers instead of anything.
    mcp: Option<Told>,
    /// Whether answers are events, split oddly.
    events: bool,
    /// Whether a session is given and then asked for.
    sessions: bool,
    /// How many calls a session lasts; 0: for ever.
    lasts: usize,
    /// What the site answers.
    site: Option<Told>,
    /// What it answers to a question for bare rows.
    rows: Option<Told>,
}

struct Wiki {
    server: FakeSite,
    habits: Arc<Mutex<Habits>>,
    bench: Bench,
}

impl Wiki {
    fn start(habits: Habits) -> Self {
        let habits = Arc::new(Mutex::new(habits));
        let shared = habits.clone();
        let mut calls = 0;
        let server = FakeSite::start(move |asked, _| {
            let habits = shared.lock().unwrap().clone();
            if asked.path == "/mcp" {
                return habits.mcp.clone().unwrap_or_else(|| habits.answer(asked, &mut calls));
            }
            let told = if asked.headers.contains_key("rsc") { &habits.rows } else { &habits.site };
            told.clone().unwrap_or_else(Told::missing)
        });
        Self { server, habits, bench: Bench::new() }
    }

    fn change(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.habits.lock().unwrap());
    }

    fn try_fetch(&self, more: Value) -> Result<Outcome, NodeError> {
        let address = &self.server.address;
        let mut settings = json!({"repos": ["o/r"], "mcp": format!("{address}/mcp"), "site": address});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.bench.run(Family::Source, "deepwiki", &settings)
    }

    #[track_caller]
    fn fetch(&self) -> (Outcome, Vec<Document>) {
        let outcome = self.try_fetch(json!({})).unwrap();
        let documents = self.documents(&outcome);
        (outcome, documents)
    }

    fn documents(&self, outcome: &Outcome) -> Vec<Document> {
        let Artifact::Records(records) = &outcome.outputs["documents"] else { panic!("no records") };
        let records = RecordSet::open(&self.bench.store, records).unwrap();
        let documents = records.records().map(|record| match record.unwrap() {
            Record::Document(document) => document,
            other => panic!("{other:?}"),
        });
        documents.collect()
    }

    #[track_caller]
    fn error(&self) -> NodeError {
        self.try_fetch(json!({})).unwrap_err()
    }
}

impl Habits {
    fn answer(&self, asked: &Asked, calls: &mut usize) -> Told {
        if asked.method == "DELETE" {
            return Told::new(405, "text/plain", "");
        }
        let message: Value = serde_json::from_str(&asked.body).unwrap();
        let id = &message["id"];
        let method = message["method"].as_str().unwrap();
        let session = format!("session-{}", *calls / self.lasts.max(1));
        if method == "initialize" {
            let result =
                json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "DeepWiki"}});
            let told = self.message(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
            return if self.sessions { told.with("mcp-session-id", &session) } else { told };
        }
        assert!(asked.headers["accept"].contains("text/event-stream"), "{asked:?}");
        assert_eq!(asked.headers["mcp-protocol-version"], "2025-06-18");
        if self.sessions && asked.headers.get("mcp-session-id") != Some(&session) {
            return Told::new(404, "application/json", r#"{"message": "no such session"}"#);
        }
        if id.is_null() {
            return Told::new(202, "text/plain", "");
        }
        if self.lasts > 0 {
            *calls += 1;
        }
        let tool = message["params"]["name"].as_str().unwrap();
        let repo = message["params"]["arguments"]["repoName"].as_str().unwrap();
        let whole = if tool == "read_wiki_structure" { STRUCTURE } else { CONTENTS };
        let special = self.texts.iter().find(|(name, of, ..)| *name == tool && *of == repo);
        let (text, is_error) = special.map_or((whole, false), |(_, _, text, is_error)| (*text, *is_error));
        let result = json!({"content": [{"type": "text", "text": text}], "isError": is_error});
        self.message(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
    }

    fn message(&self, message: &Value) -> Told {
        if !self.events {
            return Told::new(200, "application/json", message.to_string());
        }
        // A ping, another message, lines that end in three ways, data on several lines, and no empty line at the end.
        let pretty = serde_json::to_string_pretty(message).unwrap();
        let data: Vec<String> = pretty.lines().map(|line| format!("data: {line}\r\n")).collect();
        let other = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
        let body = format!(": ping\n\nevent: message\rdata:{other}\r\revent: message\r\n{}", data.concat());
        Told::new(200, "text/event-stream", body)
    }
}

/// A page's payload: a text row with its length in bytes and a reference of several digits.
fn payload() -> String {
    let text = "# Overview\n\nWhat it is — 你好.\n";
    let wiki = json!({
        "metadata": {"repo_name": "o/r", "commit_hash": "abc123"},
        "pages": [
            {"page_plan": {"id": "1", "title": "Overview"}, "content": "$1f3"},
            {"page_plan": {"id": "1.1", "title": "Größe und Kosten"}, "content": "# Größe und Kosten\n\nKlein."},
        ],
    });
    let row = json!(["$", "$L15", null, {"repoName": "o/r", "wiki": wiki}]);
    format!("0:I[49138,[\"9453\"]]\n1f3:T{:x},{text}1f4:{row}\n", text.len())
}

fn html(rows: &str) -> Told {
    let cut = rows.char_indices().nth(rows.chars().count() / 2).unwrap().0;
    let chunk =
        |text: &str| format!("<script>self.__next_f.push([1,{}])</script>", serde_json::to_string(text).unwrap());
    Told::html(format!("<!DOCTYPE html><body>{}{}</body>", chunk(&rows[..cut]), chunk(&rows[cut..])))
}

#[test]
fn a_wiki_comes_whole_by_two_calls() {
    let wiki = Wiki::start(Habits::default());
    let (outcome, documents) = wiki.fetch();
    let found: Vec<(&str, &str)> = documents.iter().map(|page| (page.id.as_str(), page.content.as_str())).collect();
    let expected = [
        ("o/r/1-overview", "# Overview\n\nWhat it is.\n\n```md\n# Page: in code\n```"),
        ("o/r/1.1-größe-und-kosten", "# Größe und Kosten\n\nKlein — 你好. See Overview."),
    ];
    assert_eq!(found, expected);
    assert_eq!((documents[0].repo.as_str(), documents[0].title.as_str()), ("o/r", "Overview"));
    assert_eq!(documents[0].url.as_deref(), Some(format!("{}/o/r/1-overview", wiki.server.address).as_str()));
    assert_eq!(outcome.fields["pages"], 2);
    let methods: Vec<String> = wiki
        .server
        .log()
        .iter()
        .map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap()["method"].to_string())
        .collect();
    assert_eq!(methods, ["\"initialize\"", "\"notifications/initialized\"", "\"tools/call\"", "\"tools/call\""]);
}

#[test]
fn the_bytes_of_version_1_are_pinned() {
    let wiki = Wiki::start(Habits::default());
    let outcome = wiki.try_fetch(json!({"site": "https://deepwiki.com"})).unwrap();
    assert_eq!(tunesmith::node::find(Family::Source, "deepwiki").unwrap().info().version, 1);
    assert_eq!(
        outcome.outputs["documents"].digest().to_string(),
        "cdca9f67b43ec11a8db10bdc22c9508ce9d38ea4d90816dbdcb3d5a02e9986ca"
    );
}

#[test]
fn events_and_sessions_give_the_same_and_a_lost_session_is_begun_anew() {
    // The address of the site is in the documents, and no server has that of another one.
    let fetch = |wiki: &Wiki| wiki.try_fetch(json!({"site": "https://deepwiki.com"})).unwrap().outputs;
    let plain = fetch(&Wiki::start(Habits::default()));
    for (events, sessions, lasts) in [(true, false, 0), (false, true, 0), (true, true, 1)] {
        let wiki = Wiki::start(Habits { events, sessions, lasts, ..Habits::default() });
        assert_eq!(fetch(&wiki), plain, "{events} {sessions} {lasts}");
        let log = wiki.server.log();
        assert_eq!(log.iter().any(|asked| asked.method == "DELETE"), sessions);
        if lasts == 1 {
            let begun = log.iter().filter(|asked| asked.body.contains("\"initialize\"")).count();
            assert_eq!(begun, 2, "one for the first call, one after the session was gone");
        }
    }
}

#[test]
fn a_text_that_tells_an_error_is_never_a_page() {
    let gone = "Repository not found. Visit https://deepwiki.com to index it.";
    for (tool, text, is_error) in [
        ("read_wiki_structure", gone, false),
        ("read_wiki_structure", "Error fetching wiki structure: Repository not found", false),
        ("read_wiki_contents", gone, false),
        ("read_wiki_contents", gone, true),
    ] {
        let wiki = Wiki::start(Habits { texts: vec![(tool, "o/r", text, is_error)], ..Habits::default() });
        let error = wiki.error();
        assert_eq!(error.class, FailureClass::Permanent, "{text}");
        assert_eq!(error.code.as_deref(), Some("source::deepwiki::not_indexed"), "{text}");
        assert!(error.message.contains("no wiki of `o/r`") && error.help.unwrap().contains("deepwiki.com"));
    }
    for (text, is_error) in
        [("Error processing: overloaded", false), ("overloaded", true), ("Sorry!", false), ("", false)]
    {
        let texts = vec![("read_wiki_contents", "o/r", text, is_error)];
        let wiki = Wiki::start(Habits { texts, ..Habits::default() });
        let error = wiki.error();
        assert_eq!(error.class, FailureClass::Transient, "{text}: {error:?}");
    }
}

#[test]
fn a_wiki_that_lacks_listed_pages_is_no_wiki() {
    let half = "# Page: Overview\n\n# Overview\n\nWhat it is.\n";
    let wiki = Wiki::start(Habits { texts: vec![("read_wiki_contents", "o/r", half, false)], ..Habits::default() });
    assert!(wiki.error().message.contains("1 pages of the 2 that are listed"));
}

#[test]
fn the_page_serves_where_the_mcp_server_fails() {
    let broken = [
        Told::new(404, "text/html", "<h1>gone</h1>"),
        Told::html("<html><title>Just a moment…</title></html>"),
        Told::new(200, "text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"resu"),
        Told::new(200, "application/json", r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}"#),
    ];
    for mcp in broken {
        let wiki = Wiki::start(Habits { mcp: Some(mcp.clone()), site: Some(html(&payload())), ..Habits::default() });
        let (outcome, documents) = wiki.fetch();
        assert_eq!(documents.len(), 2, "{mcp:?}");
        assert_eq!(documents[0].content, "# Overview\n\nWhat it is — 你好.");
        assert_eq!(outcome.fields["commits"], "o/r@abc123");
        assert!(wiki.bench.said()[0].contains("its page is read instead"));
    }
}

#[test]
fn bare_rows_serve_where_the_page_holds_none_and_half_rows_are_an_error() {
    let mcp = Some(Told::missing());
    let rows = payload();
    let bare = |rows: &str| Some(Told::new(200, "text/x-component", rows));
    let site = Some(Told::html("<html>Enable JavaScript</html>"));
    let wiki = Wiki::start(Habits { mcp, site, rows: bare(&rows), ..Habits::default() });
    assert_eq!(wiki.fetch().1.len(), 2);
    for bad in [&rows[..rows.len() / 3], "1f3:Tffffffffff,x", "<html>502</html>", ""] {
        wiki.change(|habits| habits.rows = bare(bad));
        let error = wiki.error();
        assert_eq!(error.code.as_deref(), Some("net::refused"), "what failed first is told: {error:?}");
    }
}

#[test]
fn a_wiki_over_the_cap_is_left() {
    let wiki = Wiki::start(Habits::default());
    let error = wiki.try_fetch(json!({"max-bytes": 300})).unwrap_err();
    assert!(error.message.contains("the wiki of `o/r` is larger than 300 bytes"), "{error:?}");
}

#[test]
fn what_came_is_kept_while_another_wiki_is_pending() {
    let texts = vec![("read_wiki_contents", "o/late", "Error: overloaded", false)];
    let wiki = Wiki::start(Habits { texts, ..Habits::default() });
    let repos = json!({"repos": ["o/r", "o/late"]});
    let error = wiki.try_fetch(repos.clone()).unwrap_err();
    assert!(error.message.starts_with("1 of 2 wikis could not be fetched: `o/late`: "), "{error:?}");
    wiki.change(|habits| habits.texts.clear());
    wiki.server.log();
    wiki.bench.said();
    let outcome = wiki.try_fetch(repos.clone()).unwrap();
    assert_eq!(wiki.documents(&outcome).len(), 4);
    assert_eq!(wiki.bench.said(), ["o/r: 2 pages of an earlier try"]);
    assert!(wiki.server.log().iter().all(|asked| !asked.body.contains("\"o/r\"")));
    // The next fetch asks for all again.
    assert_eq!(wiki.try_fetch(repos).unwrap().outputs, outcome.outputs);
    assert!(wiki.server.log().iter().any(|asked| asked.body.contains("\"o/r\"")));
}

#[test]
fn settings_that_cannot_be_are_refused_at_their_places() {
    let kind = tunesmith::node::find(Family::Source, "deepwiki").unwrap();
    let settings = json!({"repos": ["o/r", "O/R", "https://github.com/o/r"], "mcp": "ftp://x", "max-bytes": 0});
    let places: Vec<String> =
        kind.canonical(&settings).unwrap_err().into_iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(places, ["repos.1", "repos.2", "mcp", "max-bytes"]);
}
