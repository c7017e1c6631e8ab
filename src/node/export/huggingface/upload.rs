//! Files into the hub's storage, by Git LFS: whole, or in the parts that the hub asks for.
//!
//! A file that the storage has is not sent again. Of one in parts, each part that arrived is noted with the addresses that
//! the hub signed, so that the next run goes on where this one stopped, as long as those addresses hold.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::{HubError, failure};
use super::hub::{ENDPOINT, Hub};
use crate::net::{NetError, Request, Response, Url};
use crate::node::NodeError;
use crate::node::export::files::NamedFile;
use crate::node::export::sending::Sending;

/// How Git LFS names its JSON.
const LFS_JSON: &str = "application/vnd.git-lfs+json";
/// Files of one question, as the hub's own client has it.
const FILES: usize = 256;
/// The storage puts parts together before it has a word.
const JOINING: Duration = Duration::from_mins(30);
/// Bytes of the storage's words.
const WORDS: u64 = 1 << 20;
/// More parts than storages take, so that no answer makes us count for ever.
const PARTS: u64 = 10_000;

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    actions: Option<Actions>,
    error: Option<ObjectError>,
}

#[derive(Deserialize)]
struct ObjectError {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

/// An upload in parts that was begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Begun {
    /// Where it is said that all parts are there.
    join: String,
    /// Bytes of each part but the last.
    part: u64,
    /// Where each part goes.
    parts: Vec<String>,
    /// The storage's names of the parts that arrived, by number from 0.
    arrived: BTreeMap<u64, String>,
    verify: Option<String>,
}

impl Hub<'_, '_> {
    /// Sends the files that the storage has not, and returns how many those were.
    pub(super) fn send(&self, files: &[&NamedFile]) -> Result<u64, NodeError> {
        let mut sent = 0;
        for files in files.chunks(FILES) {
            for (file, object) in files.iter().zip(self.batch(files).map_err(failure)?) {
                let Some(Actions { upload: Some(upload), verify }) = object.actions else { continue };
                self.send_one(file, upload, verify.map(|verify| verify.href))?;
                self.run.note(format!("sent `{}`", file.name));
                sent += 1;
            }
        }
        Ok(sent)
    }

    /// Asks what is to be done for each file, in their order.
    fn batch(&self, files: &[&NamedFile]) -> Result<Vec<Object>, HubError> {
        let objects = files.iter().map(|file| json!({"oid": file.sha256, "size": file.size}));
        let body = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "hash_algo": "sha256",
            "ref": {"name": self.branch},
            "objects": objects.collect::<Vec<_>>(),
        });
        let url = Url::parse(&format!("{}/{}.git/info/lfs/objects/batch", self.endpoint, self.repo))?;
        let request = Request::post(url).with_bytes(body.to_string().into_bytes(), LFS_JSON);
        let batch: Batch = self.ask(&request.header("accept", LFS_JSON).json())?.json()?;
        let mut by_oid: BTreeMap<String, Object> =
            batch.objects.into_iter().map(|object| (object.oid.clone(), object)).collect();
        let mut found = Vec::new();
        for file in files {
            // Two files of one content are sent once.
            let twin = || Object { oid: file.sha256.clone(), actions: None, error: None };
            let is_twin = files.iter().take(found.len()).any(|other| other.sha256 == file.sha256);
            let object = by_oid.remove(&file.sha256).or_else(|| is_twin.then(twin));
            let object = object.ok_or_else(|| self.bad_answer(format!("it says nothing of `{}`", file.name)))?;
            if let Some(ObjectError { code, message }) = object.error {
                let (repo, path) = (self.repo.clone(), file.name.clone());
                return Err(HubError::Storage { repo, path, code, what: message });
            }
            found.push(object);
        }
        Ok(found)
    }

    fn send_one(&self, file: &NamedFile, upload: Action, verify: Option<String>) -> Result<(), NodeError> {
        let Some(part) = upload.header.get("chunk_size") else {
            let request = Request::put(self.address(&upload.href).map_err(failure)?).with_file(&file.path, None);
            self.put(&request, file, 0).map_err(failure)?;
            return self.verify(file, verify.as_deref()).map_err(failure);
        };
        let fresh = self.parts(file, part, &upload, verify).map_err(failure)?;
        let memo = format!("huggingface/{}/{}/{}", self.endpoint, self.repo, file.sha256);
        let begun: Option<Begun> = self.run.store.state::<Option<Begun>>(&memo)?.flatten();
        // Addresses that were signed in an earlier run may have expired; these have not.
        let tries = begun.into_iter().map(|begun| (begun, false)).chain([(fresh, true)]);
        for (mut begun, is_fresh) in tries {
            match self.send_parts(file, &mut begun, &memo) {
                Ok(()) => {
                    self.run.store.put_state(&memo, &None::<Begun>)?;
                    return Ok(());
                }
                Err(error) if !is_fresh && is_refused(&error) => {}
                Err(error) => {
                    if is_refused(&error) {
                        self.run.store.put_state(&memo, &None::<Begun>)?;
                    }
                    return Err(failure(error));
                }
            }
        }
        Ok(())
    }

    /// Reads where the parts of a file go.
    fn parts(
        &self,
        file: &NamedFile,
        part: &Value,
        upload: &Action,
        verify: Option<String>,
    ) -> Result<Begun, HubError> {
        let (part, parts) = cut(file.size, part, upload).map_err(|what| self.bad_answer(what))?;
        Ok(Begun { join: upload.href.clone(), part, parts, arrived: BTreeMap::new(), verify })
    }

    fn send_parts(&self, file: &NamedFile, begun: &mut Begun, memo: &str) -> Result<(), HubError> {
        for (number, address) in (0..).zip(&begun.parts.clone()) {
            if begun.arrived.contains_key(&number) {
                continue;
            }
            let start = number * begun.part;
            let range = start..(start + begun.part).min(file.size);
            let request = Request::put(self.address(address)?).with_file(&file.path, Some(range));
            let response = self.put(&request, file, start)?;
            let etag = response.header("etag").filter(|etag| !etag.is_empty());
            let etag = etag.ok_or_else(|| self.bad_answer(format!("part {} has no `etag`", number + 1)))?;
            begun.arrived.insert(number, etag);
            // What cannot be noted costs that part once more, no more.
            self.run.store.put_state(memo, &Some(&*begun)).ok();
        }
        let parts = begun.arrived.iter().map(|(number, etag)| json!({"partNumber": number + 1, "etag": etag}));
        let body = json!({"oid": file.sha256, "parts": parts.collect::<Vec<_>>()});
        let request = Request::post(self.address(&begun.join)?)
            .with_bytes(body.to_string().into_bytes(), LFS_JSON)
            .bounded(WORDS, JOINING);
        self.told_by_storage(self.storage.send(&request, self.run), file)?;
        self.verify(file, begun.verify.as_deref())
    }

    /// Sends a file or a part of one, without the token: the address is signed.
    fn put(&self, request: &Request<'_>, file: &NamedFile, before: u64) -> Result<Response, HubError> {
        let watch = Sending { run: self.run, name: &file.name, before, total: file.size };
        self.told_by_storage(self.storage.send(request, &watch), file)
    }

    fn told_by_storage(&self, sent: Result<Response, NetError>, file: &NamedFile) -> Result<Response, HubError> {
        sent.map_err(|error| match error {
            NetError::Refused { status, excerpt, .. } => {
                let (repo, path) = (self.repo.clone(), file.name.clone());
                HubError::Storage { repo, path, code: u64::from(status), what: excerpt }
            }
            error => error.into(),
        })
    }

    /// Has the hub look whether the file is there as it should be.
    fn verify(&self, file: &NamedFile, address: Option<&str>) -> Result<(), HubError> {
        let Some(address) = address else { return Ok(()) };
        let body = json!({"oid": file.sha256, "size": file.size}).to_string().into_bytes();
        let request = Request::post(self.address(address)?).with_bytes(body, LFS_JSON);
        match self.client.send(&request, self.run) {
            Ok(_) => Ok(()),
            Err(NetError::Refused { status: 400 | 404 | 409 | 422, .. }) => {
                Err(HubError::WrongDigest { endpoint: self.endpoint.clone(), path: file.name.clone() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads an address that the hub gave. A mirror may hand on those of the hub itself: they are its own then.
    fn address(&self, href: &str) -> Result<Url, HubError> {
        let mirrored = href.strip_prefix(ENDPOINT).filter(|rest| rest.starts_with('/'));
        let href = mirrored.map_or_else(|| href.to_owned(), |rest| format!("{}{rest}", self.endpoint));
        let url = Url::parse(&href)?;
        if href.starts_with("http://") && !url.is_loopback() {
            return Err(self.bad_answer(format!("it sends files to {}, unencrypted", url.host())));
        }
        Ok(url)
    }
}

/// Returns the bytes of a part and where each part of a file of `size` bytes goes, or what is wrong with the answer.
fn cut(size: u64, part: &Value, upload: &Action) -> Result<(u64, Vec<String>), String> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let part = number(part).filter(|part| *part > 0).ok_or("its `chunk_size` is no number")?;
    let count = size.div_ceil(part);
    let addresses: BTreeMap<u64, &str> =
        upload.header.iter().filter_map(|(key, value)| Some((key.parse().ok()?, value.as_str()?))).collect();
    if count > PARTS || !addresses.keys().copied().eq(1..=count) {
        return Err(format!("it names {} parts of a file that has {count}", addresses.len()));
    }
    Ok((part, addresses.into_values().map(str::to_owned).collect()))
}

/// Reads what a storage says of uploads, for the fuzz target.
pub(super) fn read_batch(bytes: &[u8]) {
    let Ok(batch) = serde_json::from_slice::<Batch>(bytes) else { return };
    for upload in batch.objects.into_iter().filter_map(|object| object.actions?.upload) {
        if let Some((part, Ok((bytes, parts)))) =
            upload.header.get("chunk_size").map(|part| (part, cut(3_000, part, &upload)))
        {
            assert!(bytes > 0 && parts.len() as u64 == 3_000_u64.div_ceil(bytes), "{part}");
        }
    }
}

fn is_refused(error: &HubError) -> bool {
    matches!(error, HubError::Storage { .. } | HubError::WrongDigest { .. })
}
