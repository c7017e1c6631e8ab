//! A GitHub of one repository, with its habits: pull requests among the issues, pages by `Link`, `since`, `ETag`s,
//! redirects of a repository that moved, and faults on request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};

/// What a server answers in place of the truth.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: &'static str,
}

/// The state that a test changes between two fetches.
#[derive(Default)]
pub(crate) struct World {
    issues: BTreeMap<u64, Value>,
    comments: BTreeMap<u64, Value>,
    /// Faults by the number of the request since the log was last taken, from 1.
    pub(crate) faults: BTreeMap<usize, Fault>,
    /// Requests to these paths name a next page for ever.
    pub(crate) endless: bool,
    /// Whether the repository is now only found under its number.
    pub(crate) moved: bool,
    /// Comments that the list of all comments does not name.
    pub(crate) unlisted: BTreeSet<u64>,
    log: Vec<String>,
    tokens: BTreeSet<String>,
    count: usize,
}

/// A running server.
pub(crate) struct FakeGithub {
    pub(crate) address: String,
    world: Arc<Mutex<World>>,
    _runtime: tokio::runtime::Runtime,
}

/// Entries on a page, whatever was asked for.
const PAGE: usize = 2;

impl FakeGithub {
    pub(crate) fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answer = |State(world): State<Arc<Mutex<World>>>, request: Request| async move {
            world.lock().unwrap().answer(&request)
        };
        let app = axum::Router::new().fallback(answer).with_state(world.clone());
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, world, _runtime: runtime }
    }

    /// Changes the world.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    /// Takes the log: paths with queries, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        self.change(|world| {
            world.count = 0;
            std::mem::take(&mut world.log)
        })
    }

    /// Returns all values of `authorization` that were ever sent.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.change(|world| world.tokens.iter().cloned().collect())
    }
}

impl World {
    /// Adds or replaces an issue that changed at `minute`.
    pub(crate) fn issue(&mut self, number: u64, minute: u32, fields: Value) {
        let mut issue = json!({
            "number": number, "title": format!("title {number}"), "body": format!("body {number}"), "state": "open",
            "user": {"login": "asker", "type": "User"}, "author_association": "NONE",
            "labels": [{"name": "bug"}], "reactions": {"total_count": 3},
            "created_at": time(0), "updated_at": time(minute),
            "html_url": format!("https://github.com/o/r/issues/{number}"),
        });
        merge(&mut issue, fields);
        self.issues.insert(number, issue);
    }

    /// Adds or replaces a comment that changed at `minute`. Its issue changed then too, as on GitHub.
    pub(crate) fn comment(&mut self, id: u64, number: u64, minute: u32, fields: Value) {
        let is_pull = self.issues.get(&number).is_some_and(|issue| issue.get("pull_request").is_some());
        let page = if is_pull { "pull" } else { "issues" };
        let mut comment = json!({
            "id": id, "body": format!("comment {id}"), "user": {"login": "helper", "type": "User"},
            "author_association": "MEMBER", "created_at": time(id as u32), "updated_at": time(minute),
            "issue_url": format!("https://api.github.com/repos/o/r/issues/{number}"),
            "html_url": format!("https://github.com/o/r/{page}/{number}#issuecomment-{id}"),
        });
        merge(&mut comment, fields);
        self.comments.insert(id, comment);
        if let Some(issue) = self.issues.get_mut(&number) {
            let later = issue["updated_at"].as_str().unwrap().max(&time(minute)).to_owned();
            issue["updated_at"] = later.into();
        }
    }

    pub(crate) fn delete_issue(&mut self, number: u64) {
        self.issues.remove(&number);
        self.comments.retain(|_, comment| !is_of(comment, number));
    }

    pub(crate) fn delete_comment(&mut self, id: u64) {
        self.comments.remove(&id);
    }

    fn answer(&mut self, request: &Request) -> Response {
        self.count += 1;
        let uri = request.uri().clone();
        self.log.push(uri.to_string());
        if let Some(token) = request.headers().get("authorization") {
            self.tokens.insert(token.to_str().unwrap().to_owned());
        }
        if let Some(fault) = self.faults.remove(&self.count) {
            let headers: Vec<_> = fault.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            return respond(fault.status, &headers, fault.body.to_owned());
        }
        let query = uri.query().unwrap_or_default();
        let Some(path) = uri.path().strip_prefix("/repositories/9/").or_else(|| uri.path().strip_prefix("/repos/o/r/"))
        else {
            return respond(404, &[], r#"{"message": "Not Found"}"#.into());
        };
        if self.moved && uri.path().starts_with("/repos/") {
            let location = format!("/repositories/9/{path}?{query}");
            return respond(301, &[("location", &location)], r#"{"message": "Moved Permanently"}"#.into());
        }
        let etag = request.headers().get("if-none-match").map(|etag| etag.to_str().unwrap());
        match path.split('/').collect::<Vec<_>>()[..] {
            ["issues"] => self.page(path, query, etag, self.issues.values().map(|issue| self.counted(issue)).collect()),
            ["issues", "comments"] => {
                let listed = self.comments.iter().filter(|(id, _)| !self.unlisted.contains(id));
                self.page(path, query, etag, listed.map(|(_, comment)| comment.clone()).collect())
            }
            ["issues", number] => match self.issues.get(&number.parse().unwrap()) {
                Some(issue) => respond(200, &[], self.counted(issue).to_string()),
                None => respond(404, &[], r#"{"message": "Not Found"}"#.into()),
            },
            ["issues", number, "comments"] => {
                let number = number.parse().unwrap();
                let of = self.comments.values().filter(|comment| is_of(comment, number)).cloned().collect();
                self.page(path, query, etag, of)
            }
            _ => respond(404, &[], r#"{"message": "Not Found"}"#.into()),
        }
    }

    /// Returns an issue with its number of comments.
    fn counted(&self, issue: &Value) -> Value {
        let mut issue = issue.clone();
        let number = issue["number"].as_u64().unwrap();
        let count = self.comments.values().filter(|comment| is_of(comment, number)).count();
        merge(&mut issue, json!({"comments": count}));
        issue
    }

    fn page(&self, path: &str, query: &str, asked: Option<&str>, mut entries: Vec<Value>) -> Response {
        let asked_for = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        let since = asked_for("since").unwrap_or_default();
        entries.retain(|entry| entry["updated_at"].as_str().unwrap() >= since);
        entries.sort_by_key(|entry| entry["updated_at"].as_str().unwrap().to_owned());
        // Like GitHub's, the next link is another path and names its place by a cursor.
        let at: usize = asked_for("after").map_or(0, |cursor| cursor.parse().unwrap());
        let page: Vec<&Value> = entries.iter().skip(at).take(PAGE).collect();
        let body = serde_json::to_string(&page).unwrap();
        let etag = format!("W/\"{}\"", tunesmith::store::Digest::of(body.as_bytes()).short());
        if asked == Some(etag.as_str()) {
            return respond(304, &[], String::new());
        }
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("after=")).collect();
        let next = format!("</repositories/9/{path}?{}&after={}>; rel=\"next\"", kept.join("&"), at + PAGE);
        let next = if self.endless { format!("</repositories/9/{path}?{query}>; rel=\"next\"") } else { next };
        let mut headers = vec![("etag", etag.as_str())];
        if self.endless || at + PAGE < entries.len() {
            headers.push(("link", &next));
        }
        respond(200, &headers, body)
    }
}

/// Returns a time of day in GitHub's form, `minute` minutes after an arbitrary noon.
pub(crate) fn time(minute: u32) -> String {
    format!("2024-05-06T{:02}:{:02}:00Z", 12 + minute / 60, minute % 60)
}

fn is_of(comment: &Value, number: u64) -> bool {
    comment["issue_url"].as_str().unwrap().ends_with(&format!("/issues/{number}"))
}

fn merge(into: &mut Value, fields: Value) {
    let (Value::Object(into), Value::Object(fields)) = (into, fields) else { panic!("not an object") };
    into.extend(fields);
}

fn respond(status: u16, headers: &[(&str, &str)], body: String) -> Response {
    let builder = Response::builder().status(status).header("content-type", "application/json");
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::from(body)).unwrap()
}
