//! Requests against real servers on loopback with the habits of real ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request as Asked, State};
use axum::response::Response as Told;

use super::*;

mod bounds;
mod download;
mod told;
mod way;

const TOKEN: &str = "ghp_verysecret";

type Answer = Box<dyn Fn(usize, &Asked) -> Told + Send + Sync>;

/// Path and headers of each request.
type Log = Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>;

/// A server that answers request number N by a function, and remembers what it was asked.
struct Server {
    base: Url,
    asked: Log,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(answer: impl Fn(usize, &Asked) -> Told + Send + Sync + 'static) -> Self {
        let asked = Log::default();
        let answer: Answer = Box::new(answer);
        let state = (asked.clone(), Arc::new(answer));
        let app = axum::Router::new()
            .fallback(|State((asked, answer)): State<(Log, Arc<Answer>)>, request: Asked| async move {
                let headers = request.headers().iter();
                let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
                let number = {
                    let mut asked = asked.lock().unwrap();
                    asked.push((request.uri().to_string(), headers.collect()));
                    asked.len()
                };
                answer(number, &request)
            })
            .with_state(state);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { base, asked, _runtime: runtime }
    }

    fn url(&self, path: &str) -> Url {
        self.base.join(path).unwrap()
    }

    fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    fn header(&self, request: usize, name: &str) -> Option<String> {
        self.asked.lock().unwrap()[request].1.get(name).cloned()
    }
}

fn told(status: u16, headers: &[(&str, &str)], body: &str) -> Told {
    let builder = Told::builder().status(status);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::from(body.to_owned())).unwrap()
}

/// Remembers the waits, and cancels during the first one when told so.
#[derive(Default)]
struct Watcher {
    waits: RefCell<Vec<String>>,
    cancels: AtomicBool,
    cancelled: AtomicBool,
}

impl Watch for Watcher {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn waits(&self, _wait: Duration, why: &str) {
        self.waits.borrow_mut().push(why.to_owned());
        self.cancelled.fetch_or(self.cancels.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn quick() -> Policy {
    let short = Duration::from_millis(1);
    Policy { backoff: short, unnamed_wait: short, attempts: 3, ..Policy::default() }
}

fn client(server: &Server) -> Client {
    Client::new(quick()).with_token(&server.base, Secret::new(TOKEN).unwrap())
}

fn get(server: &Server, path: &str) -> Result<Response> {
    client(server).send(&Request::get(server.url(path)), &Watcher::default())
}

/// Returns the error as a user sees it: message, causes and help, which must not tell the token.
#[track_caller]
fn shown(result: Result<Response>) -> String {
    let error = result.unwrap_err();
    let text = format!("{:?}", miette::Report::new(error));
    assert!(!text.contains(TOKEN), "{text}");
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

#[test]
fn a_request_names_its_sender_and_carries_the_token() {
    let server = Server::start(|_, _| told(200, &[], "[1]"));
    assert_eq!(get(&server, "/a?b=c").unwrap().json::<Vec<u8>>().unwrap(), [1]);
    assert_eq!(server.paths(), ["/a?b=c"]);
    assert_eq!(server.header(0, "user-agent").unwrap(), concat!("tunesmith/", env!("CARGO_PKG_VERSION")));
    assert_eq!(server.header(0, "authorization").unwrap(), format!("Bearer {TOKEN}"));
}

#[test]
fn a_failing_server_is_asked_again_and_then_named() {
    let server = Server::start(|number, request| match request.uri().path() {
        "/heals" if number == 3 => told(200, &[], "done"),
        _ => told(503, &[("content-type", "text/html")], "<h1>Unicorn!</h1>"),
    });
    assert_eq!(get(&server, "/heals").unwrap().body, b"done");
    let text = shown(get(&server, "/down"));
    assert!(text.contains("answered 503 in 3 tries: \"<h1>Unicorn!</h1>\""), "{text}");
    assert_eq!(server.paths().len(), 6);
}

#[test]
fn a_refusal_is_not_repeated_and_echoes_no_token() {
    let server = Server::start(|_, request| {
        let echo = request.headers()["authorization"].to_str().unwrap();
        told(401, &[], &format!(r#"{{"message": "Bad credentials: {echo}"}}"#))
    });
    let text = shown(get(&server, "/"));
    assert!(text.contains(r#"answered 401: "Bad credentials: Bearer ***""#), "{text}");
    assert!(text.contains("make a new one"), "{text}");
    assert_eq!(server.paths().len(), 1);
}

#[test]
fn rate_limits_are_waited_for() {
    let server = Server::start(|number, _| match number {
        1 => told(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")], "{}"),
        2 => told(429, &[("retry-after", "0")], "{}"),
        3 => {
            told(403, &[("x-ratelimit-remaining", "21")], r#"{"message": "You have exceeded a secondary rate limit"}"#)
        }
        _ => told(200, &[], "done"),
    });
    let watcher = Watcher::default();
    let response = client(&server).send(&Request::get(server.url("/")), &watcher).unwrap();
    assert_eq!(response.body, b"done");
    let limited = format!("{} limits requests", server.base.host());
    assert_eq!(*watcher.waits.borrow(), [limited.as_str(); 3]);
}

#[test]
fn a_limit_beyond_the_cap_says_when_to_come_back() {
    let reset = "4102444800";
    let server = Server::start(move |_, _| {
        let date = ("date", "Thu, 31 Dec 2099 22:00:00 GMT");
        told(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset), date], "{}")
    });
    let error = get(&server, "/").unwrap_err();
    assert!(!error.is_transient());
    let NetError::RateLimited { wait, .. } = error else { panic!("{error}") };
    assert_eq!(wait, Duration::from_secs(7_201));
}

#[test]
fn a_wait_ends_when_it_is_cancelled() {
    let server = Server::start(|_, _| told(429, &[("retry-after", "3000")], "{}"));
    let watcher = Watcher::default();
    watcher.cancels.store(true, Ordering::SeqCst);
    let result = client(&server).send(&Request::get(server.url("/")), &watcher);
    assert!(matches!(result, Err(NetError::Cancelled)), "{result:?}");
}

#[test]
fn a_silent_server_is_left_at_the_deadline_and_at_a_cancel() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let policy = Policy { deadline: Duration::from_millis(60), ..quick() };
    let text = shown(Client::new(policy).send(&Request::get(url.clone()), &Watcher::default()));
    assert!(text.contains("did not answer within 60ms, in 3 tries"), "{text}");
    let watcher = Watcher { cancelled: AtomicBool::new(true), ..Watcher::default() };
    let result = Client::new(quick()).send(&Request::get(url), &watcher);
    assert!(matches!(result, Err(NetError::Cancelled)), "{result:?}");
}

/// Answers each connection with the next of `replies`, whatever is asked, and closes it.
fn raw_server(replies: Vec<&'static str>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        for reply in replies {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _length = stream.read(&mut request).unwrap();
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn half_a_body_is_no_body() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole";
    let client = Client::new(quick());
    let healed = client.send(&Request::get(raw_server(vec![half, "garbage\r\n\r\n", whole])), &Watcher::default());
    assert_eq!(healed.unwrap().body, b"whole");
    let text = shown(client.send(&Request::get(raw_server(vec![half; 3])), &Watcher::default()));
    assert!(text.contains("no reply from") && text.contains("after 3 tries"), "{text}");
}

#[test]
fn an_answer_over_the_cap_is_left() {
    let server = Server::start(|_, _| told(200, &[], &"x".repeat(100_000)));
    let client = Client::new(Policy { max_bytes: 99_999, ..quick() });
    let text = shown(client.send(&Request::get(server.url("/")), &Watcher::default()));
    assert!(text.contains("is larger than 99999 bytes"), "{text}");
    assert_eq!(server.paths().len(), 1);
}

#[test]
fn what_is_no_json_is_asked_again_where_json_was_wanted() {
    let server = Server::start(|number, _| match number {
        2 => told(200, &[], "[1]"),
        _ => told(200, &[], r#"{"half": "#),
    });
    let request = Request::get(server.url("/")).json();
    assert_eq!(client(&server).send(&request, &Watcher::default()).unwrap().body, b"[1]");
    let text = shown(client(&server).send(&request, &Watcher::default()));
    assert!(text.contains("is not the JSON expected: it begins"), "{text}");
    assert_eq!(server.paths().len(), 5);
}

#[test]
fn a_redirect_is_followed_but_the_token_stays_at_home() {
    let other = Server::start(|_, _| told(200, &[], "moved"));
    let target = other.url("/there").to_string();
    let server = Server::start(move |_, request| match request.uri().path() {
        "/old" => told(301, &[("location", "/new")], ""),
        "/new" => told(200, &[], "here"),
        "/loop" => told(302, &[("location", "/loop")], ""),
        _ => told(302, &[("location", &target)], ""),
    });
    let response = get(&server, "/old").unwrap();
    assert_eq!((response.body.as_slice(), response.url), (b"here".as_slice(), server.url("/new")));
    assert!(server.header(1, "authorization").is_some());
    assert_eq!(get(&server, "/away").unwrap().body, b"moved");
    assert_eq!(other.header(0, "authorization"), None);
    assert!(shown(get(&server, "/loop")).contains("redirects more than 5 times"));
    let question = Request::post_json(server.url("/away"), &serde_json::json!({"secret": "plan"}));
    let text = shown(client(&server).send(&question, &Watcher::default()));
    assert!(text.contains("what was sent would go elsewhere"), "{text}");
}

#[test]
fn a_listing_is_walked_by_its_links() {
    let server = Server::start(|_, request| match request.uri().query().unwrap_or_default() {
        "page=1" => told(200, &[("link", r#"</list?after=xyz&page=2>; rel="next", </list?page=9>; rel="last""#)], "1"),
        _ => told(200, &[("link", r#"</list?page=1>; rel="prev""#)], "2"),
    });
    let client = client(&server);
    let watcher = Watcher::default();
    let pages = client.pages(Request::get(server.url("/list?page=1")), &watcher);
    let bodies: Vec<_> = pages.map(|page| page.unwrap().body).collect();
    assert_eq!(bodies, [b"1", b"2"]);
    assert_eq!(server.paths(), ["/list?page=1", "/list?after=xyz&page=2"]);
}

#[test]
fn bad_next_links_end_a_listing() {
    let server = Server::start(|number, request| {
        let link = match request.uri().path() {
            "/circle" if number % 2 == 1 => "</circle?b>; rel=next".to_owned(),
            "/circle" => "</circle>; rel=next".to_owned(),
            "/foreign" => "<http://127.0.0.1:1/steal>; rel=next".to_owned(),
            _ => format!("</endless?{number}>; rel=next"),
        };
        told(200, &[("link", &link)], "[]")
    });
    let client = Client::new(Policy { max_pages: 10, ..quick() });
    let walk = |path: &str| {
        let watcher = Watcher::default();
        let last = client.pages(Request::get(server.url(path)), &watcher).last().unwrap();
        (shown(last), server.asked.lock().unwrap().drain(..).count())
    };
    let (text, requests) = walk("/circle");
    assert!(text.contains("it was read already") && requests == 2, "{text} {requests}");
    let (text, requests) = walk("/foreign");
    assert!(text.contains("it is on another origin") && requests == 1, "{text} {requests}");
    let (text, requests) = walk("/endless");
    assert!(text.contains("more pages than any real one") && requests == 10, "{text} {requests}");
}

#[derive(Default)]
struct Kept(RefCell<BTreeMap<String, Cached>>);

impl Replies for Kept {
    fn get(&self, key: &str) -> Option<Cached> {
        self.0.borrow().get(key).cloned()
    }

    fn put(&self, key: &str, reply: &Cached) {
        self.0.borrow_mut().insert(key.to_owned(), reply.clone());
    }
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let server = Server::start(|_, request| match request.headers().get("if-none-match") {
        Some(etag) if etag == "W/\"1\"" => told(304, &[], ""),
        _ => told(200, &[("etag", "W/\"1\""), ("link", "</2>; rel=next")], "kept"),
    });
    let kept = Kept::default();
    let request = Request::get(server.url("/")).conditional(&kept);
    for (token, unchanged) in [("one", false), ("one", true), ("two", false)] {
        let client = Client::new(quick()).with_token(&server.base, Secret::new(token).unwrap());
        let response = client.send(&request, &Watcher::default()).unwrap();
        assert_eq!((response.unchanged, response.body.as_slice()), (unchanged, b"kept".as_slice()), "{token}");
        assert_eq!(response.link.as_deref(), Some("</2>; rel=next"));
    }
    assert!(kept.0.borrow().keys().all(|key| !key.contains("one")));
}

#[test]
fn a_token_is_never_shown_and_must_fit_a_header() {
    assert_eq!(format!("{:?}", Secret::new(" abc\n").unwrap()), "Secret(***)");
    assert!(matches!(Secret::new("a\nb"), Err(NetError::BadToken)));
}

#[test]
fn a_reply_without_a_name_is_known_by_its_last_change() {
    let date = "Thu, 01 Jan 2026 00:00:00 GMT";
    let server = Server::start(move |_, request| match request.headers().get("if-modified-since") {
        Some(since) if since == date => told(304, &[("content-type", "text/html")], ""),
        _ => told(200, &[("last-modified", date)], "kept"),
    });
    let kept = Kept::default();
    let request = Request::get(server.url("/")).conditional(&kept);
    for unchanged in [false, true] {
        let response = client(&server).send(&request, &Watcher::default()).unwrap();
        assert_eq!((response.unchanged, response.body.as_slice()), (unchanged, b"kept".as_slice()));
        assert_eq!(response.header("content-type").is_some(), unchanged);
    }
    assert_eq!(server.header(1, "if-none-match"), None);
}

#[test]
fn a_request_that_stays_is_not_led_to_another_host() {
    let other = Server::start(|_, _| told(200, &[], "moved"));
    let target = other.url("/there").to_string();
    let server = Server::start(move |_, request| match request.uri().path() {
        "/here" => told(200, &[], request.method().as_str()),
        "/near" => told(302, &[("location", "/here")], ""),
        _ => told(302, &[("location", &target)], ""),
    });
    let send = |request: Request<'_>| client(&server).send(&request.stays(), &Watcher::default());
    assert_eq!(send(Request::get(server.url("/near"))).unwrap().body, b"GET");
    assert_eq!(send(Request::delete(server.url("/here"))).unwrap().body, b"DELETE");
    let text = shown(send(Request::get(server.url("/away"))));
    assert!(text.contains("that is another host"), "{text}");
    assert!(other.paths().is_empty());
}

#[test]
fn a_cookie_is_neither_sent_back_nor_kept() {
    let server = Server::start(|number, _| match number {
        1 => told(302, &[("location", "/next"), ("set-cookie", "session=planted; Path=/")], ""),
        _ => told(200, &[("set-cookie", "session=planted; Path=/"), ("etag", "\"1\"")], "done"),
    });
    let kept = Kept::default();
    let client = client(&server);
    for _ in 0..2 {
        client.send(&Request::get(server.url("/")).conditional(&kept), &Watcher::default()).unwrap();
    }
    assert!((0..server.paths().len()).all(|request| server.header(request, "cookie").is_none()));
    assert!(kept.0.borrow().iter().all(|kept| !format!("{kept:?}").contains("planted")));
}
