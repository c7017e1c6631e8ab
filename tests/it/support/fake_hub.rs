//! The part of Hugging Face's hub that models are put on, over real HTTP and with the habits that a test asks for:
//! repositories with branches and commits, files within a commit, and large ones in a storage of another host. It checks
//! digests and tokens, and answers as the real one does, so that the hub's own Python client works with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_core::Stream as _;
use serde_json::{Value, json};
use sha2::Digest as _;

/// The token that may write.
pub(crate) const TOKEN: &str = "hf_verysecret";

/// What the server does in place of what it should.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answers with this status, this header and this error.
    Status(u16, Option<(&'static str, &'static str)>, &'static str),
    /// Reads some of what comes and closes the connection.
    Cut,
    /// Keeps other bytes than those that came.
    Spoils,
    /// Does it, and answers 502.
    LosesAnswer,
    /// Sends the client to this place.
    Redirects(String),
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Small(Vec<u8>),
    /// By SHA-256, with its bytes.
    Large(String, u64),
}

/// A repository.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repo {
    pub(crate) private: bool,
    /// The newest commit of each branch.
    pub(crate) branches: BTreeMap<String, String>,
    /// Message and files of each commit.
    pub(crate) commits: BTreeMap<String, (String, BTreeMap<String, Stored>)>,
}

/// What the server has, and how it behaves.
pub(crate) struct World {
    pub(crate) repos: BTreeMap<String, Repo>,
    /// Large files by SHA-256.
    pub(crate) large: BTreeMap<String, Vec<u8>>,
    /// Files of so many bytes are sent in parts of so many.
    pub(crate) parts: Option<(u64, u64)>,
    /// Parts that came, by upload and number.
    uploads: BTreeMap<String, BTreeMap<u64, Vec<u8>>>,
    begun: u64,
    /// Faults of the next requests whose log line begins so, in any order.
    pub(crate) faults: VecDeque<(&'static str, Fault)>,
    /// What the token may do: `write`, `read`, or nothing that is said.
    pub(crate) role: &'static str,
    /// What `.gitignore` leaves out.
    pub(crate) ignored: Option<String>,
    /// Where the storage is.
    pub(crate) storage: String,
    address: String,
    log: Vec<String>,
}

/// A running server.
pub(crate) struct FakeHub {
    pub(crate) address: String,
    world: Arc<Mutex<World>>,
    _runtime: tokio::runtime::Runtime,
}

impl FakeHub {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let world = World {
            repos: BTreeMap::new(),
            large: BTreeMap::new(),
            parts: None,
            uploads: BTreeMap::new(),
            begun: 0,
            faults: VecDeque::new(),
            role: "write",
            ignored: None,
            storage: format!("http://localhost:{port}/storage"),
            address: format!("http://127.0.0.1:{port}"),
            log: Vec::new(),
        };
        let world = Arc::new(Mutex::new(world));
        let app = axum::Router::new().fallback(answer).with_state(world.clone());
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address: format!("http://127.0.0.1:{port}"), world, _runtime: runtime }
    }

    /// Looks at what the server has, or changes it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    /// Has the next request whose log line begins so go wrong.
    pub(crate) fn fail(&self, request: &'static str, fault: Fault) {
        self.change(|world| world.faults.push_back((request, fault)));
    }

    /// Takes the requests since the last call that are more than a look.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = self.change(|world| std::mem::take(&mut world.log));
        log.into_iter().filter(|line| !line.starts_with("GET ")).collect()
    }

    /// Returns the files of a branch with their content.
    pub(crate) fn files(&self, repo: &str, branch: &str) -> BTreeMap<String, Vec<u8>> {
        self.change(|world| {
            let repo = &world.repos[repo];
            let files = &repo.commits[&repo.branches[branch]].1;
            let bytes = |stored: &Stored| match stored {
                Stored::Small(bytes) => bytes.clone(),
                Stored::Large(oid, _) => world.large[oid].clone(),
            };
            files.iter().map(|(path, stored)| (path.clone(), bytes(stored))).collect()
        })
    }

    /// Makes a commit as another person would, and returns it.
    pub(crate) fn push(&self, repo: &str, branch: &str, path: &str, bytes: &[u8]) -> String {
        self.change(|world| {
            let repo = world.repos.get_mut(repo).unwrap();
            let mut files = repo.commits[&repo.branches[branch]].1.clone();
            files.insert(path.to_owned(), Stored::Small(bytes.to_vec()));
            repo.add(branch, "somebody's".into(), files)
        })
    }
}

impl Repo {
    fn add(&mut self, branch: &str, message: String, files: BTreeMap<String, Stored>) -> String {
        let commit = sha1(format!("{} {branch} {message} {files:?}", self.commits.len()).as_bytes());
        self.commits.insert(commit.clone(), (message, files));
        self.branches.insert(branch.to_owned(), commit.clone());
        commit
    }

    /// Returns the commit that a branch's name or a commit's means.
    fn find(&self, revision: &str) -> Option<String> {
        let is_commit = self.commits.contains_key(revision);
        self.branches.get(revision).cloned().or_else(|| is_commit.then(|| revision.to_owned()))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&sha2::Sha256::digest(bytes))
}

fn sha1(bytes: &[u8]) -> String {
    hexadecimal(&sha1::Sha1::digest(bytes))
}

fn git_oid(bytes: &[u8]) -> String {
    sha1(&[format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat())
}

fn error(status: u16, text: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), [("x-error-message", text.to_owned())], axum::Json(json!({"error": text})))
        .into_response()
}

type Shared = Arc<Mutex<World>>;

/// What came, taken apart.
struct Asked {
    method: Method,
    /// The path's parts, decoded.
    path: Vec<String>,
    /// As it came.
    raw: String,
    query: String,
    has_token: bool,
    body: Bytes,
}

async fn answer(State(world): State<Shared>, request: Request) -> Response {
    let decoded = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned();
    let path: Vec<String> = request.uri().path().trim_matches('/').split('/').map(decoded).collect();
    let method = request.method().clone();
    let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let raw = request.uri().path().to_owned();
    let shown: Vec<&str> = path.iter().map(String::as_str).collect();
    let line = match shown.as_slice() {
        ["api", "models", _, _, rest @ ..] if rest.len() < 2 => format!("{method} model"),
        ["storage", what, ..] => format!("{method} storage {what}"),
        ["api", "models", _, _, what, ..] | [.., what] => format!("{method} {what}"),
        [] => format!("{method} /"),
    };
    let fault = {
        let mut world = world.lock().unwrap();
        world.log.push(line.clone());
        let at = world.faults.iter().position(|(begin, _)| line.starts_with(begin));
        at.and_then(|at| world.faults.remove(at)).map(|(_, fault)| fault)
    };
    // The storage knows no tokens, and must never see one.
    let is_storage = shown.first() == Some(&"storage");
    if is_storage && authorization.is_some() {
        return error(400, "the token came to the storage");
    }
    match fault {
        Some(Fault::Status(status, header, text)) => {
            let mut response = error(status, text);
            if let Some((name, value)) = header {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            return response;
        }
        Some(Fault::Cut) => {
            let mut body = request.into_body().into_data_stream();
            std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_next(context)).await;
            // The connection's task ends here, and the connection with it.
            std::panic::resume_unwind(Box::new("cut"));
        }
        Some(Fault::Redirects(to)) => {
            return (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response();
        }
        _ => {}
    }
    let has_token = authorization.as_deref() == Some(&format!("Bearer {TOKEN}"));
    let Ok(mut body) = axum::body::to_bytes(request.into_body(), usize::MAX).await else {
        return error(500, "unexpected EOF");
    };
    if matches!(fault, Some(Fault::Spoils)) {
        body = body.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into();
    }
    let asked = Asked { method, path, raw, query, has_token, body };
    let response = world.lock().unwrap().answer(&asked);
    if matches!(fault, Some(Fault::LosesAnswer)) { error(502, "bad gateway") } else { response }
}

impl World {
    fn answer(&mut self, asked: &Asked) -> Response {
        let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
        let post = asked.method == Method::POST;
        match path.as_slice() {
            ["storage", rest @ ..] => self.storage(asked, rest),
            ["api", "validate-yaml"] if post => axum::Json(json!({"errors": [], "warnings": []})).into_response(),
            _ if !asked.has_token => error(401, "Invalid username or password."),
            ["api", "whoami-v2"] => axum::Json(self.account()).into_response(),
            ["api", "repos", "create"] if post => self.create(&json_of(&asked.body)),
            ["api", "models", owner, name, rest @ ..] => self.model(&format!("{owner}/{name}"), rest, asked),
            [owner, name, "info", "lfs", "objects", "batch"] if post => {
                self.batch(&format!("{owner}/{}", name.trim_end_matches(".git")), &json_of(&asked.body))
            }
            [owner, name, "info", "lfs", "verify"] if post => {
                let _ = (owner, name);
                let body = json_of(&asked.body);
                let oid = body["oid"].as_str().unwrap_or_default();
                let found = self.large.get(oid);
                if found.is_some_and(|bytes| json!(bytes.len()) == body["size"] && sha256(bytes) == oid) {
                    StatusCode::OK.into_response()
                } else {
                    self.large.remove(oid);
                    error(422, "the object is not what was announced")
                }
            }
            [owner, name, "resolve", revision, file @ ..] => {
                let Some(repo) = self.repos.get(&format!("{owner}/{name}")) else { return error(404, "no repository") };
                let commit = repo.find(revision).unwrap_or_default();
                match repo.commits.get(&commit).and_then(|commit| commit.1.get(&file.join("/"))) {
                    Some(Stored::Small(bytes)) => Body::from(bytes.clone()).into_response(),
                    Some(Stored::Large(oid, _)) => Body::from(self.large[oid].clone()).into_response(),
                    None => error(404, "Entry not found"),
                }
            }
            _ => error(404, "Not Found"),
        }
    }

    /// Returns whose the token is.
    fn account(&self) -> Value {
        json!({
            "name": "o", "type": "user", "auth": {"type": "access_token", "accessToken": {"role": self.role}},
            "orgs": [{"name": "team", "roleInOrg": "write"}, {"name": "our-company", "roleInOrg": "admin"}],
        })
    }

    fn create(&mut self, body: &Value) -> Response {
        let id = format!("{}/{}", body["organization"].as_str().unwrap_or("o"), body["name"].as_str().unwrap());
        let url = json!({"url": format!("https://huggingface.co/{id}"), "id": id});
        if self.repos.contains_key(&id) {
            return (
                StatusCode::CONFLICT,
                axum::Json(json!({"error": "You already created this model repo", "url": url})),
            )
                .into_response();
        }
        let mut repo = Repo { private: body["visibility"] == "private", ..Repo::default() };
        let attributes = b"*.gguf filter=lfs diff=lfs merge=lfs -text\n".to_vec();
        repo.add("main", "initial commit".into(), [(".gitattributes".into(), Stored::Small(attributes))].into());
        self.repos.insert(id, repo);
        axum::Json(url).into_response()
    }

    fn model(&mut self, id: &str, rest: &[&str], asked: &Asked) -> Response {
        let (ignored, address) = (self.ignored.clone(), self.address.clone());
        let Some(repo) = self.repos.get_mut(id) else { return error(404, "Repository not found") };
        match rest {
            [] => info(id, repo, "main"),
            ["revision", revision] => info(id, repo, revision),
            ["branch", branch] => {
                if repo.branches.contains_key(*branch) {
                    return error(409, "Reference already exists");
                }
                repo.branches.insert((*branch).to_owned(), repo.branches["main"].clone());
                StatusCode::OK.into_response()
            }
            ["tree", revision] => tree(repo, revision, asked, &address),
            ["preupload", branch] => {
                let body = json_of(&asked.body);
                let commit = repo.find(branch).unwrap_or_default();
                let there = repo.commits.get(&commit).map(|commit| commit.1.clone()).unwrap_or_default();
                let files = body["files"].as_array().unwrap().iter().map(|file| {
                    let path = file["path"].as_str().unwrap();
                    let sample = BASE64.decode(file["sample"].as_str().unwrap()).unwrap();
                    let is_large = [".gguf", ".safetensors", ".bin"].iter().any(|end| path.ends_with(end));
                    let is_large = is_large || sample.contains(&0);
                    let oid = there.get(path).map(|stored| match stored {
                        Stored::Small(bytes) => git_oid(bytes),
                        Stored::Large(oid, _) => oid.clone(),
                    });
                    json!({"path": path, "oid": oid, "uploadMode": if is_large { "lfs" } else { "regular" },
                        "shouldIgnore": ignored.as_deref() == Some(path)})
                });
                axum::Json(json!({"files": files.collect::<Vec<_>>()})).into_response()
            }
            ["commit", branch] => self.commit(id, branch, asked),
            _ => error(404, "Not Found"),
        }
    }

    fn commit(&mut self, id: &str, branch: &str, asked: &Asked) -> Response {
        let repo = self.repos.get_mut(id).unwrap();
        let Some(head) = repo.branches.get(branch).cloned() else { return error(404, "Invalid rev id") };
        let lines: Vec<Value> =
            asked.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(json_of).collect();
        let header = &lines[0]["value"];
        assert_eq!(lines[0]["key"], "header");
        if header["parentCommit"].as_str().is_some_and(|parent| parent != head) {
            return error(412, "A commit has happened since. Please refresh and try again.");
        }
        let mut files = repo.commits[&head].1.clone();
        for line in &lines[1..] {
            let value = &line["value"];
            let path = value["path"].as_str().unwrap().to_owned();
            match line["key"].as_str().unwrap() {
                "file" => {
                    let bytes = BASE64.decode(value["content"].as_str().unwrap()).unwrap();
                    files.insert(path, Stored::Small(bytes));
                }
                "lfsFile" => {
                    let oid = value["oid"].as_str().unwrap().to_owned();
                    let size = value["size"].as_u64().unwrap();
                    if self.large.get(&oid).is_none_or(|bytes| bytes.len() as u64 != size) {
                        return error(
                            400,
                            "Your push was rejected because an LFS pointer pointed to a file that does not exist",
                        );
                    }
                    files.insert(path, Stored::Large(oid, size));
                }
                "deletedFile" => {
                    if files.remove(&path).is_none() {
                        return error(404, "A file with this name doesn't exist");
                    }
                }
                key => return error(400, &format!("unknown operation {key}")),
            }
        }
        let commit = repo.add(branch, header["summary"].as_str().unwrap().to_owned(), files);
        let url = format!("https://huggingface.co/{id}/commit/{commit}");
        axum::Json(json!({"success": true, "commitOid": commit, "commitUrl": url, "hookOutput": ""})).into_response()
    }

    fn batch(&mut self, id: &str, body: &Value) -> Response {
        assert_eq!(body["operation"], "upload");
        let objects = body["objects"].as_array().unwrap().clone();
        let objects = objects.iter().map(|object| {
            let (oid, size) = (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap());
            if self.large.contains_key(oid) {
                return json!({"oid": oid, "size": size});
            }
            let storage = &self.storage;
            // As a mirror hands it on: the address of the hub itself.
            let verify = json!({"href": format!("https://huggingface.co/{id}/info/lfs/verify")});
            let upload = match self.parts {
                Some((from, part)) if size >= from => {
                    self.begun += 1;
                    let upload = format!("{oid}.{}", self.begun);
                    let mut header = json!({"chunk_size": part.to_string()});
                    for number in 1..=size.div_ceil(part) {
                        header[format!("{number:05}")] = json!(format!("{storage}/part/{upload}/{number}?signature=x"));
                    }
                    self.uploads.insert(upload.clone(), BTreeMap::new());
                    json!({"href": format!("{storage}/join/{upload}?signature=x"), "header": header})
                }
                _ => json!({"href": format!("{storage}/whole/{oid}?signature=x")}),
            };
            json!({"oid": oid, "size": size, "authenticated": true, "actions": {"upload": upload, "verify": verify}})
        });
        let objects: Vec<Value> = objects.collect();
        let transfer = if self.parts.is_some() { "multipart" } else { "basic" };
        axum::Json(json!({"transfer": transfer, "objects": objects})).into_response()
    }

    fn storage(&mut self, asked: &Asked, rest: &[&str]) -> Response {
        match rest {
            ["whole", oid] => {
                self.large.insert((*oid).to_owned(), asked.body.to_vec());
                StatusCode::OK.into_response()
            }
            ["part", upload, number] => {
                let Some(parts) = self.uploads.get_mut(*upload) else { return error(403, "Request has expired") };
                parts.insert(number.parse().unwrap(), asked.body.to_vec());
                (StatusCode::OK, [("etag", format!("\"{}\"", sha1(&asked.body)))]).into_response()
            }
            ["join", upload] => {
                let Some(parts) = self.uploads.get(*upload) else { return error(403, "Request has expired") };
                let named: Vec<(u64, String)> = json_of(&asked.body)["parts"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|part| (part["partNumber"].as_u64().unwrap(), part["etag"].as_str().unwrap().to_owned()))
                    .collect();
                let etag = |(number, bytes): (&u64, &Vec<u8>)| (*number, format!("\"{}\"", sha1(bytes)));
                if named != parts.iter().map(etag).collect::<Vec<_>>() {
                    return error(400, "InvalidPart");
                }
                let whole: Vec<u8> = parts.values().flatten().copied().collect();
                let oid = upload.split('.').next().unwrap().to_owned();
                if sha256(&whole) != oid {
                    self.uploads.remove(*upload);
                    return error(400, "the parts make another file");
                }
                self.large.insert(oid, whole);
                StatusCode::OK.into_response()
            }
            _ => error(404, "Not Found"),
        }
    }

    /// Lets all signed addresses expire.
    pub(crate) fn expire(&mut self) {
        self.uploads.clear();
    }
}

fn info(id: &str, repo: &Repo, revision: &str) -> Response {
    let Some(commit) = repo.find(revision) else { return error(404, "Invalid rev id") };
    let siblings: Vec<Value> = repo.commits[&commit].1.keys().map(|path| json!({"rfilename": path})).collect();
    axum::Json(json!({"_id": "1", "id": id, "sha": commit, "private": repo.private, "siblings": siblings}))
        .into_response()
}

/// Pages of two entries, as large listings have more than one.
fn tree(repo: &Repo, revision: &str, asked: &Asked, address: &str) -> Response {
    let Some(commit) = repo.find(revision) else { return error(404, "Invalid rev id") };
    let entries: Vec<Value> = repo.commits[&commit]
        .1
        .iter()
        .map(|(path, stored)| match stored {
            Stored::Small(bytes) => {
                json!({"type": "file", "path": path, "size": bytes.len(), "oid": git_oid(bytes)})
            }
            Stored::Large(oid, size) => json!({"type": "file", "path": path, "size": size, "oid": sha1(oid.as_bytes()),
                "lfs": {"oid": oid, "size": size, "pointerSize": 134}}),
        })
        .collect();
    let cursor = asked.query.split('&').find_map(|pair| pair.strip_prefix("cursor=")).unwrap_or("0");
    let from: usize = cursor.parse().unwrap();
    let page: Vec<&Value> = entries.iter().skip(from).take(2).collect();
    let mut response = axum::Json(json!(page)).into_response();
    if from + 2 < entries.len() {
        let next = format!("<{address}{}?recursive=true&cursor={}>; rel=\"next\"", asked.raw, from + 2);
        response.headers_mut().insert("link", next.parse().unwrap());
    }
    response
}

fn json_of(bytes: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(bytes.as_ref()).unwrap()
}
