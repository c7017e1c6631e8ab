//! The values file on disk: read as it is, replaced whole by a rename.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::ValuesError;
use super::yaml::YamlError;
use crate::store::Digest;

/// Bytes of the largest file that is read.
const LARGEST: u64 = 16 << 20;

/// A values file as it was read.
pub(super) struct ValuesFile {
    /// Where it lies, without symbolic links: a link to it stays a link.
    path: PathBuf,
    /// The name for messages.
    pub(super) shown: String,
    pub(super) text: String,
}

impl ValuesFile {
    /// Reads the file.
    pub(super) fn read(folder: &Path, shown: &str) -> Result<Self, ValuesError> {
        let named = folder.join(shown);
        let shown = shown.to_owned();
        let path = match fs_err::canonicalize(&named) {
            Ok(path) => path,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ValuesError::Gone { path: named });
            }
            Err(cause) => return Err(ValuesError::Io { file: shown, cause }),
        };
        let metadata = fs_err::metadata(&path).map_err(|cause| ValuesError::Io { file: shown.clone(), cause })?;
        if !metadata.is_file() {
            return Err(ValuesError::NoFile { file: shown });
        }
        if metadata.len() > LARGEST {
            return Err(ValuesError::TooLarge { file: shown, size: metadata.len() });
        }
        let bytes = fs_err::read(&path).map_err(|cause| ValuesError::Io { file: shown.clone(), cause })?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path, shown, text }),
            Err(error) => Err(ValuesError::NotUtf8 { file: shown, at: error.utf8_error().valid_up_to() }),
        }
    }

    /// Returns the folder that the file lies in, and its name there.
    pub(super) fn place(&self) -> (&Path, &Path) {
        (self.path.parent().unwrap_or(Path::new("/")), Path::new(self.path.file_name().unwrap_or_default()))
    }

    /// Returns the digest of what was read.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// Replaces the file's content. Whatever happens, a reader finds the old content or the new one; its owner and its
    /// permissions stay.
    pub(super) fn replace(&mut self, text: &str) -> Result<(), ValuesError> {
        let io = |cause| ValuesError::Io { file: self.shown.clone(), cause };
        if fs_err::read(&self.path).map_err(io)? != self.text.as_bytes() {
            return Err(ValuesError::ChangedMeanwhile { file: self.shown.clone() });
        }
        self.write(text).map_err(io)?;
        text.clone_into(&mut self.text);
        Ok(())
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        let metadata = fs_err::metadata(&self.path)?;
        let (folder, _) = self.place();
        let mut temporary = tempfile::Builder::new().prefix(".tunesmith-").tempfile_in(folder)?;
        temporary.write_all(text.as_bytes())?;
        // The owner first: a change of it may take permissions away. Only root may give a file to others.
        std::os::unix::fs::fchown(temporary.as_file(), Some(metadata.uid()), Some(metadata.gid())).ok();
        temporary.as_file().set_permissions(metadata.permissions())?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path).map_err(|error| error.error)?;
        // Some file systems cannot sync a folder; the rename is then as durable as they are.
        if let Ok(folder) = fs_err::File::open(folder) {
            folder.sync_all().ok();
        }
        Ok(())
    }

    /// Makes the error of a place in this file.
    pub(super) fn error(&self, cause: YamlError) -> ValuesError {
        ValuesError::Yaml { file: self.shown.clone(), cause }
    }
}
