//! The code half of a GitHub: repositories of files at a commit, as trees, blobs and archives; the archive lies on
//! another host, as GitHub's does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use sha1::Digest as _;

/// What a test changes between two fetches. The repository is `o/r`; `o/s` is one with other files.
#[derive(Default)]
pub(crate) struct World {
    /// Contents by repository and path.
    files: BTreeMap<(&'static str, String), Vec<u8>>,
    /// Modes that are not those of a plain file, by path.
    pub(crate) modes: BTreeMap<String, &'static str>,
    /// A tree with more entries than this is told only in part.
    pub(crate) most_entries: Option<usize>,
    /// Paths that no archive holds.
    pub(crate) not_archived: BTreeSet<String>,
    /// What stands in the archive in place of the truth, by path.
    pub(crate) forged: BTreeMap<String, Vec<u8>>,
    /// Entries of the archive beside the files, by their raw path.
    pub(crate) smuggled: Vec<String>,
    /// Bytes of zeros that come first in the archive.
    pub(crate) bomb: usize,
    /// What every blob is in place of the truth.
    pub(crate) blob: Option<&'static [u8]>,
    /// A request, by number since the log was last taken, that is answered with 500 however often it is sent.
    pub(crate) fails_from: Option<usize>,
    /// From this request on since the log was last taken nothing is answered at all.
    pub(crate) hangs_from: Option<usize>,
    log: Vec<String>,
}

/// Two running servers: the API, and the host of archives.
pub(crate) struct FakeRepository {
    pub(crate) address: String,
    world: Arc<Mutex<World>>,
    archives: Arc<Mutex<Vec<Option<String>>>>,
    _runtime: tokio::runtime::Runtime,
}

impl FakeRepository {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let archives = Arc::new(Mutex::new(Vec::new()));
        let serve = |app: axum::Router| {
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
            address
        };
        let (files, tokens) = (world.clone(), archives.clone());
        let codeload = serve(axum::Router::new().fallback(|request: Request| async move {
            let token = request.headers().get("authorization").map(|token| token.to_str().unwrap().to_owned());
            tokens.lock().unwrap().push(token);
            let repo = request.uri().path().trim_start_matches('/').to_owned();
            respond(200, &[("content-type", "application/x-gzip")], files.lock().unwrap().archive(&repo))
        }));
        let answer = |State(world): State<Arc<Mutex<World>>>, request: Request| async move {
            let (answer, hangs) = {
                let mut world = world.lock().unwrap();
                let answer = world.answer(&request, &codeload);
                (answer, world.hangs_from.is_some_and(|from| world.log.len() >= from))
            };
            if hangs { std::future::pending().await } else { answer }
        };
        let address = serve(axum::Router::new().fallback(answer).with_state(world.clone()));
        Self { address, world, archives, _runtime: runtime }
    }

    /// Starts with four documents, one of them somebody else's, and a file that is none.
    pub(crate) fn small() -> Self {
        let github = Self::start();
        github.change(|world| {
            world.file("README.md", "# The project\n\nText.\n");
            world.file("docs/guide.md", "---\ntitle: Guide\n---\nHow.\n");
            world.file("docs/deep/er.md", "# Deeper\n");
            world.file("vendor/x/README.md", "# Theirs\n");
            world.file("main.go", "package main\n");
        });
        github
    }

    /// Changes the world.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    /// Takes the log: paths below the repository with queries, ids of Git in short.
    pub(crate) fn log(&self) -> Vec<String> {
        self.change(|world| std::mem::take(&mut world.log))
    }

    /// Takes what the host of archives was asked: the token of each request.
    pub(crate) fn archives(&self) -> Vec<Option<String>> {
        std::mem::take(&mut *self.archives.lock().unwrap())
    }
}

impl World {
    /// Writes a file of `o/r`.
    pub(crate) fn file(&mut self, path: &str, bytes: impl AsRef<[u8]>) {
        self.file_of("o/r", path, bytes);
    }

    pub(crate) fn file_of(&mut self, repo: &'static str, path: &str, bytes: impl AsRef<[u8]>) {
        self.files.insert((repo, path.to_owned()), bytes.as_ref().to_vec());
    }

    pub(crate) fn delete(&mut self, path: &str) {
        self.files.remove(&("o/r", path.to_owned()));
    }

    /// Returns how many requests were made since the log was last taken.
    pub(crate) fn asked(&self) -> usize {
        self.log.len()
    }

    /// Returns the commit of a repository: another one whenever a file changed.
    pub(crate) fn commit(&self, repo: &str) -> String {
        let files: Vec<String> = self.of(repo).map(|(path, bytes)| format!("{path} {}", git_id(bytes))).collect();
        git_id(files.join("\n").as_bytes())
    }

    fn of<'w>(&'w self, repo: &str) -> impl Iterator<Item = (&'w str, &'w [u8])> {
        let files = self.files.iter().filter(move |((of, _), _)| *of == repo);
        files.map(|((_, path), bytes)| (path.as_str(), bytes.as_slice()))
    }

    fn answer(&mut self, request: &Request, codeload: &str) -> Response {
        let uri = request.uri().clone();
        let path = uri.path().trim_start_matches("/api/v3").trim_start_matches("/repos/");
        let parts: Vec<&str> = path.splitn(3, '/').collect();
        let [owner, name, rest] = parts[..] else { return not_found() };
        let repo = format!("{owner}/{name}");
        let rest = rest.to_owned();
        self.log.push(match uri.query() {
            Some(query) => format!("{}?{query}", short(&rest)),
            None => short(&rest),
        });
        if self.fails_from.is_some_and(|from| self.log.len() >= from) {
            return respond(500, &[], "{}");
        }
        if self.of(&repo).next().is_none() {
            return not_found();
        }
        let accept = request.headers()["accept"].to_str().unwrap();
        match rest.split('/').collect::<Vec<_>>()[..] {
            ["commits", "HEAD" | "main"] if accept == "application/vnd.github.sha" => {
                respond(200, &[], self.commit(&repo))
            }
            ["git", "trees", id] => self.tree(&repo, id, uri.query() == Some("recursive=1")),
            ["git", "blobs", id] => {
                assert_eq!(accept, "application/vnd.github.raw+json");
                let found = self.of(&repo).find(|(_, bytes)| git_id(bytes) == id);
                found.map_or_else(not_found, |(_, bytes)| respond(200, &[], self.blob.unwrap_or(bytes).to_vec()))
            }
            ["tarball", id] if id == self.commit(&repo) => {
                respond(302, &[("location", &format!("{codeload}/{repo}"))], Vec::new())
            }
            _ => not_found(),
        }
    }

    /// A folder's id is that of its path.
    fn tree(&self, repo: &str, id: &str, is_recursive: bool) -> Response {
        let folders: BTreeSet<String> = self.of(repo).flat_map(|(path, _)| folders_of(path)).collect();
        let top = if id == self.commit(repo) { Some(String::new()) } else { None };
        let folder =
            top.or_else(|| folders.iter().find(|path| git_id(path.as_bytes()) == id).map(|path| format!("{path}/")));
        let Some(folder) = folder else { return not_found() };
        let is_here = |path: &str| is_recursive || !path.contains('/');
        let mut entries: Vec<Value> = Vec::new();
        for path in folders.iter().filter_map(|path| path.strip_prefix(&folder)).filter(|path| is_here(path)) {
            let id = git_id(format!("{folder}{path}").as_bytes());
            entries.push(json!({"path": path, "mode": "040000", "type": "tree", "sha": id}));
        }
        for (whole, bytes) in self.of(repo) {
            let Some(path) = whole.strip_prefix(&folder).filter(|path| is_here(path)) else { continue };
            let mode = self.modes.get(whole).copied().unwrap_or("100644");
            let kind = if mode == "160000" { "commit" } else { "blob" };
            let (id, size) = (git_id(bytes), bytes.len());
            entries.push(json!({"path": path, "mode": mode, "type": kind, "sha": id, "size": size}));
        }
        let most = self.most_entries.unwrap_or(usize::MAX);
        let truncated = entries.len() > most;
        entries.truncate(most);
        respond(200, &[], json!({"sha": id, "tree": entries, "truncated": truncated}).to_string())
    }

    fn archive(&self, repo: &str) -> Vec<u8> {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let top = format!("{}-{}", repo.replace('/', "-"), &self.commit(repo)[..7]);
        let mut add = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            // The path as it is: the builder would refuse a bad one.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            archive.append(&header, bytes).unwrap();
        };
        if self.bomb > 0 {
            add(&format!("{top}/zeros"), &vec![0; self.bomb]);
        }
        for path in &self.smuggled {
            add(path, b"smuggled");
        }
        for (path, bytes) in self.of(repo).filter(|(path, _)| !self.not_archived.contains(*path)) {
            add(&format!("{top}/{path}"), self.forged.get(path).map_or(bytes, Vec::as_slice));
        }
        let mut packed = archive.into_inner().unwrap();
        packed.flush().unwrap();
        packed.finish().unwrap()
    }
}

/// Returns all folders above a path.
fn folders_of(path: &str) -> impl Iterator<Item = String> {
    path.match_indices('/').map(|(at, _)| path[..at].to_owned())
}

/// Returns Git's name for a file's bytes.
pub(crate) fn git_id(bytes: &[u8]) -> String {
    let head = format!("blob {}\0", bytes.len());
    format!("{:x}", sha1::Sha1::new().chain_update(head).chain_update(bytes).finalize())
}

/// Shortens ids of Git in a path.
fn short(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.len() == 40 { &part[..4] } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn not_found() -> Response {
    respond(404, &[], r#"{"message": "Not Found"}"#)
}

fn respond(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let builder = Response::builder().status(status);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(body.into()).unwrap()
}
