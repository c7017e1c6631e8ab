//! Manifests and data of somebody who means harm, or has no luck: refused in a few words, or taken for what they are.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::program::{Ran, tunesmith, write};

/// More than this of an error message helps nobody, in bytes.
const MOST_SAID: usize = 100_000;

/// Checks a manifest that must be refused.
#[track_caller]
fn refused(manifest: &str, why: &str) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("pipeline.toml", manifest)]);
    let ran = tunesmith(folder.path(), &["check"]).expect(2);
    assert!(ran.err.contains(why), "{}", &ran.err[..ran.err.len().min(2_000)]);
    assert!(ran.err.len() < MOST_SAID, "{} bytes", ran.err.len());
}

#[test]
fn manifests_without_end_are_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs_err::File::create(folder.path().join("pipeline.toml")).unwrap();
    file.set_len(1 << 30).unwrap();
    let ran = tunesmith(folder.path(), &["check"]).expect(2);
    assert!(ran.err.contains("more than 8388608"), "{}", ran.err);
    refused(&format!("schema = 1\n# {}", "x".repeat(9 << 20)), "more than 8388608");
}

#[test]
fn values_within_values_are_refused_where_they_get_too_deep() {
    refused(&format!("schema = 1\n[source.a]\ntype = \"command\"\nargv = {}", "[".repeat(100_000)), "TOML syntax");
    let brackets = format!("{}{}", "[".repeat(500), "]".repeat(500));
    refused(&format!("schema = 1\n[source.a]\ntype = \"command\"\nargv = {brackets}"), "recurs");
    let fewer = format!("{}{}", "[".repeat(60), "]".repeat(60));
    refused(&format!("schema = 1\n[source.a]\ntype = \"command\"\nargv = {fewer}"), "deep");
    let tables = format!("{}1{}", "{a = ".repeat(70), "}".repeat(70));
    refused(&format!("schema = 1\n[source.a]\ntype = \"command\"\nenv = {tables}"), "deep");
    refused(&format!("schema = 1\n[source.{}a]\ntype = \"command\"", "a.".repeat(50_000)), "too deeply");
}

#[test]
fn braces_of_every_sort_are_text_or_a_problem() {
    let texts = ["{", "}", "{{{{{{", "{}", "{.}", "{a.}", "{.b}", "{{a.b}}", "{a{b}.c}", "{\\u0000.x}", "{../x.y}"];
    let argv: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    let manifest = format!(
        "schema = 1\n[source.a]\ntype = \"command\"\nargv = [\"echo\", {}]\noutputs.o.path = \"o\"\n",
        argv.join(", ")
    );
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("pipeline.toml", &manifest)]);
    let ran = tunesmith(folder.path(), &["check"]);
    assert!([Some(0), Some(2)].contains(&ran.code), "{}", ran.err);
    let many = "{nobody.home}".repeat(100_000);
    refused(
        &format!("schema = 1\n[source.a]\ntype = \"command\"\nargv = [\"{many}\"]\noutputs.o.path = \"o\"\n"),
        "reads a field of unknown node `nobody`",
    );
}

#[test]
fn a_flood_of_mistakes_is_counted_and_its_first_ones_are_told() {
    let mut names = "schema = 1\n".to_owned();
    for number in 0..50_000 {
        writeln!(names, "[source.{}]\ntype = \"jsonl\"", format_args!("\"A {number}\"")).unwrap();
    }
    refused(&names, "the manifest has 50000 problems; the first 100 are shown");
    refused(&format!("schema = 1\n{}", "= = =\n".repeat(100_000)), "TOML syntax");
}

/// Addresses that a check of a flood may take, in KiB: those of the memory that it touches, some 200 MB, of what it never
/// does, and of lists that grow by moving.
const MOST_ADDRESSES: u32 = 600_000;

/// Checks a manifest that must be refused in little memory.
#[track_caller]
fn refused_in_little_memory(manifest: &str, why: &str) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("pipeline.toml", manifest)]);
    let ran: Ran = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MOST_ADDRESSES}; exec \"$0\" check"), env!("CARGO_BIN_EXE_tunesmith")])
        .current_dir(folder.path())
        .env_clear()
        .envs([("HOME", folder.path().as_os_str()), ("NO_COLOR", OsStr::new("1"))])
        // A thread of its own has addresses of its own.
        .envs([("RAYON_NUM_THREADS", "2"), ("MALLOC_ARENA_MAX", "1")])
        .output()
        .unwrap()
        .into();
    let ran = ran.expect(2);
    assert!(ran.err.contains(why), "{}", &ran.err[..ran.err.len().min(2_000)]);
    assert!(ran.err.len() < MOST_SAID, "{} bytes", ran.err.len());
}

/// Repeats a line with its number in the place of `#`.
fn lines(line: &str, count: usize) -> String {
    (0..count).map(|number| line.replace('#', &number.to_string())).collect()
}

#[test]
fn floods_of_tables_are_refused_in_little_memory() {
    let flood = |table: &str, count: usize, why: &str| {
        refused_in_little_memory(&format!("schema = 1\n{}", lines(table, count)), why);
    };
    flood("[source.\"A #\"]\n", 100_000, "100000 problems; the first 100 are shown");
    flood("[source.a#]\ntype = \"jsonl\"\npath = 1\n", 120_000, "120000 nodes, more than 100000");
    flood("[source.a#]\ntype = \"jsonl\"\npath = \"x#\"\n", 150_000, "more than 2500000");
    flood("[source.a#]\ntype = \"jsonl\"\npath = \"x#\"\n", 100_000, "at least 1001 problems");
}

#[test]
fn one_node_is_no_place_for_data() {
    let source = "schema = 1\n[source.a]\ntype = \"command\"\n";
    let names = lines("\"#\", ", 150_000);
    refused_in_little_memory(
        &format!("schema = 1\n[filter.a]\ntype = \"split\"\nfrom = [{names}]"),
        "more than 100000",
    );
    refused_in_little_memory(&format!("{source}argv = ['''{}''']", "x\n".repeat(4_000_000)), "more than 2097152");
    refused_in_little_memory(&format!("{source}{}", lines("k#.a = 1\n", 150_000)), "more than 10000");
    let tables = lines(&format!("[source.a#{}]\n", ".b".repeat(28)), 30_000);
    refused_in_little_memory(&format!("schema = 1\n{tables}"), "more than 600000");
}

#[test]
fn a_flood_of_problems_is_not_made_but_its_beginning() {
    let flood = |text: &str, count: usize| {
        refused_in_little_memory(&format!("schema = 1\n{}", lines(text, count)), "problems; the first 100 are shown");
    };
    flood("[source.a#]\ntype = \"jsonl\"\npath = 1\n", 100_000);
    flood("[source.a#]\ntype = \"jsonl\"\npath = \"x\"\nfoo = 1\nbar = 2\n", 80_000);
    flood("[source.a#]\ntype = \"jsonl\"\ntoken = \"open sesame\"\n", 80_000);
    flood("[source.a#]\ntype = \"jsonl\"\n[filter.a#]\ntype = \"split\"\n", 50_000);
    let globs = lines("\"*a#*[\", ", 90_000);
    let folder = format!("[source.a]\ntype = \"markdown\"\npath = \".\"\ninclude = [{globs}]\n");
    refused_in_little_memory(&format!("schema = 1\n{folder}"), "is not a glob");
}

#[test]
fn the_beginning_of_an_endless_loop_is_told() {
    let mut nodes = "schema = 1\n".to_owned();
    for number in 0..100_000 {
        let before = (number + 99_999) % 100_000;
        writeln!(nodes, "[filter.n{number}]\ntype = \"dedup\"\nfrom = [\"n{before}\"]").unwrap();
    }
    refused_in_little_memory(&nodes, "(99968 more)");
}

#[test]
fn a_matrix_does_not_repeat_long_settings() {
    let words = lines("\"word #\", ", 10_000);
    let values = lines("#, ", 1_000);
    let manifest =
        format!("schema = 1\n[source.a]\ntype = \"command\"\nargv = [{words}]\nmatrix = {{ x = [{values}] }}");
    refused_in_little_memory(&manifest, "bytes of settings");
}

fn builds(folder: &Path) -> Ran {
    let ran = tunesmith(folder, &["build"]);
    assert!(!ran.err.contains("bug"), "{}", ran.err);
    ran
}

#[test]
fn record_ids_are_text_and_never_paths_or_lines() {
    let ids = ["../../etc/passwd", "/etc/passwd", "a\\nb", "a\\tb", "\\u0000", "\\u001b[31m", "", " ", "\\u202e"];
    let mut lines = String::new();
    for (number, id) in ids.iter().map(|id| (*id).to_owned()).chain(["x".repeat(1 << 20)]).enumerate() {
        writeln!(
            lines,
            "{{\"conversations\":[{{\"from\":\"human\",\"value\":\"question {number}\"}},\
             {{\"from\":\"gpt\",\"value\":\"answer {number}\"}}],\"source\":\"{id}\",\"id\":\"{id}\"}}"
        )
        .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let manifest = "schema = 1\n[source.rows]\ntype = \"jsonl\"\npath = \"rows.jsonl\"\n\
                    [filter.dataset]\ntype = \"split\"\nfrom = [\"rows\"]\neval = 0.0\nout = \"out.jsonl\"\n";
    write(folder.path(), &[("pipeline.toml", manifest), ("rows.jsonl", &lines)]);
    builds(folder.path()).expect(0);
    let out = fs_err::read_to_string(folder.path().join("out.jsonl")).unwrap();
    assert_eq!(out.lines().count(), ids.len() + 1, "a record is a line");
    for line in out.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let shown = tunesmith(folder.path(), &["show", "dataset", "--rows", "20"]).expect(0);
    assert!(!shown.out.contains(['\u{1b}', '\0']), "{:?}", &shown.out[..500]);
}

#[test]
fn names_of_files_are_names_whatever_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let docs = folder.path().join("docs");
    fs_err::create_dir(&docs).unwrap();
    let names: [&[u8]; 7] =
        [b"a\nb.md", b"\x1b[31mred.md", b"..md", b" .md", b"-rf.md", b"{model.digest}.md", "\u{202e}dm.md".as_bytes()];
    for name in names {
        fs_err::write(docs.join(OsStr::from_bytes(name)), "# Title\n\nSome words of this document.\n").unwrap();
    }
    let manifest = "schema = 1\n[source.docs]\ntype = \"markdown\"\npath = \"docs\"\n";
    write(folder.path(), &[("pipeline.toml", manifest)]);
    builds(folder.path()).expect(0);
    let shown = tunesmith(folder.path(), &["show", "docs", "--rows", "20"]).expect(0);
    assert!(!shown.out.contains('\u{1b}'), "{:?}", shown.out);
    // What is no Unicode has no name that a record could carry.
    fs_err::write(docs.join(OsStr::from_bytes(b"\xff.md")), "# Title\n\nMore words.\n").unwrap();
    let ran = builds(folder.path()).expect(1);
    assert!(ran.err.contains("UTF-8") && !ran.err.contains('\u{1b}'), "{}", ran.err);
}

#[test]
fn a_folder_that_leads_into_itself_is_walked_once() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("pipeline.toml", "schema = 1\n[source.docs]\ntype = \"markdown\"\npath = \"docs\"\n"),
            ("docs/deep/a.md", "# Title\n\nSome words of this document.\n"),
        ],
    );
    fs_err::os::unix::fs::symlink("..", folder.path().join("docs/deep/again")).unwrap();
    let ran = builds(folder.path());
    assert!([Some(0), Some(1)].contains(&ran.code), "{}", ran.err);
}

#[test]
fn an_out_whose_folder_was_swapped_for_a_link_is_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let manifest = "schema = 1\n[source.rows]\ntype = \"jsonl\"\npath = \"rows.jsonl\"\n\
                    [filter.dataset]\ntype = \"split\"\nfrom = [\"rows\"]\neval = 0.0\nout = \"data/deep/out.jsonl\"\n";
    write(folder.path(), &[("pipeline.toml", manifest), ("rows.jsonl", "{\"instruction\":\"q\",\"output\":\"a\"}\n")]);
    builds(folder.path()).expect(0);
    fs_err::remove_dir_all(folder.path().join("data")).unwrap();
    fs_err::create_dir(outside.path().join("deep")).unwrap();
    fs_err::os::unix::fs::symlink(outside.path(), folder.path().join("data")).unwrap();
    let ran = builds(folder.path()).expect(1);
    assert!(ran.err.contains("leads out of the project") || ran.err.contains("out_outside"), "{}", ran.err);
    assert_eq!(fs_err::read_dir(outside.path().join("deep")).unwrap().count(), 0);
}
