//! A project with a training in it that takes a second: the tiny model, a few rows, all kinds of work.

use std::path::Path;

use super::program::tunesmith;

/// Its manifest.
const MANIFEST: &str = r#"schema = 1
[model]
base = "dir:model"
max-tokens = 128
[source.rows]
type = "jsonl"
path = "rows.jsonl"
[filter.pairs]
type = "conversations"
from = ["rows"]
out = "pairs.jsonl"
[train.expert]
type = "lora"
from = ["pairs"]
rank = 4
epochs = 5
out = "adapter"
[export.gguf]
type = "gguf"
from = ["expert"]
quantization = "Q8_0"
out = "model.gguf"
"#;

/// Makes the project.
pub(crate) fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
    fs_err::create_dir(folder.path().join("model")).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"] {
        fs_err::copy(fixture.join(name), folder.path().join("model").join(name)).unwrap();
    }
    fs_err::copy(fixture.join("rows.jsonl"), folder.path().join("rows.jsonl")).unwrap();
    fs_err::write(folder.path().join("pipeline.toml"), MANIFEST).unwrap();
    folder
}

/// What users have of a build.
pub(crate) fn outputs(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    ["pairs.jsonl", "adapter/adapter_model.safetensors", "model.gguf"]
        .into_iter()
        .filter_map(|name| Some((name, fs_err::read(folder.join(name)).ok()?)))
        .collect()
}

/// Returns what a build gives that nothing disturbs.
pub(crate) fn undisturbed() -> Vec<(&'static str, Vec<u8>)> {
    let space = project();
    tunesmith(space.path(), &["build"]).expect(0);
    let outputs = outputs(space.path());
    assert_eq!(outputs.len(), 3);
    outputs
}

/// Makes a project with nothing but a base whose answers never end by themselves, and are long enough to be cut off.
pub(crate) fn endless() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama/reference.gguf");
    let mut bytes = fs_err::read(&reference).unwrap();
    // A length of the context is a type of four bytes and a number of four.
    let key = b"llama.context_length";
    let length = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    bytes[length..length + 4].copy_from_slice(&16_384_u32.to_le_bytes());
    // The markers are the first three tokens; without numbers they are never likeliest.
    let header = tunesmith::model::gguf::Header::read(&reference).unwrap();
    let table = header.tensors.iter().find(|tensor| tensor.name == "token_embd.weight").unwrap();
    let start = (header.data_offset + table.offset) as usize;
    bytes[start..start + 3 * 2 * table.dimensions[0] as usize].fill(0);
    fs_err::write(folder.path().join("base.gguf"), bytes).unwrap();
    fs_err::write(folder.path().join("pipeline.toml"), "schema = 1\n[model]\nbase = \"gguf:base.gguf\"\n").unwrap();
    tunesmith(folder.path(), &["build"]).expect(0);
    folder
}
