//! Fetching a large file into a part file that outlives a broken connection, a cancel, and the process.
//!
//! Each try asks for the bytes that are missing. A try that brought some does not count as a failure, so that a
//! connection which breaks every minute still ends with the whole file. What the bytes are is not known here: whoever
//! asked holds them against a digest.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use ureq::http::HeaderMap;

use super::client::{excerpt, follow, joined};
use super::exchange::{Broken, Reply, Sink, pour};
use super::policy::{Verdict, judge};
use super::tries::{Tries, broken_off, clock};
use super::{Client, NetError, Request, Result, Watch};

/// A file of no length that is known ends here at the latest: 4 TiB, more than any model has.
const LARGEST: u64 = 1 << 42;

/// Where a file is fetched to.
pub struct Download<'a> {
    /// Where the bytes gather. What is there from an earlier time is gone on from.
    pub part: &'a Path,
    /// Bytes of the whole file, where they are known.
    pub size: Option<u64>,
    /// Told the bytes that are there, and all of them where that is known.
    pub progress: &'a mut dyn FnMut(u64, Option<u64>),
}

impl Client {
    /// Fetches a file until its part file is whole.
    ///
    /// # Errors
    /// As [`Client::send`]; [`NetError::WrongLength`] for a file of another size, [`NetError::Write`] for a disk that is
    /// full. What came stays in the part file.
    pub fn download(&self, request: &Request<'_>, download: &mut Download<'_>, watch: &dyn Watch) -> Result<()> {
        self.download_whole(request, download, watch).map_err(|error| self.told(error))
    }

    fn download_whole(&self, request: &Request<'_>, download: &mut Download<'_>, watch: &dyn Watch) -> Result<()> {
        let request = request.clone().header("accept-encoding", "identity");
        let write = |cause| NetError::Write { path: download.part.to_owned(), cause };
        let file = File::options().create(true).append(true).open(download.part).map_err(write)?;
        let had = file.metadata().map_err(write)?.len();
        let (size, progress) = (download.size, &mut *download.progress);
        let mut part = Part { file, had, size, total: size, is_poured: false, progress };
        if size.is_some_and(|size| had > size) {
            part.restart().map_err(write)?;
        }
        let mut tries = Tries::new();
        while !part.is_whole() {
            let before = part.had;
            let (at, result) = self.try_download(&request, &mut part, watch)?;
            if part.had > before {
                tries.progressed();
            }
            let url = at.url().to_string();
            let reply = match result {
                Ok(reply) => reply,
                Err(Broken::Sink(cause)) => return Err(write(cause)),
                Err(broken) => {
                    let error = |attempts| broken_off(&at, self.policy(), attempts, broken);
                    tries.again(self.policy(), &at, None, watch, error)?;
                    continue;
                }
            };
            match judge(reply.status, &reply.headers, &reply.body, clock()) {
                Verdict::Accept => {
                    if let (Some(expected), Some(found)) =
                        (part.size, part.total.filter(|total| part.size != Some(*total)))
                    {
                        return Err(NetError::WrongLength { url, expected, found });
                    }
                    if part.is_poured && part.total.is_none() {
                        return Ok(());
                    }
                    if !part.is_whole() {
                        let error = |attempts| NetError::BrokenOff { url, attempts, bytes: part.had };
                        tries.again(self.policy(), &at, None, watch, error)?;
                    }
                }
                Verdict::Limited(wait) => tries.wait_for_limit(self.policy(), &at, wait, watch)?,
                Verdict::Failed(pause) => {
                    let (status, excerpt) = (reply.status, excerpt(&reply.body, |text| self.masked(text)));
                    let error = |attempts| NetError::Server { url, status, attempts, excerpt };
                    tries.again(self.policy(), &at, pause, watch, error)?;
                }
                // There is nothing behind what is here: it is whole, or of another file.
                _ if reply.status == 416 && part.had > 0 => {
                    part.total =
                        joined(&reply.headers, "content-range").and_then(|range| number(range.rsplit_once('/')?.1));
                    if !part.is_whole() {
                        part.restart().map_err(write)?;
                    }
                }
                _ => {
                    let excerpt = excerpt(&reply.body, |text| self.masked(text));
                    return Err(NetError::Refused { url, status: reply.status, excerpt });
                }
            }
        }
        Ok(())
    }

    /// Asks once for what is missing, and follows redirects; returns who answered, and what.
    fn try_download<'r>(
        &self,
        request: &Request<'r>,
        part: &mut Part<'_>,
        watch: &dyn Watch,
    ) -> Result<(Request<'r>, std::result::Result<Reply, Broken>)> {
        let mut at = request.clone();
        for _ in 0..=self.policy().max_redirects {
            let ranged =
                if part.had > 0 { at.clone().header("range", format!("bytes={}-", part.had)) } else { at.clone() };
            let message = self.download_message(&ranged)?;
            watch.asks();
            let result = pour(self.agent(), message, self.policy(), watch, part);
            let Ok(reply) = &result else { return Ok((at, result)) };
            if judge(reply.status, &reply.headers, &reply.body, clock()) != Verdict::Redirect {
                return Ok((at, result));
            }
            let location = joined(&reply.headers, "location").unwrap_or_default();
            at = follow(&at, reply.status, &location)?;
        }
        Err(NetError::TooManyRedirects { url: request.url().to_string(), limit: self.policy().max_redirects })
    }
}

/// The part file.
struct Part<'a> {
    file: File,
    had: u64,
    /// What the caller says.
    size: Option<u64>,
    /// What the server says, once it did.
    total: Option<u64>,
    /// Whether the last answer's body went into the file.
    is_poured: bool,
    progress: &'a mut dyn FnMut(u64, Option<u64>),
}

impl Part<'_> {
    fn is_whole(&self) -> bool {
        self.total == Some(self.had)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.had = 0;
        self.total = self.size;
        Ok(())
    }
}

impl Sink for Part<'_> {
    fn head(&mut self, status: u16, headers: &HeaderMap) -> io::Result<bool> {
        self.is_poured = false;
        match status {
            206 => {
                let range = joined(headers, "content-range").unwrap_or_default();
                let range = range.trim().strip_prefix("bytes").unwrap_or_default().trim_start();
                let (places, total) = range.split_once('/').unwrap_or_default();
                let start = places.split_once('-').and_then(|(start, _)| number(start));
                if start != Some(self.had) {
                    // Other bytes than those that were asked for: what is here cannot be gone on from.
                    self.restart()?;
                    return Ok(false);
                }
                self.total = number(total).or(self.size);
            }
            200 => {
                self.restart()?;
                self.total = joined(headers, "content-length").and_then(|length| number(&length)).or(self.size);
            }
            _ => return Ok(false),
        }
        // A file of another size is refused before its bytes are fetched.
        self.is_poured = self.total.is_none_or(|total| self.size.is_none_or(|size| size == total));
        Ok(self.is_poured)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let limit = self.total.or(self.size).unwrap_or(LARGEST);
        if self.had + bytes.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the server sends more bytes than it announced"));
        }
        self.file.write_all(bytes)?;
        self.had += bytes.len() as u64;
        (self.progress)(self.had, self.total);
        Ok(())
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}
