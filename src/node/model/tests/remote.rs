//! Base models from a hub, a registry and an address, which break off, lie and refuse.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::*;
use crate::net::testing::breaking;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_verysecret";

/// What a server does with a request for a path that it has.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    /// Gives it.
    Honest,
    /// Breaks off in the middle of a file's first 2,000 bytes, once for each start.
    BreaksOff,
    /// Changes a byte of a large file that is no JSON.
    Lies,
}

type Asked = Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>;

/// A server of files by path; large ones are redirected to another host's name.
struct Server {
    address: String,
    asked: Asked,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Served {
    files: Arc<BTreeMap<String, Vec<u8>>>,
    habit: Habit,
    asked: Asked,
    /// Only who has the token is answered.
    is_gated: bool,
}

impl Server {
    fn start(files: &[(&str, &[u8])], habit: Habit, is_gated: bool) -> Self {
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        let asked = Asked::default();
        let served = Served { files: Arc::new(files), habit, asked: asked.clone(), is_gated };
        let app = axum::Router::new()
            .fallback(|State(served): State<Served>, request: Request| async move { served.answer(&request) })
            .with_state(served);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, asked, _runtime: runtime }
    }

    /// Returns the requests whose path has `part` in it: path and headers.
    fn asked(&self, part: &str) -> Vec<(String, BTreeMap<String, String>)> {
        self.asked.lock().unwrap().iter().filter(|(path, _)| path.contains(part)).cloned().collect()
    }
}

impl Served {
    fn answer(&self, request: &Request) -> Response {
        let headers =
            request.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let headers: BTreeMap<String, String> = headers.collect();
        let path = request.uri().path().to_owned();
        self.asked.lock().unwrap().push((request.uri().to_string(), headers.clone()));
        let builder = Response::builder();
        let has_token = headers.get("authorization").is_some_and(|value| value.ends_with(TOKEN));
        let from_store = path.starts_with("/store/");
        if self.is_gated && !has_token && !from_store {
            return builder.status(401).body(Body::from(r#"{"error": "gated"}"#)).unwrap();
        }
        let Some(content) = self.files.get(path.trim_start_matches("/store")) else {
            return builder.status(404).body(Body::from("not here")).unwrap();
        };
        if path.contains("/resolve/") && !from_store {
            // As the hub does: the bytes are another host's, where the token must not go.
            let port = headers["host"].rsplit(':').next().unwrap();
            let location = format!("http://localhost:{port}/store{path}");
            return builder.status(302).header("location", location).body(Body::empty()).unwrap();
        }
        assert!(!(from_store && headers.contains_key("authorization")), "the token went to another host");
        self.bytes(&headers, content.clone())
    }

    fn bytes(&self, headers: &BTreeMap<String, String>, mut content: Vec<u8>) -> Response {
        if self.habit == Habit::Lies && content.len() > 1_000 && !content.starts_with(b"{") {
            content[999] ^= 1;
        }
        let start: usize = headers
            .get("range")
            .map_or(0, |range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
        let rest = content[start..].to_vec();
        let builder = Response::builder().status(if start > 0 { 206 } else { 200 });
        let builder = match start {
            0 => builder,
            _ => builder.header("content-range", format!("bytes {start}-{}/{}", content.len() - 1, content.len())),
        };
        if self.habit == Habit::BreaksOff && rest.len() > 2_000 {
            let body = breaking(rest[..2_000].to_vec());
            return builder.header("content-length", rest.len()).body(body).unwrap();
        }
        builder.body(Body::from(rest)).unwrap()
    }
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn git_blob(bytes: &[u8]) -> String {
    format!("{:x}", Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

/// A safetensors file of one tensor of so many bytes.
fn weights(name: &str, bytes: usize) -> Vec<u8> {
    let header = format!(r#"{{"{name}":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend((0..bytes).map(|at| (at % 251) as u8));
    file
}

/// A repository: its files below their paths on the hub, and what the hub says of them.
fn repository(files: &[(&str, Vec<u8>)], revision: &str) -> Vec<(String, Vec<u8>)> {
    let siblings: Vec<Value> = files
        .iter()
        .map(|(name, content)| {
            let large = name.ends_with(".safetensors") || name.ends_with(".gguf");
            let lfs = large.then(|| json!({"sha256": sha256(content), "size": content.len(), "pointerSize": 130}));
            json!({"rfilename": name, "size": content.len(), "blobId": git_blob(content), "lfs": lfs})
        })
        .collect();
    let info = json!({"id": "me/tiny", "sha": COMMIT, "siblings": siblings}).to_string().into_bytes();
    let served = files.iter().map(|(name, content)| (format!("/me/tiny/resolve/{COMMIT}/{name}"), content.clone()));
    served.chain([(format!("/api/models/me/tiny/revision/{revision}"), info)]).collect()
}

fn shards() -> Vec<(&'static str, Vec<u8>)> {
    let index = json!({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}});
    vec![
        (".gitattributes", b"x".to_vec()),
        ("README.md", b"# Tiny".to_vec()),
        ("config.json", br#"{"model_type":"llama","max_position_embeddings":128}"#.to_vec()),
        ("consolidated.safetensors", weights("c", 5_000)),
        ("model-1.safetensors", weights("a", 9_000)),
        ("model-2.safetensors", weights("b", 7_000)),
        ("model.safetensors.index.json", index.to_string().into_bytes()),
        ("original/params.json", b"{}".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("tokenizer_config.json", b"{}".to_vec()),
    ]
}

fn hub(files: &[(&str, Vec<u8>)], revision: &str, habit: Habit, is_gated: bool) -> (Server, Bench) {
    let files = repository(files, revision);
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    let server = Server::start(&files, habit, is_gated);
    let mut bench = Bench::new();
    bench.environment.insert("HF_ENDPOINT", format!("http://{}/", server.address));
    (server, bench)
}

#[test]
fn a_sharded_repository_comes_whole_over_a_connection_that_breaks_and_keeps_the_token_to_itself() {
    let (server, mut bench) = hub(&shards(), "main", Habit::BreaksOff, true);
    bench.environment.insert("HF_TOKEN", TOKEN.to_owned());
    let outcome = build(&bench, &json!({"base": "hf:me/tiny"}), &[]).unwrap();
    let Artifact::Folder { files } = &outcome.outputs["weights"] else { panic!("no folder") };
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = [
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names, expected, "neither other forms of the weights nor what no model needs");
    for (name, content) in shards().iter().filter(|(name, _)| files.contains_key(*name)) {
        assert_eq!(files[*name].digest, Digest::of(content), "{name}");
    }
    let asked = server.asked("/store/me/tiny/resolve/0123456789abcdef0123456789abcdef01234567/model-1.safetensors");
    assert_eq!(asked.len(), 5, "9,000 bytes in parts of 2,000: {asked:?}");
    assert!(asked[1].1["range"].starts_with("bytes=2000-"));
    let notes = bench.events.notes();
    assert!(notes[0].contains(&format!("`hf:me/tiny@{COMMIT}`")), "{notes:?}");
}

#[test]
fn a_commit_is_fixed_and_a_branch_is_pinned_in_the_lock() {
    let pinned = |settings: Value| Base.is_pinned(&Base.canonical(&settings).unwrap());
    assert!(pinned(json!({"base": "hf:me/tiny"})) && pinned(json!({"base": "hf:me/tiny@v1"})));
    assert!(!pinned(json!({"base": format!("hf:me/tiny@{COMMIT}")})));
    assert!(pinned(json!({"base": "ollama:tiny:1b"})));
    let digest = format!("sha256:{}", "0".repeat(64));
    assert!(!pinned(json!({"base": "ollama:tiny:1b", "digest": digest})));
    assert!(!pinned(json!({"base": "gguf:a.gguf"})));
}

#[test]
fn what_the_hubs_own_tools_fetched_is_not_fetched_again() {
    let (server, mut bench) = hub(&shards(), COMMIT, Habit::Honest, false);
    let cache = bench.folder().join("hub");
    let blobs = cache.join("models--me--tiny/blobs");
    fs_err::create_dir_all(&blobs).unwrap();
    for (name, content) in shards() {
        let digest = if name.ends_with(".safetensors") { sha256(&content) } else { git_blob(&content) };
        // One of them was damaged since.
        let content = if name == "model-2.safetensors" { vec![0; content.len()] } else { content };
        fs_err::write(blobs.join(digest), content).unwrap();
    }
    bench.environment.insert("HF_HUB_CACHE", cache.to_string_lossy().into_owned());
    let outcome = build(&bench, &json!({"base": format!("hf:me/tiny@{COMMIT}")}), &[]).unwrap();
    let Artifact::Folder { files } = &outcome.outputs["weights"] else { panic!("no folder") };
    assert_eq!(files["model-2.safetensors"].digest, Digest::of(&shards()[5].1));
    let asked: Vec<String> = server.asked("/store/").into_iter().map(|(path, _)| path).collect();
    assert!(matches!(&asked[..], [one] if one.ends_with("model-2.safetensors")), "{asked:?}");
}

#[test]
fn one_gguf_of_a_repository_is_chosen_by_member() {
    let folder = tempfile::tempdir().unwrap();
    write_gguf(&folder.path().join("a.gguf"), "model");
    let gguf = fs_err::read(folder.path().join("a.gguf")).unwrap();
    let files = [("tiny-Q8_0.gguf", gguf.clone()), ("tiny-F16.gguf", gguf.clone()), ("README.md", b"x".to_vec())];
    let (_server, bench) = hub(&files, "main", Habit::Honest, false);
    let error = build(&bench, &json!({"base": "hf:me/tiny"}), &[]).unwrap_err();
    assert!(error.message.contains("set `member` to one of them, such as `tiny-Q8_0.gguf`"), "{error}");
    let error = build(&bench, &json!({"base": "hf:me/tiny", "member": "*.gguf"}), &[]).unwrap_err();
    assert!(error.message.contains("2 files of `me/tiny` match `*.gguf`"), "{error}");
    let outcome = build(&bench, &json!({"base": "hf:me/tiny", "member": "*Q8_0.gguf"}), &[]).unwrap();
    assert_eq!(outcome.outputs["weights"].digest(), Digest::of(&gguf));
}

#[test]
fn refusals_of_the_hub_say_what_to_do() {
    let refused = |files: &[(&str, Vec<u8>)], token: Option<&str>, base: &str, is_gated| {
        let (_server, mut bench) = hub(files, "main", Habit::Honest, is_gated);
        bench.environment.extend(token.map(|token| ("HF_TOKEN", token.to_owned())));
        let error = build(&bench, &json!({"base": base}), &[]).unwrap_err();
        format!("{}: {}", error.message, error.help.unwrap_or_default())
    };
    let stranger = refused(&shards(), None, "hf:me/tiny", true);
    assert!(stranger.starts_with("Hugging Face answers 401 for `me/tiny`: check the name"), "{stranger}");
    assert!(stranger.contains("set HF_TOKEN"), "{stranger}");
    let expired = refused(&shards(), Some("hf_old"), "hf:me/tiny", true);
    assert!(expired.contains("HF_TOKEN is wrong or expired") && !expired.contains("hf_old"), "{expired}");
    assert!(refused(&shards(), None, "hf:me/tiny@v2", false).contains("404 for `me/tiny@v2`"));
    let missing: Vec<_> = shards().into_iter().filter(|(name, _)| *name != "model-2.safetensors").collect();
    let missing = refused(&missing, None, "hf:me/tiny", false);
    assert!(missing.contains("its index names `model-2.safetensors`, which is not there"), "{missing}");
    assert!(refused(&shards()[..3], None, "hf:me/tiny", false).contains("it has no `*.safetensors`"));
    let hostile = [("../../etc/passwd", b"x".to_vec())];
    assert!(refused(&hostile, None, "hf:me/tiny", false).contains("a strange path"));
}

#[test]
fn bytes_that_are_not_those_announced_are_refused_and_nothing_of_them_is_kept() {
    let (server, bench) = hub(&shards(), "main", Habit::Lies, false);
    let error = build(&bench, &json!({"base": "hf:me/tiny"}), &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("model::other_content"));
    let left = fs_err::read_dir(bench.store.root().join("scratch/fetched")).unwrap();
    let left: Vec<Vec<u8>> = left.map(|entry| fs_err::read(entry.unwrap().path()).unwrap()).collect();
    assert!(left.iter().all(|bytes| shards().iter().any(|(_, content)| content == bytes)));
    assert_eq!(server.asked("/store/me/tiny/resolve/0123456789abcdef0123456789abcdef01234567/model-1").len(), 1);
}

/// A registry with one model, and the model's bytes.
fn registry(habit: Habit) -> (Server, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    write_gguf(&folder.path().join("a.gguf"), "model");
    let mut gguf = fs_err::read(folder.path().join("a.gguf")).unwrap();
    gguf.resize(7_000, 7);
    let digest = format!("sha256:{}", sha256(&gguf));
    let manifest = json!({"schemaVersion": 2, "layers": [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:00", "size": 1},
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": gguf.len()},
    ]});
    let blob = format!("/v2/library/tiny/blobs/{digest}");
    let manifest = manifest.to_string().into_bytes();
    let files = [("/v2/library/tiny/manifests/1b", &manifest[..]), (&blob, &gguf)];
    (Server::start(&files, habit, false), gguf)
}

#[test]
fn a_model_that_ollama_does_not_have_here_comes_from_its_registry() {
    let (server, gguf) = registry(Habit::BreaksOff);
    let bench = Bench::new();
    let settings = |tag: &str| json!({"base": format!("ollama:{}/library/tiny:{tag}", server.address)});
    let outcome = build(&bench, &settings("1b"), &[]).unwrap();
    assert_eq!(outcome.outputs["weights"].digest(), Digest::of(&gguf));
    assert_eq!(server.asked("/blobs/").len(), 4, "7,000 bytes in parts of 2,000");
    let error = build(&bench, &settings("2b"), &[]).unwrap_err();
    assert!(error.message.contains("answers 404 for the model"), "{error}");
    let (liar, _) = registry(Habit::Lies);
    let error = build(&bench, &json!({"base": format!("ollama:{}/library/tiny:1b", liar.address)}), &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("model::other_content"));
}

#[test]
fn a_model_that_ollama_has_here_asks_no_registry() {
    let (server, gguf) = registry(Habit::Honest);
    let mut bench = Bench::new();
    let models = bench.folder().join("ollama");
    let manifests = models.join("manifests").join(&server.address).join("library/tiny");
    fs_err::create_dir_all(&manifests).unwrap();
    fs_err::create_dir_all(models.join("blobs")).unwrap();
    let digits = sha256(&gguf);
    let layer = json!({"mediaType": "application/vnd.ollama.image.model", "digest": format!("sha256:{digits}")});
    fs_err::write(manifests.join("1b"), json!({"layers": [layer]}).to_string()).unwrap();
    fs_err::write(models.join(format!("blobs/sha256-{digits}")), &gguf).unwrap();
    bench.environment.insert("OLLAMA_MODELS", models.to_string_lossy().into_owned());
    let settings = json!({"base": format!("ollama:{}/library/tiny:1b", server.address)});
    assert_eq!(build(&bench, &settings, &[]).unwrap().outputs["weights"].digest(), Digest::of(&gguf));
    assert!(server.asked("").is_empty());
}

#[test]
fn a_gguf_at_an_address_needs_its_digest_and_goes_on_where_an_earlier_build_stopped() {
    let (server, gguf) = registry(Habit::BreaksOff);
    let bench = Bench::new();
    let digest = format!("sha256:{}", sha256(&gguf));
    let base = format!("http://{}/v2/library/tiny/blobs/{digest}", server.address);
    let problems = Base.canonical(&json!({"base": base})).unwrap_err();
    assert!(problems[0].message.contains("needs `digest"), "{problems:?}");
    let fetched = bench.store.root().join("scratch/fetched");
    fs_err::create_dir_all(&fetched).unwrap();
    let part = fetched.join(Digest::of(digest.as_bytes()).to_string());
    fs_err::write(&part, &gguf[..6_500]).unwrap();
    let settings = json!({"base": base, "digest": digest});
    assert_eq!(build(&bench, &settings, &[]).unwrap().outputs["weights"].digest(), Digest::of(&gguf));
    assert_eq!(server.asked("/blobs/")[0].1["range"], "bytes=6500-");
    // What lies there is of something else: once more, from the start.
    fs_err::write(&part, [0; 6_500]).unwrap();
    assert_eq!(build(&bench, &settings, &[]).unwrap().outputs["weights"].digest(), Digest::of(&gguf));
    let other = json!({"base": base, "digest": format!("sha256:{}", "0".repeat(64))});
    let error = build(&bench, &other, &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("model::other_content"));
}
