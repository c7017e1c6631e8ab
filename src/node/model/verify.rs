//! Holding a model's bytes against the digest that the manifest pins.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::error::ModelError;
use crate::store::{Digest, hexadecimal};

/// A pinned digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// SHA-256, as publishers and Ollama give it; lower-case hexadecimal.
    Sha256(String),
    /// BLAKE3, as `tunesmith show` gives it.
    Blake3(Digest),
    /// The SHA-1 by which git names a file, as Hugging Face's hub gives it; lower-case hexadecimal.
    GitBlob(String),
}

impl FromStr for Pin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (algorithm, digits) = text.split_once(':').ok_or(())?;
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let digits = digits.to_ascii_lowercase();
        match algorithm {
            "sha256" => Ok(Self::Sha256(digits)),
            "blake3" => digits.parse().map(Self::Blake3).map_err(|_| ()),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digits) => write!(f, "sha256:{digits}"),
            Self::Blake3(digest) => write!(f, "blake3:{digest}"),
            Self::GitBlob(digits) => write!(f, "git:{digits}"),
        }
    }
}

impl Pin {
    /// Takes git's name of a file; `None` for what is none.
    pub(super) fn git_blob(digits: &str) -> Option<Self> {
        let is_name = digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_name.then(|| Self::GitBlob(digits.to_ascii_lowercase()))
    }

    /// Returns the digest without its algorithm.
    pub(super) fn digits(&self) -> String {
        match self {
            Self::Sha256(digits) | Self::GitBlob(digits) => digits.clone(),
            Self::Blake3(digest) => digest.to_string(),
        }
    }

    /// Checks the file at `path`, which `base` led to.
    ///
    /// # Errors
    /// [`ModelError::OtherDigest`]; those of the file system.
    pub(super) fn check(&self, base: &str, path: &Path) -> Result<(), ModelError> {
        let found = self.found(path)?;
        if found == *self {
            return Ok(());
        }
        Err(ModelError::OtherDigest { base: base.into(), found: found.to_string(), expected: self.to_string() })
    }

    /// Returns the file's digest of the same algorithm.
    pub(super) fn found(&self, path: &Path) -> std::io::Result<Self> {
        Ok(match self {
            Self::Sha256(_) => Self::Sha256(hashed(path, Sha256::new())?),
            Self::Blake3(_) => Self::Blake3(Digest::of_file(path)?),
            Self::GitBlob(_) => {
                let size = fs_err::metadata(path)?.len();
                Self::GitBlob(hashed(path, Sha1::new_with_prefix(format!("blob {size}\0")))?)
            }
        })
    }
}

/// Returns a file's hash in lower-case hexadecimal.
fn hashed<H: sha2::Digest>(path: &Path, mut hasher: H) -> std::io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hexadecimal(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_accept_the_right_bytes_and_refuse_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs_err::write(&path, "abc").unwrap();
        for pin in [
            "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
            "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        ] {
            let pin: Pin = pin.parse().unwrap();
            fs_err::write(&path, "abc").unwrap();
            pin.check("gguf:a", &path).unwrap();
            fs_err::write(&path, "abd").unwrap();
            assert!(matches!(pin.check("gguf:a", &path), Err(ModelError::OtherDigest { .. })));
        }
        assert!("md5:00".parse::<Pin>().is_err());
        // `printf abc | git hash-object --stdin`
        let git = Pin::git_blob("F2BA8F84AB5C1BCE84A7B441CB1959CFC7093B7F").unwrap();
        fs_err::write(&path, "abc").unwrap();
        assert_eq!(git.found(&path).unwrap(), git);
        assert!("sha256:12".parse::<Pin>().is_err());
    }
}
