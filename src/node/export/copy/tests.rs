//! `export.copy` to folders of a test.

use super::*;
use crate::node::InputRole;
use crate::node::bench::Bench;

fn deploy(bench: &Bench, settings: &Value, artifact: Artifact) -> Result<Outcome, NodeError> {
    let settings = ExportCopy.canonical(settings).unwrap();
    let input = bench.input(InputRole::From, "gguf", "gguf", Some(artifact), json!({}));
    bench.run(&ExportCopy, &settings, vec![input], &[])
}

#[test]
fn a_file_is_written_once_and_replaced_when_it_is_ours() {
    let bench = Bench::new();
    let file = |text: &str| Artifact::File(bench.store.put_file_bytes(text.as_bytes()).unwrap());
    let settings = json!({"to": "models/expert.gguf"});
    let error = deploy(&bench, &settings, file("one")).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("copy::no_folder"));
    fs_err::create_dir(bench.folder().join("models")).unwrap();
    let path = bench.folder().join("models/expert.gguf");
    let text = || fs_err::read_to_string(&path).unwrap();
    for (content, written) in [("one", 1), ("one", 0), ("two", 1)] {
        let outcome = deploy(&bench, &settings, file(content)).unwrap();
        assert_eq!(outcome.report[0].count, written);
        assert_eq!(text(), content);
    }
    fs_err::write(&path, "theirs").unwrap();
    let error = deploy(&bench, &settings, file("three")).unwrap_err();
    assert_eq!((error.code.as_deref(), text().as_str()), (Some("copy::not_ours"), "theirs"));
    deploy(&bench, &json!({"to": "models/expert.gguf", "overwrite": true}), file("three")).unwrap();
    assert_eq!(text(), "three");
}

fn look(bench: &Bench, settings: &Value, inputs: Vec<JobInput>) -> Result<Outcome, NodeError> {
    let settings = ExportCopy.canonical(settings).unwrap();
    bench.with_run(&ExportCopy, &settings, inputs, &[], |run| ExportCopy.rehearse(run))
}

#[test]
fn a_look_finds_what_would_fail_and_writes_nothing() {
    let bench = Bench::new();
    let input = |text: &str| {
        let file = Artifact::File(bench.store.put_file_bytes(text.as_bytes()).unwrap());
        vec![bench.input(InputRole::From, "gguf", "gguf", Some(file), json!({}))]
    };
    let settings = json!({"to": "models/expert.gguf"});
    let code = |inputs| look(&bench, &settings, inputs).unwrap_err().code;
    assert_eq!(code(input("one")).as_deref(), Some("copy::no_folder"));
    assert_eq!(code(Vec::new()).as_deref(), Some("copy::no_folder"));
    let folder = bench.folder().join("models");
    fs_err::create_dir(&folder).unwrap();
    let files = || fs_err::read_dir(&folder).unwrap().count();
    let seen = look(&bench, &settings, input("one")).unwrap();
    assert_eq!((seen.report[0].count, files()), (1, 0));
    assert_eq!(look(&bench, &settings, Vec::new()).unwrap().fields["path"], "models/expert.gguf");
    bench.run(&ExportCopy, &ExportCopy.canonical(&settings).unwrap(), input("one"), &[]).unwrap();
    assert_eq!(look(&bench, &settings, input("one")).unwrap().report[0].count, 0, "it is there");
    assert_eq!(look(&bench, &settings, input("two")).unwrap().report[0].count, 1, "it is ours");
    fs_err::write(folder.join("expert.gguf"), "theirs").unwrap();
    assert_eq!(code(input("one")).as_deref(), Some("copy::not_ours"));
}

#[test]
fn a_disk_that_is_too_full_is_told_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place { path: folder.path().join("a"), folder: folder.path().to_owned() };
    place.has_room(1).unwrap();
    let error = place.has_room(u64::MAX).unwrap_err().to_string();
    assert!(error.contains("and the copy has 18446744073709551615"), "{error}");
}

#[test]
fn a_folder_is_copied_by_its_files() {
    let bench = Bench::new();
    let file = |text: &str| bench.store.put_file_bytes(text.as_bytes()).unwrap();
    let files = BTreeMap::from([("a.json".to_owned(), file("a")), ("sub/b.bin".to_owned(), file("b"))]);
    let outcome = deploy(&bench, &json!({"to": "adapter"}), Artifact::Folder { files }).unwrap();
    assert_eq!(outcome.report[0].count, 2);
    assert_eq!(fs_err::read_to_string(bench.folder().join("adapter/sub/b.bin")).unwrap(), "b");
}

#[test]
fn a_path_without_a_name_is_refused() {
    let problem = ExportCopy.canonical(&json!({"to": "/srv/.."})).unwrap_err().remove(0);
    assert_eq!(problem.message, "`to` ends with no name");
}
