//! Fetching a model's file: gone on with after a stop, held against what its publisher says, shown as it comes.
//!
//! Bytes gather below the store's scratch folder, under a name that the file's digest or address gives: a build that was
//! stopped goes on there. A collection of the store drops what nobody went on with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ModelError;
use super::verify::Pin;
use crate::net::{self, Client, Download, NetError, Policy, Request, Secret, Url, Watch};
use crate::node::{FailureClass, NodeError, Run};
use crate::store::Digest;

/// How long nothing may come before a try counts as failed.
const SILENCE: Duration = Duration::from_mins(1);

/// How often a lock that another build holds is looked at.
const POLL: Duration = Duration::from_millis(200);

/// A file at its publisher.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) url: Url,
    /// What the user knows it as.
    pub(super) name: String,
    pub(super) size: Option<u64>,
    /// What its bytes must be; without, what came whole is taken.
    pub(super) pin: Option<Pin>,
    /// Bytes of the same model that are there already, and of all its files: for the progress that is shown.
    pub(super) of_all: (u64, Option<u64>),
}

/// Makes the client that models are fetched with; the token goes to the origin of `base` alone.
///
/// # Errors
/// A token that can be none.
pub(super) fn client(base: &Url, token: Option<String>) -> Result<Client, NodeError> {
    let client = Client::new(Policy { deadline: SILENCE, ..Policy::default() });
    match token {
        Some(token) => Ok(client.with_token(base, Secret::new(&token).map_err(net_error)?)),
        None => Ok(client),
    }
}

/// Makes a run's failure of a request's.
pub(super) fn net_error(error: NetError) -> NodeError {
    match error {
        NetError::Cancelled => NodeError::cancelled(),
        error if error.is_transient() => NodeError::new(FailureClass::Transient, &error),
        error => error.into(),
    }
}

/// Fetches a file, and returns where it is: a path that the store may adopt.
///
/// # Errors
/// [`ModelError::OtherContent`] when its bytes are not those that were announced; those of the network.
pub(super) fn fetch(run: &Run<'_>, client: &Client, remote: &Remote) -> Result<PathBuf, NodeError> {
    let folder = run.store.root().join("scratch/fetched");
    fs_err::create_dir_all(&folder).map_err(ModelError::Io)?;
    let name = remote.pin.as_ref().map_or_else(|| remote.url.to_string(), Pin::to_string);
    let place = Digest::of(name.as_bytes());
    let part = folder.join(place.to_string());
    // Another build may fetch the same file into the same place.
    let _alone = loop {
        match run.store.try_lock(&place)? {
            Some(lock) => break lock,
            None => std::thread::sleep(POLL),
        }
        run.check_cancelled()?;
    };
    let mut went_on = part.exists();
    loop {
        download(run, client, remote, &part)?;
        let Some(pin) = &remote.pin else { return Ok(part) };
        let found = pin.found(&part).map_err(ModelError::Io)?;
        if found == *pin {
            return Ok(part);
        }
        fs_err::remove_file(&part).map_err(ModelError::Io)?;
        if !went_on {
            let (url, found, expected) = (net::shown(&remote.url.to_string()), found.to_string(), pin.to_string());
            return Err(ModelError::OtherContent { url, found, expected }.into());
        }
        // The beginning was of another time: once more, from the start.
        went_on = false;
    }
}

fn download(run: &Run<'_>, client: &Client, remote: &Remote, part: &Path) -> Result<(), NodeError> {
    let (before, all) = remote.of_all;
    let detail = format!("fetching {}", remote.name);
    let mut progress = |done: u64, total: Option<u64>| run.progress(before + done, all.or(total), "bytes", &detail);
    let mut download = Download { part, size: remote.size, progress: &mut progress };
    client.download(&Request::get(remote.url.clone()), &mut download, run as &dyn Watch).map_err(net_error)
}
