//! Hugging Face's hub: from a repository's name to its files at one commit.
//!
//! The hub says for every file how many bytes it has and what they are: a SHA-256 of large ones, git's own digest of the
//! rest. Files that the hub's own tools fetched before are taken from their cache, by the same digests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::base::FOLDER_FILES;
use super::error::ModelError;
use super::fetch::{Remote, client, fetch, net_error};
use super::origin::HubName;
use super::verify::Pin;
use crate::net::{Client, NetError, Request, Url};
use crate::node::{NodeError, Run};

/// Where the hub is, unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";

/// What names the files of a model whose weights are in several.
const INDEX: &str = "model.safetensors.index.json";

/// A repository at one commit.
#[derive(Debug)]
pub(super) struct Snapshot {
    name: HubName,
    endpoint: String,
    client: Client,
    /// The commit.
    pub(super) commit: String,
    files: Vec<HubFile>,
    /// Where the hub's own tools keep what they fetched of this repository.
    cache: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
struct HubFile {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Clone, Debug, Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

#[derive(Deserialize)]
struct ModelInfo {
    sha: String,
    siblings: Vec<HubFile>,
}

#[derive(Deserialize)]
struct IndexJson {
    weight_map: BTreeMap<String, String>,
}

impl HubFile {
    fn pin(&self) -> Option<Pin> {
        match (&self.lfs, &self.blob_id) {
            (Some(lfs), _) => format!("sha256:{}", lfs.sha256).parse().ok(),
            (None, Some(blob)) => Pin::git_blob(blob),
            (None, None) => None,
        }
    }

    fn bytes(&self) -> Option<u64> {
        self.lfs.as_ref().map(|lfs| lfs.size).or(self.size)
    }
}

impl Snapshot {
    /// Asks the hub which files the repository has at its revision.
    ///
    /// # Errors
    /// [`ModelError::HubRefused`] for a repository that is not there, is private, or asks for a licence's acceptance.
    pub(super) fn open(run: &Run<'_>, name: &HubName) -> Result<Self, NodeError> {
        let environment = |variable: &str| run.secrets.environment(variable);
        let endpoint = environment("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let base = Url::parse(&endpoint).map_err(net_error)?;
        let token = environment("HF_TOKEN");
        let has_token = token.is_some();
        let client = client(&base, token)?;
        let revision = name.revision.as_deref().unwrap_or("main").replace('/', "%2F");
        let url = format!("{endpoint}/api/models/{}/revision/{revision}?blobs=true", name.repository);
        let request = Request::get(Url::parse(&url).map_err(net_error)?).json();
        let info: ModelInfo = client.send(&request, run).and_then(|response| response.json()).map_err(|error| {
            let NetError::Refused { status: status @ (401 | 403 | 404), .. } = error else { return net_error(error) };
            ModelError::HubRefused { name: name.to_string(), status, help: refusal(name, status, has_token) }.into()
        })?;
        let is_commit = info.sha.len() == 40 && info.sha.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_commit || info.siblings.iter().any(|file| !is_plain_path(&file.rfilename)) {
            return Err(
                ModelError::BadHub { name: name.to_string(), what: "it names no commit or a strange path" }.into()
            );
        }
        let cache = cache(environment).map(|cache| {
            let folder = format!("models--{}", name.repository.replace('/', "--"));
            cache.join(folder).join("blobs")
        });
        Ok(Self { name: name.clone(), endpoint, client, commit: info.sha, files: info.siblings, cache })
    }

    /// Returns what was asked for.
    pub(super) fn name(&self) -> &HubName {
        &self.name
    }

    /// Fetches the files of a model's folder: what configures it, its tokenizer, and the weights that count. Files of the
    /// same content may be one file.
    ///
    /// # Errors
    /// Those of the network; [`ModelError::IncompleteFolder`] for a repository without safetensors.
    pub(super) fn folder(&self, run: &Run<'_>) -> Result<BTreeMap<String, PathBuf>, NodeError> {
        let top = |name: &str| self.files.iter().find(|file| file.rfilename == name);
        let is_weights = |file: &HubFile| file.rfilename.ends_with(".safetensors");
        let mut found = BTreeMap::new();
        let mut wanted: Vec<&HubFile> = self.files.iter().filter(|file| is_of_folder(&file.rfilename)).collect();
        if top("model.safetensors").is_some() {
            wanted.retain(|file| !is_weights(file) || file.rfilename == "model.safetensors");
        } else if let Some(index) = top(INDEX) {
            let path = self.file(run, index, (0, None))?;
            let bad = |cause| ModelError::BadJson { base: self.name.to_string(), file: INDEX.into(), cause };
            let map: IndexJson = serde_json::from_slice(&fs_err::read(&path).map_err(ModelError::Io)?).map_err(bad)?;
            wanted.retain(|file| !is_weights(file) || map.weight_map.values().any(|name| *name == file.rfilename));
            if let Some(absent) = map.weight_map.values().find(|name| top(name).is_none()) {
                let what = format!("its index names `{absent}`, which is not there");
                return Err(ModelError::IncompleteRepository { name: self.name.to_string(), what }.into());
            }
            found.insert(INDEX.to_owned(), path);
        }
        if !wanted.iter().any(|file| is_weights(file)) {
            let what = match self.files.iter().find(|file| file.rfilename.ends_with(".gguf")) {
                Some(gguf) => format!("it has GGUFs: set `member` to one of them, such as `{}`", gguf.rfilename),
                None => "it has no `*.safetensors`".to_owned(),
            };
            return Err(ModelError::IncompleteRepository { name: self.name.to_string(), what }.into());
        }
        wanted.retain(|file| !found.contains_key(&file.rfilename));
        let total: Option<u64> = wanted.iter().map(|file| file.bytes()).sum();
        let mut done = 0;
        for file in wanted {
            let path = self.file(run, file, (done, total))?;
            found.insert(file.rfilename.clone(), path);
            done += file.bytes().unwrap_or(0);
        }
        Ok(found)
    }

    /// Fetches the one file that `member` matches.
    ///
    /// # Errors
    /// [`ModelError::AmbiguousMember`]; those of the network.
    pub(super) fn member(&self, run: &Run<'_>, member: &str) -> Result<PathBuf, NodeError> {
        let bad =
            |error: globset::Error| ModelError::BadMember { member: member.into(), what: error.kind().to_string() };
        let glob = GlobBuilder::new(member).build().map_err(bad)?.compile_matcher();
        let found: Vec<&HubFile> = self.files.iter().filter(|file| glob.is_match(&file.rfilename)).collect();
        let [file] = found[..] else {
            let names: Vec<&str> = found.iter().map(|file| file.rfilename.as_str()).collect();
            let (package, member, count) = (self.name.to_string(), member.to_owned(), names.len());
            return Err(ModelError::AmbiguousMember { package, member, count, names: names.join(", ") }.into());
        };
        self.file(run, file, (0, file.bytes()))
    }

    /// Returns a file of the repository, from the hub's local cache or fetched, in a place of the run's own.
    fn file(&self, run: &Run<'_>, file: &HubFile, of_all: (u64, Option<u64>)) -> Result<PathBuf, NodeError> {
        run.check_cancelled()?;
        let pin = file.pin();
        if let Some(kept) = self.cached(run, pin.as_ref(), file).map_err(ModelError::Io)? {
            return Ok(kept);
        }
        let path = file.rfilename.split('/').map(encoded).collect::<Vec<_>>().join("/");
        let url = format!("{}/{}/resolve/{}/{path}", self.endpoint, self.name.repository, self.commit);
        let url = Url::parse(&url).map_err(net_error)?;
        let name = format!("{} of {}", file.rfilename, self.name.repository);
        fetch(run, &self.client, &Remote { url, name, size: file.bytes(), pin, of_all })
    }

    /// Copies a file out of the hub's local cache, if it is there and whole.
    fn cached(&self, run: &Run<'_>, pin: Option<&Pin>, file: &HubFile) -> std::io::Result<Option<PathBuf>> {
        let (Some(cache), Some(pin)) = (&self.cache, pin) else { return Ok(None) };
        let blob = cache.join(pin.digits());
        if file.bytes().is_some_and(|size| blob.metadata().is_ok_and(|found| found.is_file() && found.len() == size))
            && pin.found(&blob)? == *pin
        {
            let copy = run.scratch().join(pin.digits());
            if !copy.exists() {
                reflink_copy::reflink_or_copy(&blob, &copy)?;
            }
            return Ok(Some(copy));
        }
        Ok(None)
    }
}

/// Reads what a hub says of a repository's files, for the fuzz target.
pub(super) fn read_answers(bytes: &[u8]) {
    drop(serde_json::from_slice::<IndexJson>(bytes));
    let Ok(info) = serde_json::from_slice::<ModelInfo>(bytes) else { return };
    for file in &info.siblings {
        drop((file.pin(), file.bytes()));
        assert!(!is_plain_path(&file.rfilename) || !file.rfilename.starts_with('/'));
    }
}

/// Returns the folder where the hub's own tools keep what they fetched.
fn cache(environment: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let in_home = || environment("HOME").map(|home| Path::new(&home).join(".cache/huggingface"));
    let home = || environment("HF_HOME").map(PathBuf::from).or_else(in_home).map(|home| home.join("hub"));
    environment("HF_HUB_CACHE").map(PathBuf::from).or_else(home)
}

/// Returns what to do about a refusal.
fn refusal(name: &HubName, status: u16, has_token: bool) -> String {
    let page = format!("{ENDPOINT}/{}", name.repository);
    match (status, has_token) {
        // The hub does not tell strangers whether a private repository exists.
        (401, false) => format!(
            "check the name; where {page} asks to log in or to accept a licence, do so and set HF_TOKEN to a token of \
             yours"
        ),
        (401, true) => "HF_TOKEN is wrong or expired: make a new token in the settings of your account".into(),
        (403, _) => format!("open {page} and accept its licence with the account that HF_TOKEN belongs to"),
        _ => format!("check name and revision at {page}"),
    }
}

/// Returns whether a file belongs to a model's folder: those at the top that a folder is read with.
fn is_of_folder(name: &str) -> bool {
    let glob = |end: &&str| name.ends_with(end.trim_start_matches('*'));
    !name.contains('/') && FOLDER_FILES.iter().any(glob)
}

/// A relative path that stays below its folder.
fn is_plain_path(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\\')
}

/// What stands in a path as it is: letters, digits, and these.
const IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encoded(part: &str) -> String {
    utf8_percent_encode(part, IN_PATHS).to_string()
}
