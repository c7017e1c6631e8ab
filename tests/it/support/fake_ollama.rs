//! The part of an Ollama server that models are put on and asked through, over real HTTP and with the habits that a test
//! asks for. It checks digests, drops files that no model names, and answers as the real one does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};
use sha2::Digest as _;

/// What the server does in place of what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers with this status and error.
    Status(u16, &'static str),
    /// Answers 200, and tells the error among the lines.
    ErrorInside(&'static str),
    /// Answers 200, and ends its lines in the middle.
    CutShort,
    /// Says success and keeps nothing.
    Forgets,
}

/// Says how many tokens a text has.
pub(crate) type Counts = Box<dyn Fn(&str) -> u64 + Send>;

/// What the server has, and how it behaves.
#[derive(Default)]
pub(crate) struct World {
    /// Files by SHA-256.
    pub(crate) blobs: BTreeMap<String, Bytes>,
    /// The folder of its models, where others can put files too.
    pub(crate) store: Option<PathBuf>,
    /// What each model was made of, by name.
    pub(crate) models: BTreeMap<String, Value>,
    /// Faults of the next uploads.
    pub(crate) upload: VecDeque<Fault>,
    /// Faults of the next creations.
    pub(crate) create: VecDeque<Fault>,
    /// Whether it is one of the time before files could be sent.
    pub(crate) is_old: bool,
    /// What it asks models with: the text of a conversation; where there is none, `ChatML`.
    pub(crate) renders: Option<fn(&[Value]) -> String>,
    /// Whether it is one of the time before renders were shown, and how many tokens such a one reads of a text.
    pub(crate) counts: Option<Counts>,
    /// Headers `authorization` that came.
    pub(crate) tokens: Vec<String>,
    log: Vec<String>,
}

impl World {
    /// As the real one: what lies in its folder under the name of a digest is believed to be that.
    fn has(&self, digest: &str) -> bool {
        let name = digest.replace(':', "-");
        let lies_there = |store: &PathBuf| store.join("blobs").join(name).is_file();
        self.blobs.contains_key(digest) || self.store.as_ref().is_some_and(lies_there)
    }
}

/// A running server.
pub(crate) struct FakeOllama {
    pub(crate) address: String,
    world: Arc<Mutex<World>>,
    _runtime: tokio::runtime::Runtime,
}

type Shared = State<Arc<Mutex<World>>>;

impl FakeOllama {
    pub(crate) fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new()
            .route("/api/version", get(version))
            .route("/api/tags", get(tags))
            .route("/api/blobs/{digest}", any(blob))
            .route("/api/create", post(create))
            .route("/api/copy", post(copy))
            .route("/api/delete", axum::routing::delete(delete))
            .route("/api/show", post(show))
            .route("/api/chat", post(chat))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(world.clone());
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, world, _runtime: runtime }
    }

    /// Looks at what the server has, or changes it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }

    /// Takes the requests since the last call that are more than a look.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = self.change(|world| std::mem::take(&mut world.log));
        log.into_iter().filter(|line| !line.starts_with("GET ")).collect()
    }

    /// Returns the names of all models with a letter for each content.
    pub(crate) fn names(&self) -> String {
        self.change(|world| {
            let digests: BTreeSet<String> = world.models.values().map(manifest).collect();
            let letter = |model: &Value| {
                let at = digests.iter().position(|digest| *digest == manifest(model)).unwrap();
                char::from(b'A' + u8::try_from(at).unwrap())
            };
            let mut text = String::new();
            for (name, model) in &world.models {
                writeln!(text, "{name} {}", letter(model)).unwrap();
            }
            text
        })
    }

    /// Returns what a name means.
    pub(crate) fn model(&self, name: &str) -> Option<Value> {
        self.change(|world| world.models.get(name).cloned())
    }

    /// Returns the address of a line to the server that breaks after so many bytes, so many times.
    pub(crate) fn behind_a_line_that_breaks(&self, after: usize, times: usize) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = self.address.trim_start_matches("http://").to_owned();
        std::thread::spawn(move || {
            let mut left = times;
            for client in listener.incoming() {
                let (mut client, mut upstream) = (client.unwrap(), std::net::TcpStream::connect(&server).unwrap());
                let (mut back, mut answers) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut answers, &mut back).ok());
                let mut passed = 0;
                let mut buffer = [0; 4096];
                while let Ok(count) = client.read(&mut buffer) {
                    passed += count;
                    if count == 0 || (passed > after && left > 0) {
                        left -= usize::from(count > 0);
                        // What is not read yet turns the end into a reset.
                        break;
                    }
                    if upstream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                upstream.shutdown(std::net::Shutdown::Both).ok();
                client.shutdown(std::net::Shutdown::Both).ok();
            }
        });
        address
    }
}

fn error(status: u16, text: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(json!({"error": text}))).into_response()
}

fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Returns the digest of a model's manifest.
fn manifest(model: &Value) -> String {
    sha256(model.to_string().as_bytes())
}

fn full(name: &str) -> String {
    if name.rsplit('/').next().unwrap().contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

/// Returns the model that a request is about: newer clients write `model`, older ones and that for JavaScript `name`.
fn named(body: &Value) -> String {
    let name = body["model"].as_str().filter(|name| !name.is_empty()).or(body["name"].as_str());
    full(name.unwrap_or_default())
}

async fn version(State(world): Shared, request: Request) -> Response {
    let mut world = world.lock().unwrap();
    world.log.push("GET version".into());
    world.tokens.extend(request.headers().get("authorization").map(|token| token.to_str().unwrap().to_owned()));
    axum::Json(json!({"version": if world.is_old { "0.1.9" } else { "0.31.0" }})).into_response()
}

async fn tags(State(world): Shared) -> Response {
    let mut world = world.lock().unwrap();
    world.log.push("GET tags".into());
    let models = world.models.iter().map(|(name, model)| {
        json!({
            "name": name, "model": name, "modified_at": "2026-11-26T12:00:00.000000000Z", "size": 1,
            "digest": manifest(model),
            "details": {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
                "parameter_size": "1M", "quantization_level": "Q8_0"},
        })
    });
    axum::Json(json!({"models": models.collect::<Vec<_>>()})).into_response()
}

async fn blob(State(world): Shared, Path(digest): Path<String>, request: Request) -> Response {
    let method = request.method().clone();
    let fault = {
        let mut world = world.lock().unwrap();
        world.log.push(format!("{method} blob"));
        if world.is_old {
            return (StatusCode::NOT_FOUND, "404 page not found").into_response();
        }
        if method == Method::HEAD {
            return if world.has(&digest) { StatusCode::OK } else { StatusCode::NOT_FOUND }.into_response();
        }
        world.upload.pop_front()
    };
    // A failure comes in the middle of it, so that most of what is sent is never read; a refusal comes at its end.
    if let Some(Fault::Status(status @ 500.., text)) = fault {
        return error(status, text);
    }
    let Ok(bytes) = axum::body::to_bytes(request.into_body(), usize::MAX).await else {
        return error(500, "unexpected EOF");
    };
    if let Some(Fault::Status(status, text)) = fault {
        return error(status, text);
    }
    let mut world = world.lock().unwrap();
    if world.has(&digest) {
        return StatusCode::OK.into_response();
    }
    if digest != format!("sha256:{}", sha256(&bytes)) {
        return error(400, "digest mismatch");
    }
    world.blobs.insert(digest, bytes);
    StatusCode::CREATED.into_response()
}

fn lines(lines: &[Value]) -> Response {
    let mut text = String::new();
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    ([("content-type", "application/x-ndjson")], Body::from(text)).into_response()
}

async fn create(State(world): Shared, axum::Json(body): axum::Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let name = named(&body);
    world.log.push(format!("POST create {name}"));
    if world.is_old {
        return error(400, "path or modelfile are required");
    }
    let fault = world.create.pop_front();
    match fault {
        Some(Fault::Status(status, text)) => return error(status, text),
        Some(Fault::ErrorInside(text)) => {
            return lines(&[json!({"status": "parsing GGUF"}), json!({"error": text})]);
        }
        Some(Fault::CutShort) => {
            return lines(&[json!({"status": "parsing GGUF"}), json!({"status": "writing manifest"})]);
        }
        _ => {}
    }
    let files = ["files", "adapters"].iter().filter_map(|key| body[key].as_object());
    for (file, digest) in files.flatten() {
        if !world.has(digest.as_str().unwrap()) {
            return lines(&[json!({"error": format!("invalid digest for {file}")})]);
        }
    }
    if let Some(base) = body["from"].as_str()
        && !world.models.contains_key(&full(base))
    {
        return lines(&[json!({"error": format!("model '{base}' not found")})]);
    }
    if body["files"].is_null() && body["from"].is_null() {
        return error(400, "neither 'from' or 'files' was specified");
    }
    let mut model = body.clone();
    for key in ["model", "name", "stream"] {
        model.as_object_mut().unwrap().remove(key);
    }
    if fault != Some(Fault::Forgets) {
        world.models.insert(name, model);
    }
    let said = [json!({"status": "parsing GGUF"}), json!({"status": "writing manifest"}), json!({"status": "success"})];
    if body["stream"] == json!(false) { axum::Json(json!({"status": "success"})).into_response() } else { lines(&said) }
}

async fn copy(State(world): Shared, axum::Json(body): axum::Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let name = |key: &str| full(body[key].as_str().unwrap_or_default());
    let (source, destination) = (name("source"), name("destination"));
    world.log.push(format!("POST copy {source} {destination}"));
    match world.models.get(&source).cloned() {
        Some(model) => {
            world.models.insert(destination, model);
            StatusCode::OK.into_response()
        }
        None => error(404, &format!("model {source:?} not found")),
    }
}

async fn delete(State(world): Shared, axum::Json(body): axum::Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let name = named(&body);
    world.log.push(format!("DELETE {name}"));
    if world.models.remove(&name).is_none() {
        return error(404, &format!("model '{name}' not found"));
    }
    let named: BTreeSet<String> = world
        .models
        .values()
        .flat_map(|model| ["files", "adapters"].into_iter().filter_map(|key| model[key].as_object()).flatten())
        .map(|(_, digest)| digest.as_str().unwrap().to_owned())
        .collect();
    world.blobs.retain(|digest, _| named.contains(digest));
    StatusCode::OK.into_response()
}

async fn show(State(world): Shared, axum::Json(body): axum::Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    world.log.push("GET show".into());
    let Some(model) = world.models.get(&named(&body)) else {
        return error(404, "model not found");
    };
    let mut parameters = String::new();
    for (name, value) in model["parameters"].as_object().into_iter().flatten() {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for value in values {
            writeln!(parameters, "{name:30} {value}").unwrap();
        }
    }
    axum::Json(json!({
        "modelfile": modelfile(model), "parameters": parameters.trim_end(),
        "template": model["template"].as_str().unwrap_or("{{ .Prompt }}"), "system": model["system"],
        "details": {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
            "parameter_size": "1M", "quantization_level": "Q8_0"},
        "model_info": {"general.architecture": "llama"}, "capabilities": ["completion"],
    }))
    .into_response()
}

/// Names the model's file as the real one does, by where it lies.
fn modelfile(model: &Value) -> String {
    let mut text = "# Modelfile generated by \"ollama show\"\n".to_owned();
    for digest in model["files"].as_object().into_iter().flat_map(|files| files.values()) {
        let name = digest.as_str().unwrap().replace(':', "-");
        writeln!(text, "FROM /root/.ollama/models/blobs/{name}").unwrap();
    }
    text
}

/// `ChatML`, with a system prompt where there is one.
fn chatml(messages: &[Value]) -> String {
    let turn = |message: &Value| {
        let [role, content] = ["role", "content"].map(|key| message[key].as_str().unwrap());
        format!("<|im_start|>{role}\n{content}<|im_end|>\n")
    };
    messages.iter().map(turn).collect::<String>() + "<|im_start|>assistant\n"
}

async fn chat(State(world): Shared, axum::Json(body): axum::Json<Value>) -> Response {
    let mut world = world.lock().unwrap();
    let name = named(&body);
    world.log.push(format!("POST chat {name}"));
    let Some(model) = world.models.get(&name) else {
        return error(404, &format!("model '{name}' not found"));
    };
    let mut messages = body["messages"].as_array().unwrap().clone();
    if messages[0]["role"] != "system" && model["system"].is_string() {
        messages.insert(0, json!({"role": "system", "content": model["system"]}));
    }
    let text = world.renders.unwrap_or(chatml)(&messages);
    let at = "2026-11-26T12:00:00.000000000Z";
    if let Some(counts) = &world.counts {
        // It does not know the field, and answers.
        return axum::Json(json!({
            "model": name, "created_at": at, "message": {"role": "assistant", "content": "a"}, "done": true,
            "done_reason": "length", "prompt_eval_count": counts(&text), "eval_count": 1,
        }))
        .into_response();
    }
    assert_eq!(body["_debug_render_only"], json!(true), "it would load the model and answer");
    axum::Json(json!({
        "model": name, "created_at": at, "message": {"role": "", "content": ""}, "done": false,
        "_debug_info": {"rendered_template": text},
    }))
    .into_response()
}
