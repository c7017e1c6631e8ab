//! An example of the repository in a folder of its own, with the tiny model and its rows in the place of what it fetches.

use std::path::{Path, PathBuf};

/// What of the tiny model a base has.
const MODEL: [&str; 5] =
    ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];

/// A copy of `examples/NAME` beside the quickstart's rows, from which a manifest's base is `dir:model`.
pub(crate) struct Example {
    space: tempfile::TempDir,
    name: &'static str,
}

impl Example {
    /// Copies `files` of the example, its manifest among them.
    pub(crate) fn of(name: &'static str, files: &[&str]) -> Self {
        let example = Self { space: tempfile::tempdir().unwrap(), name };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (from, tiny) = (root.join("examples").join(name), root.join("tests/fixtures/tiny-llama"));
        for file in files {
            example.put(file, &fs_err::read(from.join(file)).unwrap());
        }
        for file in MODEL {
            example.put(&format!("model/{file}"), &fs_err::read(tiny.join(file)).unwrap());
        }
        example.put("../quickstart/corpus/rows.jsonl", &fs_err::read(tiny.join("rows.jsonl")).unwrap());
        example
    }

    /// Returns the project's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.space.path().join(self.name)
    }

    /// Returns a file's text.
    pub(crate) fn text(&self, file: &str) -> String {
        fs_err::read_to_string(self.folder().join(file)).unwrap()
    }

    /// Changes the one place of the manifest that has `old`.
    #[track_caller]
    pub(crate) fn edit(&self, old: &str, new: &str) {
        let manifest = self.text("pipeline.toml");
        assert_eq!(manifest.matches(old).count(), 1, "{old}");
        self.put("pipeline.toml", manifest.replace(old, new).as_bytes());
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        let path = self.folder().join(file);
        fs_err::create_dir_all(self.folder()).unwrap();
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }
}
