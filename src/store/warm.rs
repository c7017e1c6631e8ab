//! What the last build looked up in the index, in one flat file: a build where little changed reads that file once
//! instead of asking the index several times for each node.
//!
//! The file mirrors rows of the index as they were in one generation of it, and counts for nothing in another one:
//! whoever writes to the index, a build elsewhere or `cache gc`, makes it useless and never wrong. The digest of its
//! content stands in front, so a damaged file is no file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::database::Generation;
use super::files::write_memo;
use super::pending::StatRow;
use super::{Artifact, Digest, FileRef, Known, RecordsRef};

/// Entries that no lookup needed are kept while they are at most as many as those that one did, and this many.
const SPARE: usize = 1_000;

/// Rows of the index.
#[derive(Debug, Default)]
pub(super) struct Warm {
    stats: Rows<String, StatRow>,
    hits: Rows<Digest, Arc<Known>>,
    last_keys: Rows<String, Digest>,
    /// Whether the file lacks something that was looked up.
    changed: bool,
}

/// The file's rows and the generation that they are of.
pub(super) type Read = Option<(Generation, Warm)>;

/// One kind of row: the value, and whether it was looked up.
type Rows<K, V> = BTreeMap<K, (V, bool)>;

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Content {
    generation: Generation,
    stats: Vec<(String, StatRow)>,
    hits: Vec<Hit>,
    last_keys: Vec<(String, Digest)>,
}

/// A [`Known`] in a form without tags and without JSON values, which the encoding does not have.
#[derive(Serialize, Deserialize)]
struct Hit {
    key: Digest,
    outputs: Vec<(String, Output)>,
    fields: String,
    report: Vec<(String, u64)>,
}

/// An [`Artifact`].
#[derive(Serialize, Deserialize)]
enum Output {
    File(FileRef),
    Folder(BTreeMap<String, FileRef>),
    Records(RecordsRef),
}

impl Warm {
    /// Reads the file at `path`, if it is there and whole.
    pub(super) fn read(path: &Path) -> Read {
        let content: Content = decode(&fs_err::read(path).ok()?)?;
        let warm = Self {
            stats: content.stats.into_iter().map(|(path, row)| (path, (row, false))).collect(),
            hits: content.hits.into_iter().map(|hit| (hit.key, (Arc::new(hit.into()), false))).collect(),
            last_keys: content.last_keys.into_iter().map(|(name, key)| (name, (key, false))).collect(),
            changed: false,
        };
        Some((content.generation, warm))
    }

    /// Takes what was read when it is of this generation: the rows of another one may be gone or others by now.
    pub(super) fn of(read: Read, generation: Generation) -> Self {
        match read {
            Some((found, warm)) if found == generation => warm,
            _ => {
                let mut empty = Self::default();
                empty.changed = true;
                empty
            }
        }
    }

    /// Writes the file for the generation that the index is in now, when that needs another file than there is.
    pub(super) fn write(&mut self, path: &Path, generation: Generation) -> std::io::Result<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        drop_spare(&mut self.stats);
        drop_spare(&mut self.hits);
        drop_spare(&mut self.last_keys);
        let content = Content {
            generation,
            stats: self.stats.iter().map(|(path, (row, _))| (path.clone(), *row)).collect(),
            hits: self.hits.values().map(|(known, _)| Hit::from(known.as_ref())).collect(),
            last_keys: self.last_keys.iter().map(|(name, (key, _))| (name.clone(), *key)).collect(),
        };
        write_memo(path, &encode(&content)?)
    }

    pub(super) fn stat(&mut self, path: &str) -> Option<StatRow> {
        look_up(&mut self.stats, path).copied()
    }

    pub(super) fn keep_stat(&mut self, path: &str, row: StatRow) {
        self.changed = true;
        self.stats.insert(path.to_owned(), (row, true));
    }

    pub(super) fn hit(&mut self, key: &Digest) -> Option<Arc<Known>> {
        look_up(&mut self.hits, key).cloned()
    }

    pub(super) fn keep_hit(&mut self, known: &Arc<Known>) {
        self.changed = true;
        self.hits.insert(known.key, (Arc::clone(known), true));
    }

    pub(super) fn drop_hit(&mut self, key: &Digest) {
        self.changed |= self.hits.remove(key).is_some();
    }

    pub(super) fn last_key(&mut self, name: &str) -> Option<Digest> {
        look_up(&mut self.last_keys, name).copied()
    }

    pub(super) fn keep_last_key(&mut self, name: &str, key: Digest) {
        self.changed = true;
        self.last_keys.insert(name.to_owned(), (key, true));
    }
}

impl Drop for Warm {
    /// Leaves the rows to the end of the process: freeing them one by one takes longer than reading them.
    fn drop(&mut self) {
        std::mem::forget(std::mem::take(&mut self.stats));
        std::mem::forget(std::mem::take(&mut self.hits));
        std::mem::forget(std::mem::take(&mut self.last_keys));
    }
}

fn look_up<'r, K, Q, V>(rows: &'r mut Rows<K, V>, key: &Q) -> Option<&'r V>
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    rows.get_mut(key).map(|(value, used)| {
        *used = true;
        &*value
    })
}

/// Drops what no lookup needed where that is most of the rows: nodes that are gone, keys of earlier settings.
fn drop_spare<K: Ord, V>(rows: &mut Rows<K, V>) {
    let used = rows.values().filter(|(_, used)| *used).count();
    if rows.len() - used > used + SPARE {
        rows.retain(|_, (_, used)| *used);
    }
}

/// Returns a file's bytes: the digest of the content, and the content.
pub(super) fn encode(content: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let body = postcard::to_allocvec(content).map_err(std::io::Error::other)?;
    Ok([Digest::of(&body).as_bytes().as_slice(), &body].concat())
}

/// Returns a file's content; nothing when it is not whole.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (digest, body) = bytes.split_first_chunk()?;
    let is_whole = Digest::of(body) == Digest::from_bytes(*digest);
    if is_whole { postcard::from_bytes(body).ok() } else { None }
}

impl From<Hit> for Known {
    fn from(hit: Hit) -> Self {
        let outputs = hit.outputs.into_iter().map(|(name, output)| {
            let artifact = match output {
                Output::File(file) => Artifact::File(file),
                Output::Folder(files) => Artifact::Folder { files },
                Output::Records(records) => Artifact::Records(records),
            };
            (name, artifact)
        });
        let fields = serde_json::from_str(&hit.fields).unwrap_or_default();
        Self { key: hit.key, outputs: outputs.collect(), fields, report: hit.report }
    }
}

impl From<&Known> for Hit {
    fn from(known: &Known) -> Self {
        let outputs = known.outputs.iter().map(|(name, artifact)| {
            let output = match artifact {
                Artifact::File(file) => Output::File(*file),
                Artifact::Folder { files } => Output::Folder(files.clone()),
                Artifact::Records(records) => Output::Records(*records),
            };
            (name.clone(), output)
        });
        let fields = serde_json::to_string(&known.fields).unwrap_or_default();
        Self { key: known.key, outputs: outputs.collect(), fields, report: known.report.clone() }
    }
}
