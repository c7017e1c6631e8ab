//! The content of a file of lines, read piece by piece: it is never in memory as a whole, and may be packed.

use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fs_err::File;
use memchr::{memchr, memchr_iter};
use miette::Diagnostic;

use super::compression;

/// What stands before UTF-8 in files of some editors.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Bytes that are read at a time where the end of a line is looked for.
const STEP: usize = 64 << 10;

/// What can go wrong when a file is opened.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum TextError {
    /// The file is packed, and damaged or cut off.
    #[error("`{}` is not a whole {form} file", path.display())]
    #[diagnostic(code(source::packed), help("fetch it again; `{form} -t` tests it"))]
    Packed {
        /// The file.
        path: PathBuf,
        /// How it is packed: the name of the program, too.
        form: &'static str,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A small file that would fill the memory.
    #[error("`{}` unpacks to more than {limit} bytes, 200 times its size", path.display())]
    #[diagnostic(code(source::bomb), help("if that is right, unpack it yourself and name the unpacked file"))]
    Bomb {
        /// The file.
        path: PathBuf,
        /// Bytes.
        limit: u64,
    },
    /// The file cannot be read.
    #[error("the file cannot be read")]
    #[diagnostic(code(source::io), help("check that it is there and that you may read it"))]
    Io(#[from] io::Error),
}

/// The text of a file, without a byte order mark.
pub(super) struct Text {
    file: std::fs::File,
    /// Where it starts in the file.
    start: u64,
    length: u64,
}

impl Text {
    /// Opens a file; one that is packed is unpacked into `scratch`.
    pub(super) fn open(path: &Path, scratch: &Path) -> Result<Self, TextError> {
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
