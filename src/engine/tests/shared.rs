//! The shared folder: what one clone built, another one need not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::space::{Space, names};

const PIPELINE: &str = r#"
[source.docs]
type = "jsonl"
path = "docs.jsonl"
as = "documents"
[source.news]
type = "feed"
path = "news"
[filter.pairs]
type = "conversations"
from = ["docs"]
out = "rows.jsonl"
[filter.parts]
type = "join"
from = ["news"]
folder = true
[train.brew]
type = "brew"
from = ["parts"]
out = "model.bin"
"#;

fn clone(remote: &Path) -> Space {
    let space = Space::sharing(PIPELINE, remote);
    let text = "# Title\\n\\nA long enough text about the thing that it describes. ".repeat(10);
    space.write("tree/docs.jsonl", &format!("{{\"repo\":\"o/r\",\"path\":\"a.md\",\"content\":\"{text}\"}}\n"));
    space
}

#[test]
fn a_second_clone_runs_nothing_also_when_the_first_is_gone() {
    let shared = tempfile::tempdir().unwrap();
    let first = clone(shared.path());
    first.write("upstream/news", "news");
    let one = first.build();
    assert_eq!(first.ran(), names("brew news parts"));
    let (rows, model) = (first.read("tree/rows.jsonl"), first.read("tree/model.bin"));
    let lock = first.read("tree/pipeline.lock");
    drop(first);
    let second = clone(shared.path());
    second.write("tree/pipeline.lock", &lock);
    let two = second.build();
    assert!(two.nodes.values().all(|outcome| outcome == "fresh"), "{:?}", two.nodes);
    assert_eq!(one.known, two.known);
    assert_eq!((second.read("tree/rows.jsonl"), second.read("tree/model.bin")), (rows, model));
    assert_eq!(second.ran(), names(""));
}

#[test]
fn everybody_may_read_and_add_whatever_the_umask_of_who_came_first() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs_err::create_dir(&shared).unwrap();
    fs_err::set_permissions(&shared, std::fs::Permissions::from_mode(0o2770)).unwrap();
    let first = clone(&shared);
    first.write("upstream/news", "news");
    first.build();
    let mut files = 0;
    for entry in walkdir::WalkDir::new(&shared).min_depth(1) {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        let right = if entry.file_type().is_dir() { 0o2770 } else { 0o444 };
        assert_eq!(mode, right, "{}: {mode:o}", entry.path().display());
        files += usize::from(entry.file_type().is_file());
    }
    assert!(files > 6, "{files}");
}

#[test]
fn a_shared_folder_that_cannot_be_written_is_a_warning() {
    let shared = tempfile::tempdir().unwrap();
    let first = clone(shared.path());
    first.write("upstream/news", "news");
    first.build();
    // Plain files where folders belong stop even a user whom no permission stops.
    for folder in ["objects", "actions"] {
        fs_err::remove_dir_all(shared.path().join(folder)).unwrap();
        fs_err::create_dir(shared.path().join(folder)).unwrap();
        for prefix in 0..=255 {
            fs_err::write(shared.path().join(format!("{folder}/{prefix:02x}")), "").unwrap();
        }
        fs_err::set_permissions(shared.path().join(folder), std::fs::Permissions::from_mode(0o555)).unwrap();
    }
    let second = clone(shared.path());
    second.write("upstream/news", "news");
    let built = second.build();
    assert!(built.errors.is_empty(), "{:?}", built.errors);
    assert_eq!(second.read("tree/model.bin"), "a.txt=newsdeep/b.txt=news");
    let warnings = built.warnings();
    let said = warnings.iter().filter(|text| text.contains("cannot be written")).count();
    assert_eq!(said, 1, "{warnings:?}");
    second.ran();
    assert_eq!(second.runs(), names(""));
}

#[test]
fn a_record_of_the_shared_folder_that_cannot_be_read_is_no_hit_and_is_replaced() {
    let shared = tempfile::tempdir().unwrap();
    let first = clone(shared.path());
    first.write("upstream/news", "news");
    first.build();
    for entry in walkdir::WalkDir::new(shared.path().join("actions")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            fs_err::remove_file(entry.path()).unwrap();
            fs_err::write(entry.path(), "{\"expl").unwrap();
        }
    }
    let second = clone(shared.path());
    second.write("upstream/news", "news");
    assert_eq!(second.runs(), names("brew news parts"));
    let third = clone(shared.path());
    third.write("tree/pipeline.lock", &second.read("tree/pipeline.lock"));
    assert_eq!(third.runs(), names(""));
}
