//! A repository's archive: many files in two requests.
//!
//! It is read in memory and written nowhere. Of its entries only those are looked at whose path and size the tree names,
//! and what Git's name for their bytes does not fit is not taken (an archive may lack files, or have expanded ones:
//! `export-ignore`, `export-subst`).

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use flate2::read::GzDecoder;
use tar::EntryType;

use super::blobs::Blobs;
use super::error::GithubDocsError;
use super::tree::{File, is_below_top};
use crate::node::source::unpack::Capped;

/// From so many missing files on the archive is taken: it costs two requests whatever it holds, but all of its bytes.
pub(super) const FROM: usize = 10;
/// No archive of a repository with more bytes than this is taken: it is held in memory.
pub(super) const MOST_BYTES: u64 = 512 << 20;

/// Returns whether the archive is the cheaper way to `missing` of a commit's files.
pub(super) fn pays(files: &[File], missing: usize) -> bool {
    missing >= FROM && total(files) <= MOST_BYTES
}

/// Returns how many bytes an archive of these files can have, packed or not: headers and padding come on top.
pub(super) fn limit(files: &[File]) -> u64 {
    total(files).saturating_mul(2).saturating_add((files.len() as u64).saturating_mul(8 << 10)).saturating_add(16 << 20)
}

fn total(files: &[File]) -> u64 {
    files.iter().fold(0, |total, file| total.saturating_add(file.size))
}

/// Keeps the files of an archive that `wanted` names; returns how many.
pub(super) fn read(
    repo: &str,
    packed: &[u8],
    limit: u64,
    wanted: &BTreeMap<&str, &File>,
    blobs: &Blobs<'_>,
) -> Result<u64, GithubDocsError> {
    let damaged = |cause: io::Error| GithubDocsError::DamagedArchive { repo: repo.to_owned(), cause };
    let mut archive = tar::Archive::new(Capped::new(GzDecoder::new(packed), limit));
    let mut kept = 0;
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Directory | EntryType::Symlink) {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // All lies below one folder, whose name is the archive's own matter.
        let inner = match path.trim_end_matches('/').split_once('/') {
            Some((top, inner)) if is_below_top(top) && is_below_top(inner) => inner,
            None if is_below_top(path.trim_end_matches('/')) => continue,
            _ => {
                let path = path.chars().take(200).collect();
                return Err(GithubDocsError::BadArchive { repo: repo.to_owned(), path });
            }
        };
        let Some(file) = wanted.get(inner).filter(|file| file.size == entry.size()) else { continue };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(damaged)?;
        kept += u64::from(blobs.put(&file.id, bytes)?);
    }
    Ok(kept)
}
