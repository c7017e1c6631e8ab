//! The HTTP API of the hub, as far as it is needed to put files there.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Blob;
use super::error::HubError;
use super::settings::Settings;
use crate::net::{Client, NetError, Policy, Request, Response, Secret, Url};
use crate::node::Run;
use crate::node::settings::environment_name;

/// Where the hub is, unless the settings or `HF_ENDPOINT` say otherwise.
pub(super) const ENDPOINT: &str = "https://huggingface.co";

/// A file may be sent for so long, as long as bytes move.
const SENDING: Duration = Duration::from_hours(48);
/// The hub reads a commit of many files before it has a word.
const COMMITTING: Duration = Duration::from_mins(10);
/// Bytes of the hub's word about a commit.
const WORDS: u64 = 1 << 20;
/// Files of one question, as the hub's own client has it.
const FILES: usize = 256;

/// A repository's branch on a hub.
pub(super) struct Hub<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    /// Shows the token, to the hub's origin alone.
    pub(super) client: Client,
    /// Shows none: for the hub's storage, whose addresses are signed.
    pub(super) storage: Client,
    pub(super) endpoint: String,
    pub(super) repo: String,
    pub(super) branch: String,
    /// The variable that has the token.
    variable: String,
}

/// A line of a commit.
pub(super) enum Operation {
    /// A file within the commit.
    Small { path: String, bytes: Vec<u8> },
    /// A file that the storage has.
    Large { path: String, sha256: String, size: u64 },
    /// No file.
    Deleted { path: String },
}

/// How the hub wants a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// Within the commit.
    Regular,
    /// In its storage, before.
    Lfs,
}

/// A file that is to come.
pub(super) struct Announced<'f> {
    pub(super) path: &'f str,
    pub(super) size: u64,
    /// Its first 512 bytes, by which the hub tells text from other files.
    pub(super) sample: Vec<u8>,
}

#[derive(Deserialize)]
struct RepoInfo {
    #[serde(default)]
    private: bool,
}

#[derive(Deserialize)]
struct RevisionInfo {
    sha: String,
}

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<TreeLfs>,
}

#[derive(Deserialize)]
struct TreeLfs {
    #[serde(alias = "sha256")]
    oid: String,
    size: u64,
}

#[derive(Deserialize)]
struct Preuploads {
    files: Vec<Preupload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Preupload {
    path: String,
    upload_mode: Mode,
    #[serde(default)]
    should_ignore: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_oid: String,
}

impl<'a, 'r> Hub<'a, 'r> {
    /// Makes the client of the hub that the settings or `HF_ENDPOINT` name.
    pub(super) fn of(run: &'a Run<'r>, settings: &Settings) -> Result<Self, HubError> {
        let named = settings.endpoint.clone().or_else(|| run.secrets.environment("HF_ENDPOINT"));
        let endpoint = named.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/').to_owned();
        let base = Url::parse(&endpoint)?;
        if endpoint.starts_with("http://") && !base.is_loopback() {
            return Err(HubError::Plain { endpoint });
        }
        let variable = environment_name(&settings.token).unwrap_or_default().to_owned();
        let no_token = || HubError::NoToken { variable: variable.clone(), endpoint: endpoint.clone() };
        let token = run.secrets.environment(&variable).ok_or_else(no_token)?;
        let policy = Policy { attempts: 4, total: SENDING, ..Policy::default() };
        let client = Client::new(policy.clone()).with_token(&base, Secret::new(&token)?);
        let (repo, branch) = (settings.repo.clone(), settings.revision.clone());
        Ok(Self { run, client, storage: Client::new(policy), endpoint, repo, branch, variable })
    }

    pub(super) fn bad_answer(&self, what: impl Into<String>) -> HubError {
        HubError::BadAnswer { endpoint: self.endpoint.clone(), what: what.into() }
    }

    pub(super) fn no_right(&self, why: String) -> HubError {
        let (endpoint, repo, variable) = (self.endpoint.clone(), self.repo.clone(), self.variable.clone());
        HubError::NoRight { endpoint, repo, variable, why }
    }

    pub(super) fn url(&self, path: &str) -> Result<Url, HubError> {
        Ok(Url::parse(&format!("{}{path}", self.endpoint))?)
    }

    fn api(&self, rest: &str) -> Result<Url, HubError> {
        self.url(&format!("/api/models/{}{rest}", self.repo))
    }

    fn branch_part(&self) -> String {
        encoded(&self.branch)
    }

    /// Sends a request, and tells a refusal in words that fit.
    pub(super) fn ask(&self, request: &Request<'_>) -> Result<Response, HubError> {
        self.client.send(request, self.run).map_err(|error| self.told(error))
    }

    fn told(&self, error: NetError) -> HubError {
        let NetError::Refused { status: status @ 401..=404, excerpt, .. } = error else {
            return error.into();
        };
        let (endpoint, repo, variable) = (self.endpoint.clone(), self.repo.clone(), &self.variable);
        let owner = repo.split('/').next().unwrap_or_default();
        let help = match status {
            401 => format!("the token in `{variable}` is wrong or expired: make a new one with the right to write"),
            402 => format!("`{owner}` has no room left: look at its billing on the hub"),
            403 => format!(
                "give the token in `{variable}` the right to write to `{repo}` or to all of `{owner}`; where the \
                 repository asks to accept a licence, its owner must let you in"
            ),
            _ => format!("check the name, and whether the token in `{variable}` may see it"),
        };
        HubError::Refused { endpoint, repo, status, what: excerpt, help }
    }

    /// Returns whether the repository is private; nothing where there is none.
    pub(super) fn is_private(&self) -> Result<Option<bool>, HubError> {
        let response = self.ask(&Request::get(self.api("")?).json().takes(&[404]))?;
        if response.status == 404 {
            return Ok(None);
        }
        Ok(Some(response.json::<RepoInfo>()?.private))
    }

    /// Makes the repository; one that is there already is none of its business.
    pub(super) fn create(&self, private: Option<bool>) -> Result<(), HubError> {
        let (owner, name) = self.repo.split_once('/').unwrap_or(("", &self.repo));
        let mut body = json!({"name": name, "organization": owner, "type": "model"});
        if let Some(private) = private {
            body["private"] = json!(private);
            body["visibility"] = json!(if private { "private" } else { "public" });
        }
        let url = self.url("/api/repos/create")?;
        self.ask(&Request::post_json(url, &body).takes(&[409]))?;
        Ok(())
    }

    /// Returns the branch's newest commit; nothing where there is no such branch.
    pub(super) fn head(&self) -> Result<Option<String>, HubError> {
        let url = self.api(&format!("/revision/{}", self.branch_part()))?;
        let response = self.ask(&Request::get(url).json().takes(&[404]))?;
        if response.status == 404 {
            return Ok(None);
        }
        let sha = response.json::<RevisionInfo>()?.sha;
        if is_commit(&sha) { Ok(Some(sha)) } else { Err(self.bad_answer("it names no commit")) }
    }

    /// Makes the branch, from the newest commit of `main`.
    pub(super) fn create_branch(&self) -> Result<(), HubError> {
        let url = self.api(&format!("/branch/{}", self.branch_part()))?;
        self.ask(&Request::post_json(url, &json!({})).takes(&[409]))?;
        Ok(())
    }

    /// Returns all files at a commit.
    pub(super) fn tree(&self, commit: &str) -> Result<BTreeMap<String, Blob>, HubError> {
        let url = self.api(&format!("/tree/{commit}?recursive=true&expand=false"))?;
        let mut files = BTreeMap::new();
        for page in self.client.pages(Request::get(url).json(), self.run) {
            let entries: Vec<TreeEntry> = page.map_err(|error| self.told(error))?.json()?;
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                let blob = match entry.lfs {
                    Some(lfs) => Blob::Large { sha256: lfs.oid, size: lfs.size },
                    None => Blob::Git { oid: entry.oid, size: entry.size },
                };
                files.insert(entry.path, blob);
            }
        }
        Ok(files)
    }

    /// Returns how the hub wants each file.
    pub(super) fn modes(&self, files: &[Announced<'_>]) -> Result<BTreeMap<String, Mode>, HubError> {
        let url = self.api(&format!("/preupload/{}", self.branch_part()))?;
        let mut modes = BTreeMap::new();
        for files in files.chunks(FILES) {
            let announced = files
                .iter()
                .map(|file| json!({"path": file.path, "size": file.size, "sample": BASE64.encode(&file.sample)}));
            let body = json!({"files": announced.collect::<Vec<_>>()});
            let answer: Preuploads = self.ask(&Request::post_json(url.clone(), &body).json())?.json()?;
            for file in answer.files {
                if file.should_ignore {
                    return Err(HubError::Ignored { repo: self.repo.clone(), path: file.path });
                }
                modes.insert(file.path, file.upload_mode);
            }
        }
        for file in files {
            let mode = modes.get_mut(file.path).ok_or_else(|| self.bad_answer("it leaves out a file"))?;
            // The storage takes no empty files.
            if file.size == 0 {
                *mode = Mode::Regular;
            }
        }
        Ok(modes)
    }

    /// Makes a commit on top of `parent` and of nothing else, and returns it.
    pub(super) fn commit(&self, parent: &str, message: &str, operations: &[Operation]) -> Result<String, HubError> {
        let mut lines = Vec::new();
        let header = json!({"key": "header", "value": {"summary": message, "description": "", "parentCommit": parent}});
        for line in std::iter::once(header).chain(operations.iter().map(Operation::line)) {
            serde_json::to_writer(&mut lines, &line).map_err(std::io::Error::from)?;
            lines.push(b'\n');
        }
        let url = self.api(&format!("/commit/{}", self.branch_part()))?;
        let request = Request::post(url).with_bytes(lines, "application/x-ndjson").json().bounded(WORDS, COMMITTING);
        let committed: Committed = self.ask(&request)?.json()?;
        let oid = committed.commit_oid;
        if is_commit(&oid) { Ok(oid) } else { Err(self.bad_answer("it names no commit")) }
    }

    /// Returns the bytes of a file within git at a commit.
    pub(super) fn small_file(&self, commit: &str, path: &str) -> Result<Vec<u8>, HubError> {
        let path = path.split('/').map(encoded).collect::<Vec<_>>().join("/");
        let url = self.url(&format!("/{}/resolve/{commit}/{path}", self.repo))?;
        Ok(self.ask(&Request::get(url))?.body)
    }

    /// Returns where a commit can be looked at.
    pub(super) fn page(&self, commit: &str) -> String {
        format!("{}/{}/tree/{commit}", self.endpoint, self.repo)
    }
}

impl Operation {
    fn line(&self) -> Value {
        match self {
            Self::Small { path, bytes } => json!({
                "key": "file",
                "value": {"path": path, "content": BASE64.encode(bytes), "encoding": "base64"},
            }),
            Self::Large { path, sha256, size } => json!({
                "key": "lfsFile",
                "value": {"path": path, "algo": "sha256", "oid": sha256, "size": size},
            }),
            Self::Deleted { path } => json!({"key": "deletedFile", "value": {"path": path}}),
        }
    }
}

/// Reads what a hub says of a repository, for the fuzz target.
pub(super) fn read_answers(bytes: &[u8]) {
    drop(serde_json::from_slice::<RepoInfo>(bytes));
    drop(serde_json::from_slice::<RevisionInfo>(bytes));
    drop(serde_json::from_slice::<Vec<TreeEntry>>(bytes));
    drop(serde_json::from_slice::<Preuploads>(bytes));
    drop(serde_json::from_slice::<Committed>(bytes));
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What stands in a path as it is: letters, digits, and these.
const IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encoded(part: &str) -> String {
    utf8_percent_encode(part, IN_PATHS).to_string()
}
