//! The content of a file, read piece by piece: it is never in memory as a whole.

use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use fs_err::File;
use memchr::{memchr, memchr_iter};

use super::compression;
use super::error::JsonlError;

/// What stands before UTF-8 in files of some editors.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Bytes that are read at a time where the end of a line is looked for.
const STEP: usize = 64 << 10;

/// The text of a file, without a byte order mark.
pub(super) struct Text {
    file: std::fs::File,
    /// Where it starts in the file.
    start: u64,
    length: u64,
}

impl Text {
    /// Opens a file; one that is packed is unpacked into `scratch`.
    pub(super) fn open(path: &Path, scratch: &Path) -> Result<Self, JsonlError> {
        let mut head = Vec::new();
        File::open(path)?.take(4).read_to_end(&mut head)?;
        let file = match compression::form(&head) {
            Some(form) => compression::unpacked(path, form, tempfile::tempfile_in(scratch)?)?,
            None => File::open(path)?.into_file(),
        };
        let length = file.metadata()?.len();
        let mut text = Self { file, start: 0, length };
        if text.read(0, BYTE_ORDER_MARK.len().min(length as usize))? == BYTE_ORDER_MARK {
            text.start = BYTE_ORDER_MARK.len() as u64;
            text.length -= text.start;
        }
        Ok(text)
    }

    /// Returns its bytes.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Reads `length` bytes from `at`.
    pub(super) fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.start + at)?;
        Ok(bytes)
    }

    /// Returns where the line ends that `at` is in: behind its line feed, or at the end of the text.
    pub(super) fn line_end(&self, at: u64) -> io::Result<u64> {
        let mut at = at.min(self.length);
        while at < self.length {
            let bytes = self.read(at, STEP.min((self.length - at) as usize))?;
            match memchr(b'\n', &bytes) {
                Some(place) => return Ok(at + place as u64 + 1),
                None => at += bytes.len() as u64,
            }
        }
        Ok(at)
    }

    /// Returns how many lines end before `at`.
    pub(super) fn lines_before(&self, at: u64) -> io::Result<u64> {
        let mut lines = 0;
        for start in (0..at).step_by(STEP) {
            let bytes = self.read(start, STEP.min((at - start) as usize))?;
            lines += memchr_iter(b'\n', &bytes).count() as u64;
        }
        Ok(lines)
    }
}
