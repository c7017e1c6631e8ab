//! What runs again, and what does not.

use super::kinds::KINDS;
use super::space::{Ask, Space, names};
use crate::engine::KindCatalog;
use crate::node::{self, Kind, KindInfo};

const CHAIN: &str = r#"
[source.a]
type = "text"
path = "a.txt"
[source.b]
type = "text"
path = "b.txt"
[filter.both]
type = "join"
from = ["a", "b"]
[filter.only-a]
type = "join"
from = ["a"]
[train.last]
type = "brew"
from = ["both"]
suffix = "!"
"#;

fn chain() -> Space {
    let space = Space::new(CHAIN);
    space.write("tree/a.txt", "a");
    space.write("tree/b.txt", "b");
    assert_eq!(space.runs(), names("a b both last only-a"));
    space
}

#[test]
fn a_second_build_runs_nothing_and_an_edit_only_what_depends_on_it() {
    let space = chain();
    assert_eq!(space.runs(), names(""));
    space.write("tree/b.txt", "B");
    let built = space.build();
    assert_eq!(space.ran(), names("b both last"));
    assert_eq!(space.text_of(&built.known["last"]), "aB!");
    assert_eq!(built.reasons()["b"], "file path b.txt changed");
    assert_eq!(built.reasons()["last"], "input `both` changed");
}

#[test]
fn a_node_that_gives_the_same_bytes_stops_the_change() {
    let space = chain();
    space.write("tree/a.txt", "a  \n");
    let built = space.build();
    assert_eq!(space.ran(), names("a"));
    assert_eq!(built.nodes["a"], "built, unchanged");
    assert_eq!(built.nodes["both"], "fresh");
}

#[test]
fn settings_put_back_restore_the_earlier_result_and_become_what_the_next_reason_starts_from() {
    let space = chain();
    space.edit("suffix = \"!\"", "suffix = \"?\"");
    assert_eq!(space.runs(), names("last"));
    space.edit("suffix = \"?\"", "suffix = \"!\"");
    let built = space.build();
    assert_eq!(space.ran(), names(""));
    assert_eq!(space.text_of(&built.known["last"]), "ab!");
    space.edit("suffix = \"!\"", "suffix = \"…\"");
    assert_eq!(space.build().reasons()["last"], "suffix: \"!\" → \"…\"");
}

#[test]
fn a_renamed_node_runs_nothing_after_it() {
    let space = chain();
    space.edit("[source.a]", "[source.alpha]");
    space.edit("\"a\"", "\"alpha\"");
    assert_eq!(space.runs(), names(""));
}

#[test]
fn what_says_how_to_build_is_in_no_key() {
    let space = chain();
    space.edit("path = \"a.txt\"", "path = \"moved.txt\"\nnote = \"a token\"\nout = \"copy/a.txt\"");
    fs_err::rename(space.path("tree/a.txt"), space.path("tree/a.txt.old")).unwrap();
    // The name of a file is in the key where it may shape bytes; here it is the same file elsewhere.
    space.edit("moved.txt", "moved/a.txt");
    space.write("tree/moved/a.txt", "a");
    space.edit(
        "schema = 1",
        "schema = 1\n[run]\njobs = 1\nkeep-going = true\nretries = 5\ntimeout = \"1h\"\nthreads = 1\nmemory = \"1 GiB\"\ndevice = \"cuda:1\"\nrehearse = true\n\
         [run.node.both]\nthreads = 3\nretries = 0",
    );
    assert_eq!(space.runs(), names(""));
    assert_eq!(space.read("tree/copy/a.txt"), "a");
}

#[test]
fn the_common_keys_of_nodes_are_settings_of_no_kind() {
    for kind in node::kinds() {
        let schema = kind.schema();
        let properties: Vec<&str> =
            schema["properties"].as_object().map(|all| all.keys().map(String::as_str).collect()).unwrap_or_default();
        let name = kind.info().full_name();
        for key in ["type", "from", "out", "gate", "refresh", "matrix"] {
            assert!(!properties.contains(&key), "`{key}` of `{name}` would enter its key");
        }
        for key in kind.outside_key() {
            let (table, _) = key.split_once('.').unwrap_or((key, ""));
            assert!(properties.contains(&table), "`{key}` stays out of the key of `{name}`, which has no such setting");
        }
        for key in ["token", "optional", "device", "threads", "memory", "jobs", "timeout", "retries"] {
            assert!(
                !properties.contains(&key) || kind.outside_key().contains(&key),
                "`{key}` is in the key of `{name}`"
            );
        }
    }
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let catalog = KindCatalog::of(node::kinds().into_iter().chain(KINDS.iter().copied()));
    let mut seen: Vec<String> = catalog.kinds().map(Kind::info).map(KindInfo::full_name).collect();
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn a_field_that_is_read_is_in_the_key_and_other_fields_are_not() {
    let space = Space::new(
        "[source.a]\ntype = \"text\"\npath = \"a.txt\"\n[source.b]\ntype = \"text\"\npath = \"b.txt\"\n\
         [filter.told]\ntype = \"join\"\nfrom = [\"b\"]\nsuffix = \"{a.length}\"",
    );
    space.write("tree/a.txt", "xyz");
    space.write("tree/b.txt", "b");
    let built = space.build();
    assert_eq!(space.text_of(&built.known["told"]), "b3");
    space.ran();
    space.write("tree/a.txt", "abc");
    assert_eq!(space.runs(), names("a"), "as long as before");
    space.write("tree/a.txt", "abcd");
    assert_eq!(space.runs(), names("a told"));
}

#[test]
fn a_forced_node_runs_and_what_follows_does_not_when_its_bytes_are_the_same() {
    let space = chain();
    let mut ask = Ask::default();
    ask.mode.force.insert("both".into());
    let built = space.build_with(&ask);
    assert_eq!(space.ran(), names("both"));
    assert_eq!((built.nodes["both"].as_str(), built.nodes["last"].as_str()), ("built, unchanged", "fresh"));
}

#[test]
fn the_first_result_of_a_key_stays_and_another_one_is_reported() {
    let space = Space::new(
        "[source.a]\ntype = \"text\"\npath = \"a.txt\"\n[filter.judge]\ntype = \"vary\"\nfrom = [\"a\"]\n\
         [filter.after]\ntype = \"join\"\nfrom = [\"judge\"]",
    );
    space.write("tree/a.txt", "a");
    space.control("judge", "vary");
    let first = space.build();
    space.ran();
    let mut ask = Ask::default();
    ask.mode.force.insert("judge".into());
    let second = space.build_with(&ask);
    assert_eq!(space.ran(), names("judge"));
    assert_eq!(first.known["judge"].outputs, second.known["judge"].outputs);
    assert_eq!(second.nodes["after"], "fresh");
    assert!(second.warnings()[0].contains("other bytes than the stored result"), "{:?}", second.warnings());
}

#[test]
fn from_takes_what_is_before_it_as_it_was_built_last() {
    let space = chain();
    space.write("tree/a.txt", "new");
    space.edit("suffix = \"!\"", "suffix = \"?\"");
    let built = space.build_with(&Ask { from: names("last"), ..Ask::default() });
    assert_eq!(space.ran(), names("last"));
    assert_eq!(space.text_of(&built.known["last"]), "ab?");
}

#[test]
fn a_result_of_a_file_that_changed_during_the_run_is_not_kept() {
    let space = chain();
    space.write("tree/a.txt", "new");
    space.control("a", "edit");
    let built = space.build();
    assert_eq!(built.errors["a"].code.as_deref(), Some("store::file_changed"));
    space.obey("a");
    space.ran();
    let built = space.build();
    assert_eq!(space.ran(), names("a both last only-a"));
    assert_eq!(space.text_of(&built.known["only-a"]), "edited while it ran");
    space.write("tree/a.txt", "new");
    assert_eq!(space.runs(), names("a both last only-a"), "the first content has no result");
}

#[test]
fn two_nodes_of_one_key_run_once() {
    let space = Space::new(
        "[source.a]\ntype = \"text\"\npath = \"a.txt\"\n[filter.x]\ntype = \"join\"\nfrom = [\"a\"]\n\
         [filter.y]\ntype = \"join\"\nfrom = [\"a\"]",
    );
    space.write("tree/a.txt", "a");
    let built = space.build();
    assert_eq!(space.ran().len(), 2);
    assert_eq!(built.known["x"], built.known["y"]);
}

#[test]
fn heavy_nodes_run_one_at_a_time_and_a_fresh_one_needs_no_turn() {
    let space = Space::new(
        "[source.a]\ntype = \"text\"\npath = \"a.txt\"\n[train.x]\ntype = \"brew\"\nfrom = [\"a\"]\nsuffix = \"x\"\n\
         [train.y]\ntype = \"brew\"\nfrom = [\"a\"]\nsuffix = \"y\"\n[train.z]\ntype = \"brew\"\nfrom = [\"x\", \"y\"]",
    );
    space.write("tree/a.txt", "a");
    let built = space.build();
    assert_eq!(space.text_of(&built.known["z"]), "axay");
    let notes = space.notes();
    assert_eq!(notes[2..], ["x", "x ended", "y", "y ended", "z", "z ended"].map(str::to_owned));
    space.edit("suffix = \"x\"", "suffix = \"X\"");
    assert_eq!(space.runs(), names("x z"));
}
