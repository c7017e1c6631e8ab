//! What is in one GGUF and not, or otherwise, in another.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use fs_err::File;
use tunesmith::model::gguf::{Header, Value};

/// What the reference takes from the folder's name, where it takes it for one of a model.
const OF_NAME: [&str; 5] =
    ["general.name", "general.finetune", "general.basename", "general.version", "general.organization"];

/// What it takes from a model card.
const OF_CARD: [&str; 5] =
    ["general.base_model.", "general.dataset.", "general.license", "general.tags", "general.languages"];

fn is_compared(key: &str) -> bool {
    !OF_NAME.contains(&key) && !OF_CARD.iter().any(|start| key.starts_with(start))
}

/// Returns the keys and the tensors that two files do not have in common, by name. What the reference takes from the folder's
/// name and from a model card is not compared.
pub(crate) fn differences(ours: &Path, theirs: &Path) -> Vec<String> {
    let keys = |header: &Header| -> BTreeMap<String, Value> {
        header.metadata.iter().filter(|(key, _)| is_compared(key)).cloned().collect()
    };
    let (one, other) = (Header::read(ours).unwrap(), Header::read(theirs).unwrap());
    let (our_keys, their_keys) = (keys(&one), keys(&other));
    let names = our_keys.keys().chain(their_keys.keys());
    let mut found: Vec<String> =
        names.filter(|key| our_keys.get(*key) != their_keys.get(*key)).map(|key| format!("key {key}")).collect();
    let (mut our_file, mut their_file) = (File::open(ours).unwrap(), File::open(theirs).unwrap());
    for info in one.tensors.iter().chain(&other.tensors) {
        if tensor(&one, &mut our_file, &info.name) != tensor(&other, &mut their_file, &info.name) {
            found.push(format!("tensor {}", info.name));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Returns a tensor's sizes, its type and a digest of its bytes.
fn tensor(header: &Header, file: &mut File, name: &str) -> Option<(Vec<u64>, &'static str, blake3::Hash)> {
    let info = header.tensor(name)?;
    file.seek(SeekFrom::Start(header.data_offset + info.offset)).unwrap();
    let mut bytes = vec![0; info.size as usize];
    file.read_exact(&mut bytes).unwrap();
    Some((info.dimensions.clone(), info.tensor_type.name(), blake3::hash(&bytes)))
}
