//! The part of an OCI registry that artifacts are put in, over real HTTP and with the habits that a test asks for: blobs
//! whole and in chunks, manifests by tag and digest, logins by a token or a password. It checks digests, and refuses
//! manifests of blobs that it has not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_core::Stream as _;
use serde_json::{Value, json};
use sha2::Digest as _;

/// Who may write, and the password.
pub(crate) const LOGIN: (&str, &str) = ("me", "verysecret");

/// What the server does in place of what it should.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answers with this status, this header and this message.
    Status(u16, Option<(&'static str, &'static str)>, &'static str),
    /// Keeps the first bytes of what comes and closes the connection.
    Cut,
    /// Takes other bytes for those that came.
    Spoils,
    /// Says that it has another digest.
    Lies,
    /// Sends the client to this place.
    Redirects(String),
}

/// How the registry wants to be logged in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    None,
    Basic,
    Bearer,
}

/// What the server has, and how it behaves.
pub(crate) struct World {
    /// By digest.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// Media type and bytes by digest.
    pub(crate) manifests: BTreeMap<String, (String, Vec<u8>)>,
    /// Digests by tag.
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) login: Login,
    /// The least bytes of a chunk but the last; nothing where no chunks are taken.
    pub(crate) chunks: Option<u64>,
    /// Whether a body of more bytes than this is refused.
    pub(crate) largest: u64,
    pub(crate) deletes: bool,
    uploads: BTreeMap<String, Vec<u8>>,
    begun: u64,
    /// The token that is good now.
    tokens: u64,
    /// Faults of the next requests whose log line begins so, in any order.
    pub(crate) faults: VecDeque<(&'static str, Fault)>,
    address: String,
    log: Vec<String>,
}

/// A running server.
pub(crate) struct FakeRegistry {
    /// `HOST:PORT`
    pub(crate) host: String,
    world: Arc<Mutex<World>>,
    _runtime: tokio::runtime::Runtime,
}

impl FakeRegistry {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let world = World {
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            login: Login::None,
            chunks: Some(1),
            largest: u64::MAX,
            deletes: true,
            uploads: BTreeMap::new(),
            begun: 0,
            tokens: 0,
            faults: VecDeque::new(),
            address: format!("http://{host}"),
            log: Vec::new(),
        };
        let world = Arc::new(Mutex::new(world));
        let app = axum::Router::new().fallback(answer).with_state(world.clone());
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { host, world, _runtime: runtime }
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
        log.into_iter().filter(|line| !line.starts_with("GET ") && !line.starts_with("HEAD ")).collect()
    }

    /// Returns the tags with their manifests.
    pub(crate) fn tags(&self) -> BTreeMap<String, Value> {
        self.change(|world| {
            let manifest = |digest: &String| serde_json::from_slice(&world.manifests[digest].1).unwrap();
            world.tags.iter().map(|(tag, digest)| (tag.clone(), manifest(digest))).collect()
        })
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn error(status: u16, code: &str) -> Response {
    let body = json!({"errors": [{"code": code, "message": code, "detail": null}]});
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

fn with(mut response: Response, headers: &[(&'static str, String)]) -> Response {
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let (authorization, range, kind) = {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (header("authorization"), header("content-range"), header("content-type"))
    };
    let what = ["uploads", "blobs", "manifests", "token"].into_iter().find(|part| path.contains(part)).unwrap_or("v2");
    let line = match what {
        "manifests" => format!("{method} manifests {}", path.rsplit('/').next().unwrap()),
        what => format!("{method} {what}"),
    };
    let fault = {
        let mut world = world.lock().unwrap();
        world.log.push(line.clone());
        let at = world.faults.iter().position(|(begin, _)| line.starts_with(begin));
        at.and_then(|at| world.faults.remove(at)).map(|(_, fault)| fault)
    };
    match &fault {
        Some(Fault::Status(status, header, text)) => {
            let headers = header.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>();
            return with(error(*status, text), &headers);
        }
        Some(Fault::Redirects(to)) => {
            return (StatusCode::TEMPORARY_REDIRECT, [("location", to.clone())]).into_response();
        }
        _ => {}
    }
    let upload = path.rsplit('/').next().unwrap().to_owned();
    if matches!(fault, Some(Fault::Cut)) {
        let mut body = request.into_body().into_data_stream();
        let first = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_next(context)).await;
        if let (Some(Ok(bytes)), Some(had)) = (first, world.lock().unwrap().uploads.get_mut(&upload)) {
            had.extend_from_slice(&bytes[..bytes.len().min(1_000)]);
        }
        // The connection's task ends here, and the connection with it.
        std::panic::resume_unwind(Box::new("cut"));
    }
    let Ok(mut body) = axum::body::to_bytes(request.into_body(), usize::MAX).await else {
        return error(500, "UNKNOWN");
    };
    if matches!(fault, Some(Fault::Spoils)) {
        body = body.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into();
    }
    let asked = Asked { method, path, query, authorization, range, kind, body };
    let response = world.lock().unwrap().answer(&asked);
    if matches!(fault, Some(Fault::Lies)) {
        return with(response, &[("docker-content-digest", digest(b"another"))]);
    }
    response
}

/// What came, taken apart.
struct Asked {
    method: Method,
    path: String,
    query: String,
    authorization: Option<String>,
    range: Option<String>,
    kind: Option<String>,
    body: Bytes,
}

impl World {
    fn answer(&mut self, asked: &Asked) -> Response {
        let basic = format!("Basic {}", BASE64.encode(format!("{}:{}", LOGIN.0, LOGIN.1)));
        if asked.path == "/token" {
            assert!(asked.query.contains("scope=repository%3Ateam%2Fexpert%3Apull%2Cpush"), "{}", asked.query);
            if asked.authorization.as_ref() != Some(&basic) {
                return error(401, "UNAUTHORIZED");
            }
            self.tokens += 1;
            return axum::Json(json!({"token": format!("token-{}", self.tokens), "expires_in": 300})).into_response();
        }
        let (right, challenge) = match self.login {
            Login::None => (None, String::new()),
            Login::Basic => (Some(basic), "Basic realm=\"registry\"".to_owned()),
            Login::Bearer => {
                let scope = "repository:team/expert:pull,push";
                let challenge =
                    format!("Bearer realm=\"{}/token\",service=\"registry\",scope=\"{scope}\"", self.address);
                (Some(format!("Bearer token-{}", self.tokens)), challenge)
            }
        };
        if right.is_some() && (asked.authorization != right || right.as_deref() == Some("Bearer token-0")) {
            return with(error(401, "UNAUTHORIZED"), &[("www-authenticate", challenge)]);
        }
        let Some(rest) = asked.path.strip_prefix("/v2/team/expert/") else { return error(404, "NAME_UNKNOWN") };
        match rest.split('/').collect::<Vec<_>>().as_slice() {
            ["blobs", "uploads", ""] => self.begin(),
            ["blobs", "uploads", upload] => self.upload(upload, asked),
            ["blobs", digest] => match self.blobs.get(*digest) {
                Some(bytes) => with(bytes.clone().into_response(), &[("docker-content-digest", (*digest).to_owned())]),
                None => error(404, "BLOB_UNKNOWN"),
            },
            ["manifests", name] => self.manifest(name, asked),
            _ => error(404, "UNSUPPORTED"),
        }
    }

    /// Lets the token that is good now expire.
    pub(crate) fn expire(&mut self) {
        self.tokens += 1;
    }

    fn begin(&mut self) -> Response {
        self.begun += 1;
        let upload = format!("u{}", self.begun);
        self.uploads.insert(upload.clone(), Vec::new());
        let mut headers = vec![("location", format!("/v2/team/expert/blobs/uploads/{upload}?state=0"))];
        if let Some(least) = self.chunks {
            headers.push(("oci-chunk-min-length", least.to_string()));
        }
        with(StatusCode::ACCEPTED.into_response(), &headers)
    }

    fn upload(&mut self, upload: &str, asked: &Asked) -> Response {
        let Some(had) = self.uploads.get_mut(upload) else { return error(404, "BLOB_UPLOAD_UNKNOWN") };
        let place = |had: &[u8]| {
            let location = format!("/v2/team/expert/blobs/uploads/{upload}?state={}", had.len());
            vec![("location", location), ("range", format!("0-{}", had.len().saturating_sub(1)))]
        };
        if asked.body.len() as u64 > self.largest {
            return error(413, "SIZE_INVALID");
        }
        match asked.method {
            Method::GET => with(StatusCode::NO_CONTENT.into_response(), &place(had)),
            Method::PATCH => {
                if self.chunks.is_none() {
                    return error(405, "UNSUPPORTED");
                }
                let start = asked.range.as_deref().and_then(|range| range.split('-').next()?.parse::<usize>().ok());
                if start.is_some_and(|start| start != had.len()) {
                    return with(error(416, "BLOB_UPLOAD_INVALID"), &place(had));
                }
                had.extend_from_slice(&asked.body);
                with(StatusCode::ACCEPTED.into_response(), &place(had))
            }
            Method::PUT => {
                had.extend_from_slice(&asked.body);
                let bytes = self.uploads.remove(upload).unwrap();
                let wanted = asked.query.split('&').find_map(|pair| pair.strip_prefix("digest=")).unwrap();
                if digest(&bytes) != wanted {
                    return error(400, "DIGEST_INVALID");
                }
                self.blobs.insert(wanted.to_owned(), bytes);
                let headers = [("docker-content-digest", wanted.to_owned()), ("location", "/".to_owned())];
                with(StatusCode::CREATED.into_response(), &headers)
            }
            Method::DELETE => {
                self.uploads.remove(upload);
                StatusCode::NO_CONTENT.into_response()
            }
            _ => error(405, "UNSUPPORTED"),
        }
    }

    fn manifest(&mut self, name: &str, asked: &Asked) -> Response {
        let named = self.tags.get(name).cloned().unwrap_or_else(|| name.to_owned());
        match asked.method {
            Method::GET | Method::HEAD => match self.manifests.get(&named) {
                Some((kind, bytes)) => {
                    let headers = [("docker-content-digest", named), ("content-type", kind.clone())];
                    with(bytes.clone().into_response(), &headers)
                }
                None => error(404, "MANIFEST_UNKNOWN"),
            },
            Method::PUT => {
                let body: Value = serde_json::from_slice(&asked.body).unwrap();
                let parts = body["layers"].as_array().into_iter().flatten().chain(body.get("config"));
                for part in parts {
                    if !self.blobs.contains_key(part["digest"].as_str().unwrap()) {
                        return error(404, "MANIFEST_BLOB_UNKNOWN");
                    }
                }
                assert_eq!(body["mediaType"].as_str(), asked.kind.as_deref());
                let digest = digest(&asked.body);
                self.manifests.insert(digest.clone(), (asked.kind.clone().unwrap(), asked.body.to_vec()));
                self.tags.insert(name.to_owned(), digest.clone());
                with(StatusCode::CREATED.into_response(), &[("docker-content-digest", digest)])
            }
            Method::DELETE if !self.deletes => error(405, "UNSUPPORTED"),
            Method::DELETE => match self.tags.remove(name) {
                Some(_) => StatusCode::ACCEPTED.into_response(),
                None => error(404, "MANIFEST_UNKNOWN"),
            },
            _ => error(405, "UNSUPPORTED"),
        }
    }
}
