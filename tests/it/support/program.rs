//! The real program in a process of its own, with an environment of its own.

use std::path::Path;
use std::process::{Command, Output};

/// What a run of the program came to.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Returns the run when it ended with `code`, and shows all that it wrote otherwise.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "standard output:\n{}\nstandard error:\n{}", self.out, self.err);
        self
    }

    /// Returns the JSON objects of standard output.
    #[cfg(feature = "llama")]
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs `tunesmith` in `folder`.
pub(crate) fn tunesmith(folder: &Path, args: &[&str]) -> Ran {
    program(folder).args(args).output().unwrap().into()
}

/// Returns `tunesmith` about to run in `folder`.
pub(crate) fn program(folder: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tunesmith"));
    program.current_dir(folder).env_clear().env("PATH", path()).env("HOME", folder).env("NO_COLOR", "1");
    program
}

#[expect(clippy::disallowed_methods, reason = "programs that nodes call are found by the path of the test's own run")]
fn path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// Returns a text without line ends and the frame of messages.
#[cfg(feature = "llama")]
pub(crate) fn flat(text: &str) -> String {
    text.split_whitespace().filter(|word| !["│", "╰─▶", "├─▶"].contains(word)).collect::<Vec<_>>().join(" ")
}

/// Presses Ctrl-C for a process.
#[cfg(feature = "llama")]
pub(crate) fn interrupt(process: u32) {
    assert!(Command::new("kill").args(["-INT", &process.to_string()]).status().unwrap().success());
}

/// Writes files below `folder`.
pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
}
