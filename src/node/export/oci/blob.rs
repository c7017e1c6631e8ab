//! Blobs: looked for by their digest, and sent where the registry has them not.
//!
//! A blob goes whole by one request, which all registries take. Where that breaks, it goes in chunks, and after a break goes
//! on at the byte that the registry names. What the registry took it checks against the digest.

use std::path::Path;
use std::time::Duration;

use super::error::OciError;
use super::registry::Registry;
use crate::net::{Request, Response, Url, Watch as _, rest};
use crate::node::export::sending::Sending;

/// Bytes of one chunk, unless the registry asks for more.
const CHUNK: u64 = 32 << 20;
/// Tries that bring nothing before a blob is given up.
const TRIES: u32 = 4;
/// The pause after the first try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes to send.
pub(super) struct Blob<'b> {
    /// What it is, for messages.
    pub(super) name: &'b str,
    pub(super) path: &'b Path,
    /// `sha256:…`
    pub(super) digest: &'b str,
    pub(super) size: u64,
}

/// An upload that the registry knows.
struct Session {
    location: Url,
    chunk: u64,
}

impl Registry<'_, '_> {
    /// Sends a blob, unless the registry has it. Returns whether it was sent.
    pub(super) fn send(&self, blob: &Blob<'_>) -> Result<bool, OciError> {
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        let response = self.ask(&Request::head(url).takes(&[401, 404]), self.run)?;
        if response.status != 404 {
            return Ok(false);
        }
        let mut failed = match self.whole(blob) {
            Ok(()) => return Ok(true),
            // A proxy before it may take no body of this size, but a part of it.
            Err(error @ OciError::Refused { status: 413, .. }) => error,
            Err(error) if may_pass(&error) => error,
            Err(error) => return Err(error),
        };
        let mut in_chunks = true;
        for attempt in 0..TRIES {
            let pause = PAUSE * (1 << attempt);
            self.run.waits(pause, &format!("{} failed, trying again", self.reference.host));
            rest(pause, self.run)?;
            let result = if in_chunks { self.chunked(blob) } else { self.whole(blob) };
            match result {
                Ok(()) => return Ok(true),
                // Some registries take no chunks at all.
                Err(OciError::Refused { status: 400 | 404 | 405, .. }) if in_chunks => in_chunks = false,
                Err(error) if may_pass(&error) => failed = error,
                Err(error) => return Err(error),
            }
        }
        Err(failed)
    }

    fn open(&self) -> Result<Session, OciError> {
        let response = self.ask(&Request::post(self.url("blobs/uploads/")?).takes(&[401]), self.run)?;
        let least = response.header("oci-chunk-min-length").and_then(|least| least.trim().parse().ok()).unwrap_or(0);
        Ok(Session { location: self.location(&response)?, chunk: CHUNK.max(least) })
    }

    fn location(&self, response: &Response) -> Result<Url, OciError> {
        let location =
            response.header("location").ok_or_else(|| self.bad_answer("it says not where to send a file"))?;
        let url = response.url.join(&location)?;
        if url.to_string().starts_with("http://") && !url.is_loopback() {
            return Err(self.bad_answer(format!("it sends files to {}, unencrypted", url.host())));
        }
        Ok(url)
    }

    /// Begins an upload and gives it up: who may do that may write, and nothing is put there.
    pub(super) fn may_write(&self) -> Result<(), OciError> {
        let session = self.open()?;
        let request = Request::delete(session.location).takes(&[400, 401, 404, 405]);
        // What a registry does not take back lapses there.
        self.ask(&request, self.run).ok();
        Ok(())
    }

    /// Sends a blob by one request. What broke is not sent again to the same place: nobody knows what came there.
    fn whole(&self, blob: &Blob<'_>) -> Result<(), OciError> {
        let session = self.open()?;
        let request = Request::put(closing(&session.location, blob.digest)?)
            .with_file(blob.path, None)
            .header("content-type", "application/octet-stream")
            .once();
        self.closed(&request, blob, 0)
    }

    /// Sends a blob in chunks, as far as the registry has it not.
    fn chunked(&self, blob: &Blob<'_>) -> Result<(), OciError> {
        let mut session = self.open()?;
        let (mut had, mut failed) = (0, 0);
        while had < blob.size {
            let end = (had + session.chunk).min(blob.size);
            let request = Request::patch(session.location.clone())
                .with_file(blob.path, Some(had..end))
                .header("content-type", "application/octet-stream")
                .header("content-range", format!("{had}-{}", end - 1))
                .takes(&[401, 416])
                .once();
            let watch = Sending { run: self.run, name: blob.name, before: had, total: blob.size };
            let before = had;
            match self.ask(&request, &watch) {
                Ok(response) if response.status != 416 => {
                    session.location = self.location(&response)?;
                    had = received(&response).unwrap_or(end).min(blob.size);
                }
                Ok(_) => had = self.resumed(&mut session)?,
                Err(error) if may_pass(&error) && failed < TRIES => {
                    rest(PAUSE * (1 << failed), self.run)?;
                    had = self.resumed(&mut session).map_err(|_| error)?;
                }
                Err(error) => return Err(error),
            }
            failed = if had > before { 0 } else { failed + 1 };
            if failed > TRIES {
                return Err(self.bad_answer(format!("it takes no more of `{}` than {had} bytes", blob.name)));
            }
        }
        let request = Request::put(closing(&session.location, blob.digest)?);
        self.closed(&request, blob, blob.size)
    }

    /// Asks how far an upload came, and goes on there.
    fn resumed(&self, session: &mut Session) -> Result<u64, OciError> {
        let response = self.ask(&Request::get(session.location.clone()).takes(&[401]), self.run)?;
        if response.header("location").is_some() {
            session.location = self.location(&response)?;
        }
        Ok(received(&response).unwrap_or(0))
    }

    /// Ends an upload and looks at what the registry says of it.
    fn closed(&self, request: &Request<'_>, blob: &Blob<'_>, before: u64) -> Result<(), OciError> {
        let watch = Sending { run: self.run, name: blob.name, before, total: blob.size };
        let response = self.ask(&request.clone().takes(&[400, 401]), &watch)?;
        if response.status == 400 {
            let said: String = String::from_utf8_lossy(&response.body).chars().take(200).collect();
            let (host, file) = (self.reference.host.clone(), blob.name.to_owned());
            return Err(OciError::WrongDigest { host, file, found: said });
        }
        self.same(&response, blob.name, blob.digest)
    }
}

/// Returns how many bytes a registry says that it has: `0-N`, where N is the last one.
fn received(response: &Response) -> Option<u64> {
    received_by(&response.header("range")?)
}

fn received_by(range: &str) -> Option<u64> {
    let last: u64 = range.trim_start_matches("bytes=").split_once('-')?.1.trim().parse().ok()?;
    // `0-0` is what registries say that have nothing.
    Some(if last == 0 { 0 } else { last.checked_add(1)? })
}

/// Reads what a registry says of an upload, for the fuzz target.
pub(super) fn read_upload(text: &str) {
    // One byte is not told: `0-0` is what registries say that have nothing.
    assert_ne!(received_by(text), Some(1));
    let url = Url::parse("https://example.org/v2/a/blobs/uploads/1").and_then(|url| url.join(text));
    if let Ok(location) = url {
        drop(closing(&location, "sha256:0"));
    }
}

/// Returns where an upload is ended.
fn closing(location: &Url, digest: &str) -> Result<Url, OciError> {
    let location = location.to_string();
    let sign = if location.contains('?') { '&' } else { '?' };
    Ok(Url::parse(&format!("{location}{sign}digest={digest}"))?)
}

/// Returns whether sending a blob once more may help.
fn may_pass(error: &OciError) -> bool {
    matches!(error, OciError::Net(error) if error.is_transient())
}
