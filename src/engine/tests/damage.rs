//! Bytes and records that are missing or damaged: never a wrong result, and a build that ends well.

use std::path::PathBuf;

use super::space::{Ask, Space, names};
use crate::engine::Mode;
use crate::store::Artifact;

const CHAIN: &str = r#"
[source.a]
type = "text"
path = "a.txt"
[filter.middle]
type = "join"
from = ["a"]
suffix = "-middle"
[filter.one]
type = "join"
from = ["middle"]
suffix = "1"
[filter.two]
type = "join"
from = ["middle"]
suffix = "2"
"#;

fn chain() -> (Space, PathBuf) {
    let space = Space::new(CHAIN);
    space.write("tree/a.txt", "a");
    let built = space.build();
    space.ran();
    let path = object(&space, &built.known["middle"].outputs["text"]);
    (space, path)
}

fn object(space: &Space, artifact: &Artifact) -> PathBuf {
    let Artifact::File(file) = artifact else { panic!("{artifact:?}") };
    space.store().path(file).unwrap()
}

/// Replaces a file by one of the same size.
fn damage(path: &std::path::Path) {
    let mut bytes = fs_err::read(path).unwrap();
    bytes[0] ^= 1;
    fs_err::remove_file(path).unwrap();
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn a_missing_object_makes_its_producer_run_again() {
    let (space, object) = chain();
    fs_err::remove_file(object).unwrap();
    assert_eq!(space.runs(), names("middle"));
    assert_eq!(space.runs(), names(""));
}

#[test]
fn a_damaged_object_is_found_by_its_readers_and_made_again_once() {
    let (space, object) = chain();
    damage(&object);
    space.edit("suffix = \"1\"", "suffix = \"one\"");
    space.edit("suffix = \"2\"", "suffix = \"two\"");
    let built = space.build();
    assert!(built.errors.is_empty(), "{:?}", built.errors);
    let texts = ["one", "two"].map(|node| space.text_of(&built.known[node]));
    assert_eq!(texts, ["a-middleone", "a-middletwo"]);
    let ran = space.ran();
    assert_eq!(ran.iter().filter(|node| *node == "middle").count(), 1, "{ran:?}");
    assert!(!ran.contains(&"a".to_owned()));
    assert_eq!(space.runs(), names(""));
}

#[test]
fn damage_all_the_way_up_is_mended_all_the_way_up() {
    let (space, middle) = chain();
    let source = space.with(&Ask::default(), |resolver, _, _| {
        let known = resolver.last_built(resolver.graph.find("a").unwrap()).unwrap().unwrap();
        object(&space, &known.outputs["text"])
    });
    damage(&middle);
    damage(&source);
    space.edit("suffix = \"1\"", "suffix = \"one\"");
    let built = space.build();
    assert_eq!(space.text_of(&built.known["one"]), "a-middleone");
    assert!(built.errors.is_empty(), "{:?}", built.errors);
}

#[test]
fn a_damaged_object_behind_an_out_is_made_again() {
    let (space, object) = chain();
    space.edit("suffix = \"-middle\"", "suffix = \"-middle\"\nout = \"middle.txt\"");
    damage(&object);
    let built = space.build();
    assert!(built.errors.is_empty(), "{:?}", built.errors);
    assert_eq!(space.read("tree/middle.txt"), "a-middle");
    assert_eq!(space.ran(), names("middle"));
}

#[test]
fn a_damaged_object_that_the_shared_folder_has_is_fetched_and_runs_nothing_more() {
    let shared = tempfile::tempdir().unwrap();
    let space = Space::sharing(CHAIN, shared.path());
    space.write("tree/a.txt", "a");
    let built = space.build();
    space.ran();
    let artifact = &built.known["middle"].outputs["text"];
    damage(&object(&space, artifact));
    space.edit("suffix = \"1\"", "suffix = \"one\"");
    let built = space.build();
    assert!(built.errors.is_empty(), "{:?}", built.errors);
    let ran = space.ran();
    assert!(ran.iter().all(|node| node == "one"), "{ran:?}");
    // Damaged in both: it is made again, and put right in both.
    let local = object(&space, artifact);
    let name = local.strip_prefix(space.path("cache")).unwrap();
    damage(&local);
    damage(&shared.path().join(name));
    space.edit("suffix = \"one\"", "suffix = \"ONE\"");
    let built = space.build();
    assert_eq!(space.text_of(&built.known["one"]), "a-middleONE");
    assert!(space.ran().contains(&"middle".to_owned()));
    assert_eq!(fs_err::read_to_string(shared.path().join(name)).unwrap(), "a-middle");
}

#[test]
fn a_pinned_snapshot_that_is_damaged_is_fetched_again_or_refused() {
    let space =
        Space::new("[source.news]\ntype = \"feed\"\npath = \"news\"\n[filter.x]\ntype = \"join\"\nfrom = [\"news\"]");
    space.write("upstream/news", "news");
    let built = space.build();
    let artifact = &built.known["news"].outputs["text"];
    damage(&object(&space, artifact));
    space.edit("from = [\"news\"]", "from = [\"news\"]\nsuffix = \"!\"");
    let locked = Ask { mode: Mode { locked: true, ..Mode::default() }, ..Ask::default() };
    let refused = space.build_with(&locked);
    assert_eq!(refused.errors["news"].code.as_deref(), Some("engine::locked"));
    let built = space.build();
    assert_eq!(space.text_of(&built.known["x"]), "news!");
}

#[test]
fn damaged_chunks_of_record_sets_are_mended() {
    let space = Space::new(
        "[source.rows]\ntype = \"jsonl\"\npath = \"rows.jsonl\"\nas = \"documents\"\n\
         [filter.pairs]\ntype = \"conversations\"\nfrom = [\"rows\"]\nout = \"rows.out\"",
    );
    let document = |n: u32| {
        let text = format!("# Title {n}\\n\\n{}", "A sentence that says something about it. ".repeat(20));
        format!("{{\"repo\":\"o/r\",\"path\":\"docs/{n}.md\",\"content\":\"{text}\"}}\n")
    };
    space.write("tree/rows.jsonl", &(0..500).map(document).collect::<String>());
    let built = space.build();
    assert!(built.errors.is_empty(), "{:?}", built.errors);
    let before = space.read("tree/rows.out");
    let connection = rusqlite::Connection::open(space.path("cache/index.sqlite")).unwrap();
    // All but the roots: those are found missing before anything runs.
    let damaged = connection.execute("UPDATE object SET bytes = x'00' WHERE length(bytes) > 2000", []).unwrap();
    assert!(damaged > 1, "{damaged}");
    fs_err::remove_file(space.path("tree/rows.out")).unwrap();
    let built = space.build();
    assert!(built.errors.is_empty(), "{:?}", built.errors);
    assert_eq!(space.read("tree/rows.out"), before);
}

#[test]
fn records_that_cannot_be_read_are_no_hit_and_are_replaced() {
    let (space, _) = chain();
    for garbage in ["", "{\"explained\":[[\"kind\"", "null"] {
        let connection = rusqlite::Connection::open(space.path("cache/index.sqlite")).unwrap();
        connection.execute("UPDATE action SET record = ?", [garbage]).unwrap();
        connection.execute("UPDATE state SET value = ?", [garbage]).unwrap();
        // As any other writer: what the last build looked up counts for nothing now.
        connection.execute("UPDATE meta SET writes = writes + 1", []).unwrap();
        drop(connection);
        assert_eq!(space.runs(), names("a middle one two"));
        assert_eq!(space.runs(), names(""));
    }
}

#[test]
fn a_record_whose_bytes_are_gone_gives_way_to_another_result() {
    let space =
        Space::new("[source.a]\ntype = \"text\"\npath = \"a.txt\"\n[filter.judge]\ntype = \"vary\"\nfrom = [\"a\"]");
    space.write("tree/a.txt", "a");
    space.control("judge", "vary");
    let built = space.build();
    fs_err::remove_file(object(&space, &built.known["judge"].outputs["text"])).unwrap();
    space.ran();
    assert_eq!(space.runs(), names("judge"));
    assert_eq!(space.runs(), names(""), "the other bytes are the result now");
}

#[test]
fn what_the_last_build_looked_up_is_never_taken_for_more_than_it_is() {
    let (space, _) = chain();
    assert_eq!(space.runs(), names(""));
    let warm = space.path("cache/warm");
    let whole = fs_err::read(&warm).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() - 1], &whole[..7], b""] {
        fs_err::write(&warm, bytes).unwrap();
        assert_eq!(space.runs(), names(""));
        assert!(fs_err::read(&warm).unwrap() != bytes, "it is written anew");
    }
    // A store that was made again beside it holds nothing of what it says.
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        fs_err::remove_file(space.path("cache").join(name)).ok();
    }
    assert_eq!(space.runs(), names("a middle one two"));
}
