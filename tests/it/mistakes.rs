//! What a user sees of each mistake in a manifest: `tests/mistakes/NAME.toml`, and beside it what the program says.
//!
//! A first line `# tunesmith ARGUMENTS` names the command; without it, it is `check`.

use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use crate::support::program::tunesmith;

/// Fewer than these would be a test of nothing.
const AT_LEAST: usize = 60;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes")
}

fn manifests() -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut manifests: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    manifests.sort();
    manifests
}

fn said_of(manifest: &str) -> String {
    let project = tempfile::tempdir().unwrap();
    fs_err::create_dir(project.path().join("docs")).unwrap();
    fs_err::write(project.path().join("docs/guide.md"), "# Guide\n\nHow it is done.\n").unwrap();
    for name in ["base.gguf", "rows.jsonl", "questions.toml"] {
        fs_err::write(project.path().join(name), "").unwrap();
    }
    fs_err::write(project.path().join("pipeline.toml"), manifest).unwrap();
    let command = manifest.lines().next().and_then(|line| line.strip_prefix("# tunesmith ")).unwrap_or("check");
    let ran = tunesmith(project.path(), &command.split(' ').collect::<Vec<_>>()).expect(2);
    assert_eq!(ran.out, "");
    ran.err
}

#[test]
fn each_mistake_is_met_with_what_where_why_and_what_to_do() {
    let manifests = manifests();
    assert!(manifests.len() >= AT_LEAST);
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(folder());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for manifest in &manifests {
            let name = manifest.file_stem().unwrap().to_str().unwrap();
            assert_snapshot!(name, said_of(&fs_err::read_to_string(manifest).unwrap()));
        }
    });
}
