//! `source.website` against real servers: what is asked for and how often, what becomes a document, and what a hostile
//! site can do.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tunesmith::node::{FailureClass, Family, NodeError, Outcome};
use tunesmith::record::{Document, Record, RecordSet};
use tunesmith::store::Artifact;

use crate::support::fake_site::{FakeSite, Told};
use crate::support::node_run::Bench;
use crate::support::program::{program, tunesmith, write};

/// A site of files, which a test changes between two fetches. Pages have an `ETag` made of their bytes.
struct Site {
    server: FakeSite,
    files: Arc<Mutex<BTreeMap<String, Told>>>,
    bench: Bench,
}

impl Site {
    fn start() -> Self {
        let files: Arc<Mutex<BTreeMap<String, Told>>> = Arc::default();
        let shared = files.clone();
        let server = FakeSite::start(move |asked, own| {
            let Some(told) = shared.lock().unwrap().get(&asked.path).cloned() else { return Told::missing() };
            let body = String::from_utf8(told.body.clone()).map_or(told.body, |text| text.replace("{own}", own).into());
            let etag = format!("\"{}\"", tunesmith::store::Digest::of(&body).short());
            if told.status == 200 && asked.headers.get("if-none-match") == Some(&etag) {
                return Told { status: 304, headers: vec![("etag", etag)], body: Vec::new() };
            }
            Told { body, ..told }.with("etag", &etag)
        });
        Self { server, files, bench: Bench::new() }
    }

    fn put(&self, path: &str, told: Told) {
        self.files.lock().unwrap().insert(path.to_owned(), told);
    }

    /// Adds a page with enough text, and links.
    fn page(&self, path: &str, links: &[&str]) {
        self.put(path, Told::html(page(path, links)));
    }

    fn try_fetch(&self, more: Value) -> Result<Outcome, NodeError> {
        let mut settings = json!({"start": [self.url("/docs/")], "delay": "0s", "max-wait": "1s"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.bench.run(Family::Source, "website", &settings)
    }

    #[track_caller]
    fn fetch(&self, more: Value) -> Outcome {
        self.try_fetch(more).unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.address)
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

    /// Returns the paths of an outcome's documents.
    fn paths(&self, outcome: &Outcome) -> Vec<String> {
        self.documents(outcome).into_iter().map(|document| document.path).collect()
    }
}

fn page(path: &str, links: &[&str]) -> String {
    let links: Vec<String> = links.iter().map(|link| format!("<li><a href='{link}'>to {link}</a></li>")).collect();
    let links = links.concat();
    let text = format!("What stands at {path} is told here in a few words. ").repeat(6);
    format!(
        "<html><head><title>T {path} | Site</title></head><body><nav><ul>{links}</ul></nav><main><h1>Page {path}</h1><p>{text}</p></main></body></html>"
    )
}

fn count(outcome: &Outcome, what: &str) -> u64 {
    outcome.report.iter().find(|count| count.what == what).map_or(0, |count| count.count)
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A server that fails for longer than anybody waits.
fn down() -> Told {
    Told::new(503, "text/html", "down").with("retry-after", "86400")
}

#[test]
fn links_are_followed_inside_the_prefix_and_robots_txt_is_obeyed() {
    let site = Site::start();
    site.put("/robots.txt", Told::new(200, "text/plain", "User-agent: tunesmith\nDisallow: /docs/private\n"));
    site.page(
        "/docs/",
        &["a", "/docs/a#part", "b/", "private/x", "/blog/", "old.pdf", "gone", "mailto:x@y", "/docs/?page=2"],
    );
    site.page("/docs/a", &["b", "/docs/index.html", "http://127.0.0.1:1/elsewhere"]);
    site.put("/docs/b/", Told::html("<main><h1>B</h1><p>Too little.</p></main>"));
    site.page("/docs/private/x", &[]);
    site.page("/blog/", &[]);
    let outcome = site.fetch(json!({}));
    assert_eq!(site.server.paths(), ["/robots.txt", "/docs/", "/docs/a", "/docs/b/", "/docs/gone"]);
    let documents = site.documents(&outcome);
    let ids: Vec<&str> = documents.iter().map(|document| document.id.as_str()).collect();
    assert_eq!(ids, [site.url("/docs"), site.url("/docs/a")]);
    let a = &documents[1];
    assert_eq!((a.title.as_str(), a.path.as_str(), a.url.as_deref()), ("Page /docs/a", "docs/a", Some(ids[1])));
    assert!(a.content.starts_with("# Page /docs/a\n\nWhat stands at /docs/a is told"), "{}", a.content);
    assert!(!a.content.contains("to b"), "navigation is no text: {}", a.content);
    for (what, times) in [
        ("address not followed: robots.txt", 1),
        ("address not followed: outside the prefix", 2),
        ("address not followed: no page by its name", 1),
        ("address not followed: it has a query", 1),
        ("dropped page: answered 404", 1),
        ("dropped page: too short", 1),
    ] {
        assert_eq!(count(&outcome, what), times, "{what}: {:?}", outcome.report);
    }
    let agent = concat!("tunesmith/", env!("CARGO_PKG_VERSION"));
    site.fetch(json!({}));
    assert!(site.server.log().iter().all(|asked| asked.headers["user-agent"] == agent));
}

#[test]
fn sitemaps_lead_to_pages_without_their_links() {
    let site = Site::start();
    let index = "<sitemapindex><sitemap><loc>{own}/1.xml.gz</loc></sitemap><sitemap><loc>{own}/2.txt</loc></sitemap>\
        <sitemap><loc>http://127.0.0.1:1/foreign.xml</loc></sitemap></sitemapindex>";
    site.put("/sitemap.xml", Told::new(200, "application/xml", index));
    let urls = format!("<urlset><url><loc>{0}/a</loc></url><url><loc>{0}/b/</loc></url></urlset>", site.server.address);
    site.put("/1.xml.gz", Told::new(200, "application/gzip", packed(urls.as_bytes())));
    site.put("/2.txt", Told::new(200, "text/plain", "{own}/c\n{own}/a/\nhttp://127.0.0.1:1/x\n"));
    for path in ["/a", "/b/", "/c"] {
        site.page(path, &["/not-in-the-sitemap"]);
    }
    let settings = json!({"start": null, "sitemap": [site.url("/sitemap.xml")]});
    let outcome = site.fetch(settings);
    assert_eq!(site.paths(&outcome), ["a", "b", "c"]);
    assert_eq!(count(&outcome, "sitemaps read"), 3);
    let error = site.try_fetch(json!({"start": null, "sitemap": [site.url("/a")]})).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::website::bad_sitemap"), "{error:?}");
}

#[test]
fn a_later_fetch_sends_only_what_changed() {
    let site = Site::start();
    site.page("/docs/", &["a", "b", "moved"]);
    site.page("/docs/a", &[]);
    site.page("/docs/b", &[]);
    site.put("/docs/moved", Told::redirect("/docs/new"));
    site.page("/docs/new", &[]);
    let first = site.fetch(json!({}));
    let again = site.fetch(json!({}));
    assert_eq!((first.outputs.clone(), count(&again, "pages that did not change")), (again.outputs, 4));
    site.page("/docs/b", &["c"]);
    site.page("/docs/c", &[]);
    site.files.lock().unwrap().remove("/docs/a");
    let third = site.fetch(json!({}));
    assert_eq!(site.paths(&third), ["docs", "docs/b", "docs/c", "docs/new"]);
    assert_eq!(count(&third, "pages that did not change"), 2);
    // Whoever comes new sees the same.
    let fresh = Site { bench: Bench::new(), ..site };
    assert_eq!(fresh.fetch(json!({})).outputs, third.outputs);
}

#[test]
fn what_came_is_kept_when_pages_fail_and_is_not_asked_for_again() {
    let site = Site::start();
    site.page("/docs/", &["a", "b", "c"]);
    site.page("/docs/a", &[]);
    site.put("/docs/b", down());
    site.page("/docs/c", &["d"]);
    site.page("/docs/d", &[]);
    let error = site.try_fetch(json!({})).unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (FailureClass::Transient, Some("source::website::pending")));
    assert!(
        error.message.starts_with("1 pages could not be fetched: ") && error.message.contains("/docs/b"),
        "{error:?}"
    );
    site.server.log();
    site.page("/docs/b", &[]);
    let outcome = site.fetch(json!({}));
    assert_eq!(site.server.paths(), ["/robots.txt", "/docs/b"]);
    assert_eq!(site.paths(&outcome), ["docs", "docs/a", "docs/b", "docs/c", "docs/d"]);
    site.put("/docs/", down());
    assert!(site.try_fetch(json!({})).unwrap_err().message.contains("/docs/"));
}

/// The server kills whoever asks for a page for the first time, so each page costs one run of the program: those that
/// came before must be there then.
#[test]
fn a_fetch_that_is_killed_at_every_page_ends_as_an_undisturbed_one_and_asks_for_none_again() {
    const PAGES: usize = 20;
    let victim: Arc<Mutex<Option<u32>>> = Arc::default();
    let (shared, mut met) = (victim.clone(), std::collections::BTreeSet::new());
    let server = FakeSite::start(move |asked, _| {
        let Ok(number) = asked.path.trim_start_matches("/docs/").parse::<usize>() else { return Told::missing() };
        if let Some(process) = *shared.lock().unwrap()
            && met.insert(number)
        {
            std::process::Command::new("kill").args(["-9", &process.to_string()]).output().unwrap();
        }
        let next = format!("/docs/{}", number + 1);
        let links: &[&str] = if number + 1 < PAGES { &[&next] } else { &[] };
        Told::html(page(&asked.path, links))
    });
    let manifest = format!(
        "schema = 1\n[source.site]\ntype = \"website\"\nstart = [\"{}/docs/0\"]\ndelay = \"0s\"\nout = \"site.jsonl\"\n",
        server.address
    );
    let (undisturbed, disturbed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for space in [&undisturbed, &disturbed] {
        write(space.path(), &[("pipeline.toml", &manifest)]);
    }
    tunesmith(undisturbed.path(), &["build"]).expect(0);
    server.log();
    let mut runs = 0;
    loop {
        let mut child = program(disturbed.path()).arg("build").spawn().unwrap();
        *victim.lock().unwrap() = Some(child.id());
        runs += 1;
        if child.wait().unwrap().success() {
            break;
        }
        assert!(runs <= PAGES + 1, "the fetch does not come on");
    }
    let read = |space: &tempfile::TempDir| fs_err::read(space.path().join("site.jsonl")).unwrap();
    assert!(read(&disturbed) == read(&undisturbed));
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    server.paths().into_iter().for_each(|path| *times.entry(path).or_default() += 1);
    times.remove("/robots.txt");
    assert_eq!(times.len(), PAGES);
    assert!(
        times.values().all(|times| *times <= 2),
        "only a page whose asker was killed is asked for again: {times:?}"
    );
}

#[test]
fn rules_that_forbid_or_cannot_be_had_end_the_run() {
    let site = Site::start();
    site.page("/docs/", &[]);
    site.put("/robots.txt", Told::new(200, "text/plain", "User-agent: *\nDisallow: /"));
    let error = site.try_fetch(json!({})).unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (FailureClass::Permanent, Some("source::website::robots")));
    site.put("/robots.txt", down());
    assert_eq!(site.try_fetch(json!({})).unwrap_err().class, FailureClass::Transient);
    assert!(site.server.paths().iter().all(|path| path == "/robots.txt"));
}

#[test]
fn a_redirect_is_held_against_the_rules_and_paced_before_it_is_followed() {
    let site = Site::start();
    site.put("/robots.txt", Told::new(200, "text/plain", "User-agent: *\nDisallow: /private/"));
    site.page("/docs/", &["a", "b", "c"]);
    site.put("/docs/a", Told::redirect("/private/x"));
    site.put("/docs/b", Told::redirect("/docs/../private/x"));
    site.put("/docs/c", Told::redirect("d"));
    site.put("/docs/d", Told::redirect("/docs/e"));
    site.page("/docs/e", &[]);
    site.page("/private/x", &[]);
    let (delay, started) = (Duration::from_millis(100), Instant::now());
    let outcome = site.fetch(json!({"delay": "100ms"}));
    let asked = site.server.paths();
    assert_eq!(asked, ["/robots.txt", "/docs/", "/docs/a", "/docs/b", "/docs/c", "/docs/d", "/docs/e"]);
    assert!(started.elapsed() >= delay * (asked.len() as u32 - 1), "{:?}", started.elapsed());
    assert_eq!(site.paths(&outcome), ["docs", "docs/e"]);
    assert_eq!(count(&outcome, "dropped page: leads to what robots.txt forbids"), 2, "{:?}", outcome.report);

    site.put("/sitemap.xml", Told::redirect("/private/map.xml"));
    site.put("/private/map.xml", Told::new(200, "text/plain", "{own}/docs/e\n"));
    let error = site.try_fetch(json!({"start": null, "sitemap": [site.url("/sitemap.xml")]})).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::website::robots"), "{error:?}");
    assert_eq!(site.server.paths(), ["/robots.txt", "/sitemap.xml"]);
}

#[test]
fn rules_may_lie_behind_a_redirect() {
    let site = Site::start();
    site.put("/robots.txt", Told::redirect("/rules.txt"));
    site.put("/rules.txt", Told::new(200, "text/plain", "User-agent: *\nDisallow: /docs/a\nDisallow: /rules.txt"));
    site.page("/docs/", &["a"]);
    site.fetch(json!({}));
    assert_eq!(site.server.paths(), ["/robots.txt", "/rules.txt", "/docs/"]);
}

#[test]
fn one_page_at_several_addresses_is_one_document() {
    let site = Site::start();
    let versioned =
        |path: &str| page(path, &[]).replace("</head>", "<link rel=canonical href='/docs/latest/x'></head>");
    site.page("/docs/", &["v1/x", "v2/x", "latest/x", "copy", "alias"]);
    site.put("/docs/v1/x", Told::html(versioned("/docs/v1/x")));
    site.put("/docs/v2/x", Told::html(versioned("/docs/v2/x")));
    site.put("/docs/latest/x", Told::html(versioned("/docs/latest/x")));
    site.put("/docs/copy", Told::html(page("/docs/latest/x", &[])));
    site.put("/docs/alias", Told::redirect("/docs/latest/x"));
    let outcome = site.fetch(json!({}));
    assert_eq!(site.paths(&outcome), ["docs", "docs/copy"], "the first by id of those with one text");
    assert!(count(&outcome, "merged page: same address of its own") == 2, "{:?}", outcome.report);
}

#[test]
fn traps_end_and_no_other_host_is_asked() {
    let other = FakeSite::start(|_, _| Told::html(page("/stolen", &[])));
    let site = Site::start();
    site.put("/docs/away", Told::redirect(&format!("{}/stolen", other.address)));
    site.put("/docs/circle", Told::redirect("/docs/circle"));
    site.put("/docs/deep", Told::html("<div>".repeat(100_000)));
    let bomb = Told::html(packed(&vec![b' '; 80 << 20])).with("content-encoding", "gzip");
    site.put("/docs/bomb", bomb);
    site.put("/docs/large", Told::html("x".repeat(9 << 20)));
    site.put("/docs/image", Told::new(200, "image/png", "\u{89}PNG"));
    for day in 0..40 {
        site.page(&format!("/docs/calendar/{day}"), &[&format!("/docs/calendar/{}", day + 1)]);
    }
    let deeper: Vec<String> = (1..6).map(|times| "/docs".to_owned() + &"/a/b".repeat(times)).collect();
    for path in &deeper {
        site.page(path, &[&format!("{path}/a/b")]);
    }
    site.page(
        "/docs/",
        &[
            "away",
            "circle",
            "deep",
            "bomb",
            "large",
            "image",
            "calendar/0",
            "/docs/a/b",
            &format!("{}/x", other.address),
        ],
    );
    let outcome = site.fetch(json!({"max-pages": 20}));
    assert!(other.log().is_empty());
    for (what, times) in [
        ("dropped page: leads to another host", 1),
        ("dropped page: redirects without end", 1),
        ("dropped page: nested deeper than 250 elements", 1),
        ("dropped page: too large", 2),
        ("dropped page: no HTML but `image/png`", 1),
        ("address not followed: a path like that of an endless one", 1),
        ("not asked for: more pages than `max-pages`", 1),
    ] {
        assert_eq!(count(&outcome, what), times, "{what}: {:?}", outcome.report);
    }
    assert!(site.bench.said().iter().any(|said| said.contains("`max-pages` is 20")));
}

#[test]
fn hostile_text_is_made_harmless() {
    let site = Site::start();
    let text = "Read \u{202e}siht\u{202c} and \u{1b}[31mthis\u{7}. ".repeat(20);
    let mut body = page("/docs/", &[])
        .replace("</main>", &format!("<p>{text}</p><!-- x --><script>steal()</script></main>"))
        .into_bytes();
    let at = body.windows(4).position(|bytes| bytes == b"</p>").unwrap();
    body.splice(at..at, *b"\xff\xfe\x00bytes");
    site.put("/docs/", Told::html(body));
    let content = &site.documents(&site.fetch(json!({})))[0].content;
    assert!(content.contains("Read siht and [31mthis.") || content.contains("Read siht and \\[31mthis."), "{content}");
    assert!(
        !content.contains("steal") && content.chars().all(|character| !character.is_control() || character == '\n')
    );
}

/// Pages of a port that differs from run to run: it is taken out of what is pinned.
#[test]
fn the_bytes_of_version_1_are_pinned() {
    let site = Site::start();
    site.page("/docs/", &["a"]);
    site.put(
        "/docs/a",
        Told::html(
            page("/docs/a", &[]).replace("</p>", "</p><pre class=language-sh>run</pre><table><tr><td>1<td>2</table>"),
        ),
    );
    let documents = site.documents(&site.fetch(json!({})));
    let text =
        serde_json::to_string(&documents).unwrap().replace(site.server.address.trim_start_matches("http://"), "site");
    assert_eq!(tunesmith::node::find(Family::Source, "website").unwrap().info().version, 1);
    assert_eq!(
        tunesmith::store::Digest::of(text.as_bytes()).to_string(),
        "5ca36e2bbb7782ba14c54bc0d9a8fcce570cb238a988f299584edad50edebbe6",
        "{text}"
    );
}

#[test]
fn a_page_made_by_scripts_is_rendered_by_a_browser() {
    let path = "/usr/local/bin:/usr/bin:/bin:/snap/bin:/opt/google/chrome";
    let mut site = Site::start();
    let script = "<script>document.getElementById('app').innerHTML = '<main><h1>Made</h1><p>' + 'by a script, '.repeat(30) + \
        '</p><a href=\"/docs/next\">next</a></main>'</script>";
    for page in ["/docs/", "/docs/next"] {
        site.put(
            page,
            Told::html(
                format!("<html><body><div id='app'></div>{script}</body></html>")
                    .replace("Made", &format!("Made {page}")),
            ),
        );
    }
    let plain = site.try_fetch(json!({})).unwrap_err();
    assert_eq!(plain.code.as_deref(), Some("source::website::empty"));
    assert!(plain.help.unwrap().contains("render = \"browser\""));
    let error = site.try_fetch(json!({"render": "browser"})).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::website::no_browser"), "{error:?}");
    site.bench.secrets.insert("PATH".into(), path.into());
    match site.try_fetch(json!({"render": "browser"})) {
        Ok(outcome) => {
            let documents = site.documents(&outcome);
            let titles: Vec<&str> = documents.iter().map(|document| document.title.as_str()).collect();
            assert_eq!(titles, ["Made /docs/", "Made /docs/next"]);
            assert!(documents[1].content.contains("by a script, by a script"));
        }
        Err(error) if error.code.as_deref() == Some("source::website::no_browser") => {
            println!("no Chromium in {path}: rendering was not tried");
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn settings_that_cannot_be_are_refused_at_their_places() {
    let kind = tunesmith::node::find(Family::Source, "website").unwrap();
    let settings = json!({
        "start": ["https://a/", "ftp://x", "https://user:pw@a/"], "include": ["a["], "delay": "soon", "max-pages": 0,
        "repeated": 0.0,
    });
    let problems = kind.canonical(&settings).unwrap_err();
    let places: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(places, ["start.1", "start.2", "include.0", "delay", "max-pages", "repeated"]);
    assert!(problems.iter().all(|problem| !problem.message.contains("pw")));
    assert!(kind.canonical(&json!({})).unwrap_err()[0].help.as_ref().unwrap().contains("sitemap"));
}
