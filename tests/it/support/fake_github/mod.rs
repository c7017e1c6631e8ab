//! A GitHub with its habits: pull requests among the issues, pages by `Link`, `since`, `ETag`s, redirects of a repository
//! that moved, GraphQL over the same threads, and faults on request.

mod graphql;
mod repo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

pub(crate) use repo::{Repo, time};

/// What a server answers in place of the truth; the status 0 breaks the connection.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: &'static str,
}

/// What becomes of a question that asks for too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMuch {
    /// It fails.
    Fails,
    /// It is answered with gaps and an error.
    HasGaps,
}

/// The state that a test changes between two fetches.
#[derive(Default)]
pub(crate) struct World {
    repos: BTreeMap<String, Repo>,
    /// Faults by the number of the request since the log was last taken, from 1.
    pub(crate) faults: BTreeMap<usize, Fault>,
    /// Answers to all requests whose path and query contain a text.
    pub(crate) instead: BTreeMap<&'static str, Fault>,
    /// Requests to these paths name a next page for ever.
    pub(crate) endless: bool,
    /// Whether the repository is now only found under its number.
    pub(crate) moved: bool,
    /// How many entries a listing gives before it refuses to go deeper.
    pub(crate) deepest: Option<usize>,
    /// Entries on a page, whatever was asked for; 2 when not set.
    pub(crate) page: Option<usize>,
    /// Whether there is GraphQL.
    pub(crate) graphql: bool,
    /// The most threads that a question by GraphQL may ask for, and what becomes of a greater one.
    pub(crate) most: Option<(usize, TooMuch)>,
    /// The time of day that the server tells.
    pub(crate) date: Option<String>,
    /// How long each answer takes.
    pub(crate) latency: Duration,
    log: Vec<String>,
    /// Ids of the entries on each page that was given, beside the log.
    given: Vec<Vec<u64>>,
    tokens: BTreeSet<String>,
    count: usize,
}

/// A running server.
pub(crate) struct FakeGithub {
    pub(crate) address: String,
    world: Arc<Mutex<World>>,
    _runtime: tokio::runtime::Runtime,
}

/// A request, whole.
struct Asked {
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// An answer that was not sent yet.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl FakeGithub {
    pub(crate) fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
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
            world.given.clear();
            std::mem::take(&mut world.log)
        })
    }

    /// Takes the log, each request with the ids of the entries that it was given.
    pub(crate) fn log_with_ids(&self) -> Vec<(String, Vec<u64>)> {
        self.change(|world| {
            world.count = 0;
            std::mem::take(&mut world.log).into_iter().zip(std::mem::take(&mut world.given)).collect()
        })
    }

    /// Returns how many requests there were since the log was last taken.
    pub(crate) fn count(&self) -> usize {
        self.change(|world| world.count)
    }

    /// Returns all values of `authorization` that were ever sent.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.change(|world| world.tokens.iter().cloned().collect())
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec();
    let path = head.uri.path().to_owned();
    let asked = Asked { path, query: head.uri.query().unwrap_or_default().to_owned(), headers: head.headers, body };
    let latency = world.lock().unwrap().latency;
    if !latency.is_zero() {
        tokio::task::spawn_blocking(move || std::thread::sleep(latency)).await.unwrap();
    }
    let answer = world.lock().unwrap().answer(&asked);
    if answer.status == 0 {
        // A handler that unwinds closes its connection without a word.
        std::panic::resume_unwind(Box::new("connection closed"));
    }
    let builder = Response::builder().status(answer.status).header("content-type", "application/json");
    let builder = answer.headers.iter().fold(builder, |builder, (name, value)| builder.header(name, value));
    builder.body(Body::from(answer.body)).unwrap()
}

impl World {
    /// Returns a repository, which is made when it is not there.
    pub(crate) fn repo(&mut self, name: &str) -> &mut Repo {
        let id = 9 + self.repos.len() as u64;
        self.repos.entry(name.to_owned()).or_insert_with(|| Repo::new(name, id))
    }

    /// Adds or replaces an issue of `o/r` that changed at `minute`.
    pub(crate) fn issue(&mut self, number: u64, minute: u32, fields: Value) {
        self.repo("o/r").issue(number, minute, fields);
    }

    /// Adds or replaces a comment of `o/r` that changed at `minute`. Its issue changed then too, as on GitHub.
    pub(crate) fn comment(&mut self, id: u64, number: u64, minute: u32, fields: Value) {
        self.repo("o/r").comment(id, number, minute, fields);
    }

    pub(crate) fn delete_issue(&mut self, number: u64) {
        self.repo("o/r").delete_issue(number);
    }

    pub(crate) fn delete_comment(&mut self, id: u64) {
        self.repo("o/r").delete_comment(id);
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        self.count += 1;
        let query = if asked.query.is_empty() { String::new() } else { format!("?{}", asked.query) };
        let address = format!("{}{query}", asked.path);
        let instead = self.instead.iter().find(|(part, _)| address.contains(**part)).map(|(_, fault)| fault.clone());
        self.log.push(address);
        self.given.push(Vec::new());
        if let Some(token) = asked.headers.get("authorization") {
            self.tokens.insert(token.to_str().unwrap().to_owned());
        }
        let mut answer = match self.faults.remove(&self.count).or(instead) {
            Some(fault) => {
                let headers = fault.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                Answer { status: fault.status, headers, body: fault.body.to_owned() }
            }
            None => self.honest(asked),
        };
        if let Some(date) = &self.date
            && !answer.headers.iter().any(|(name, _)| name == "date")
        {
            answer.headers.push(("date".to_owned(), date.clone()));
        }
        answer
    }

    fn honest(&mut self, asked: &Asked) -> Answer {
        if asked.path == "/graphql" && self.graphql {
            return self.graphql(&asked.body);
        }
        let Some((name, path, by_name)) = self.find(&asked.path) else { return not_found() };
        if self.moved && by_name {
            let location = format!("/repositories/{}/{path}?{}", self.repos[&name].id, asked.query);
            let location = location.trim_end_matches('?').trim_end_matches('/').to_owned();
            return Answer::new(301, r#"{"message": "Moved Permanently"}"#).with("location", location);
        }
        let repo = &self.repos[&name];
        let page = match path.split('/').collect::<Vec<_>>()[..] {
            [""] => return Answer::new(200, &json!({ "full_name": repo.now_named() }).to_string()),
            ["issues"] => repo.issues.values().map(|issue| (issue["number"].as_u64().unwrap(), issue)).collect(),
            ["issues", "comments"] => repo.listed_comments(),
            ["pulls", "comments"] => repo.reviews.iter().map(|(id, comment)| (*id, comment)).collect(),
            ["issues", number] => {
                let issue = repo.issues.get(&number.parse().unwrap());
                return issue.map_or_else(not_found, |issue| Answer::new(200, &repo.counted(issue).to_string()));
            }
            ["pulls", "comments", id] => {
                let review = repo.reviews.get(&id.parse().unwrap());
                return review.map_or_else(not_found, |review| Answer::new(200, &review.to_string()));
            }
            ["issues", number, "comments"] => repo.comments_of(number.parse().unwrap()),
            ["pulls", number, "comments"] => repo.reviews_of(number.parse().unwrap()),
            _ => return not_found(),
        };
        let (answer, ids) = self.page(repo, &path, asked, page);
        *self.given.last_mut().unwrap() = ids;
        answer
    }

    /// Returns the repository that a path names, the rest of the path, and whether it names it by name.
    fn find(&self, path: &str) -> Option<(String, String, bool)> {
        self.repos.values().find_map(|repo| {
            let by_id = path.strip_prefix(&format!("/repositories/{}", repo.id));
            let by_name = path.strip_prefix(&format!("/repos/{}", repo.name));
            let rest = by_id.or(by_name).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some((repo.name.clone(), rest.trim_start_matches('/').to_owned(), by_id.is_none()))
        })
    }

    fn page(&self, repo: &Repo, path: &str, asked: &Asked, mut entries: Vec<(u64, &Value)>) -> (Answer, Vec<u64>) {
        let asked_for = |name: &str| asked.query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        let since = asked_for("since").unwrap_or_default();
        let by = if asked_for("sort") == Some("created") { "created_at" } else { "updated_at" };
        entries.retain(|(_, entry)| entry["updated_at"].as_str().unwrap() >= since);
        entries.sort_by_key(|(id, entry)| (entry[by].as_str().unwrap(), *id));
        // Like GitHub's, the next link is another path and names its place by the entry before it.
        let place = |(id, entry): &(u64, &Value)| format!("{}_{id:010}", entry[by].as_str().unwrap());
        let at = asked_for("after").map_or(0, |after| entries.partition_point(|entry| place(entry).as_str() <= after));
        if self.deepest.is_some_and(|deepest| at >= deepest) {
            let told = r#"{"message": "In order to keep the API fast for everyone, pagination is limited"}"#;
            return (Answer::new(422, told), Vec::new());
        }
        let size = self.page.unwrap_or(2);
        let page: Vec<(u64, &Value)> = entries.iter().skip(at).take(size).copied().collect();
        let ids = page.iter().map(|(id, _)| *id).collect();
        let values =
            page.iter().map(|(_, entry)| if path == "issues" { repo.counted(entry) } else { (*entry).clone() });
        let body = serde_json::to_string(&values.collect::<Vec<_>>()).unwrap();
        let has_more = at + size < entries.len();
        let etag = format!("W/\"{}-{has_more}\"", tunesmith::store::Digest::of(body.as_bytes()).short());
        if asked.headers.get("if-none-match").is_some_and(|asked| asked == etag.as_str()) {
            return (Answer::new(304, ""), Vec::new());
        }
        let mut answer = Answer::new(200, &body).with("etag", etag);
        let kept: Vec<&str> =
            asked.query.split('&').filter(|pair| !pair.starts_with("after=") && !pair.starts_with("page=")).collect();
        let own = format!("/repositories/{}/{path}", repo.id);
        if self.endless {
            answer = answer.with("link", format!("<{own}?{}>; rel=\"next\"", asked.query));
        } else if has_more {
            let after = page.last().map(place).unwrap_or_default();
            let last = entries.len().div_ceil(size);
            answer = answer.with(
                "link",
                format!(
                    "<{own}?{}&after={after}&page=2>; rel=\"next\", <{own}?{}&page={last}>; rel=\"last\"",
                    kept.join("&"),
                    kept.join("&")
                ),
            );
        }
        (answer, ids)
    }
}

impl Answer {
    fn new(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned() }
    }

    fn with(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.to_owned(), value));
        self
    }
}

fn not_found() -> Answer {
    Answer::new(404, r#"{"message": "Not Found"}"#)
}
