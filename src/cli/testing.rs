//! A project in a folder of its own, for the tests of commands: the whole program without a process around it.

use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use super::{Environment, Exit, Output, Surroundings, run};
use crate::engine::KindCatalog;

/// Three nodes of light kinds: rows, conversations of them, and a split.
pub(super) const MANIFEST: &str = "schema = 1\n\n[source.notes]\ntype = \"jsonl\"\npath = \"notes.jsonl\"\n\n\
    [filter.pairs]\ntype = \"conversations\"\nfrom = [\"notes\"]\n\n\
    [filter.dataset]\ntype = \"split\"\nfrom = [\"pairs\"]\neval = 0.5\n";

/// A project's folder.
pub(super) struct Space {
    folder: tempfile::TempDir,
    surroundings: Surroundings,
}

/// What a command wrote and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    /// How it ended.
    pub(super) exit: Exit,
    /// Standard output.
    pub(super) out: String,
    /// Standard error.
    pub(super) err: String,
}

impl Space {
    /// Makes a project of [`MANIFEST`] with some rows.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = Surroundings {
            folder: folder.path().to_owned(),
            environment: Environment::default(),
            catalog: KindCatalog::all(),
            worker: None,
        };
        let space = Self { folder, surroundings };
        space.write("pipeline.toml", MANIFEST);
        space.write("notes.jsonl", &rows(&["alpha", "beta", "gamma", "delta"]));
        space
    }

    /// Sets the environment's variables.
    pub(super) fn with_variables(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.surroundings.environment = Environment::of(owned);
        self
    }

    /// Returns the project's folder.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the project.
    pub(super) fn write(&self, name: &str, text: &str) {
        fs_err::write(self.path().join(name), text).unwrap();
    }

    /// Puts `new` in the place of `old` in a file of the project.
    #[track_caller]
    pub(super) fn edit(&self, name: &str, old: &str, new: &str) {
        let text = fs_err::read_to_string(self.path().join(name)).unwrap();
        assert!(text.contains(old), "`{old}` is not in {name}");
        self.write(name, &text.replace(old, new));
    }

    /// Runs the program.
    pub(super) fn run(&self, arguments: &[&str]) -> Said {
        let (mut output, out, err) = Output::captured();
        let arguments = std::iter::once("tunesmith").chain(arguments.iter().copied()).map(OsString::from);
        let exit = run(arguments, &self.surroundings, &mut output);
        drop(output);
        Said { exit, out: out.text(), err: err.text() }
    }

    /// Runs the program, which must end well.
    #[track_caller]
    pub(super) fn done(&self, arguments: &[&str]) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.exit, Exit::Done, "{arguments:?}: {}{}", said.out, said.err);
        said
    }

    /// Runs the program, which must refuse with `exit` and say `text`.
    #[track_caller]
    pub(super) fn refused(&self, arguments: &[&str], exit: Exit, text: &str) {
        let said = self.run(arguments);
        assert_eq!(said.exit, exit, "{arguments:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(text), "{}", said.err);
    }
}

impl Said {
    /// Returns the objects of `--json` with this name.
    pub(super) fn objects(&self, name: &str) -> Vec<Value> {
        let objects = self.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        objects.filter_map(|object| object.get(name).cloned()).collect()
    }

    /// Returns the one object of `--json` with this name.
    #[track_caller]
    pub(super) fn object(&self, name: &str) -> Value {
        let objects = self.objects(name);
        assert_eq!(objects.len(), 1, "{}", self.out);
        objects[0].clone()
    }
}

/// Returns rows in the form of ShareGPT, one for each word.
pub(super) fn rows(words: &[&str]) -> String {
    let row = |word: &&str| {
        let turns = serde_json::json!([
            {"from": "human", "value": format!("What does the word {word} stand for in this project?")},
            {"from": "gpt", "value": format!("In this project {word} stands for a node that runs only when it is stale, as all nodes do.")},
        ]);
        format!("{}\n", serde_json::json!({"id": word, "conversations": turns}))
    };
    words.iter().map(row).collect()
}
