//! Builds of the part that a change reaches, beside builds of everything.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::Exit;
use super::super::testing::{Said, Space, rows};

/// Chains of two nodes; 300 nodes are enough for the short way.
const CHAINS: usize = 150;

fn chain(number: usize) -> String {
    format!(
        "\n[source.s{number}]\ntype = \"jsonl\"\npath = \"s{number}.jsonl\"\n\
         \n[filter.t{number}]\ntype = \"split\"\nfrom = [\"s{number}\"]\nout = \"out/t{number}.jsonl\"\neval = 0.5\n"
    )
}

/// A project in which nothing is left to do, and whose answer is kept.
fn settled(more: &str) -> Space {
    let space = Space::new();
    let mut manifest = format!("schema = 1\n{more}");
    for number in 0..CHAINS {
        write!(manifest, "{}", chain(number)).unwrap();
        let words = ["alpha", "beta", "gamma"].map(|word| format!("{word}-{number}"));
        space.write(&format!("s{number}.jsonl"), &rows(&words.each_ref().map(String::as_str)));
    }
    space.write("pipeline.toml", &manifest);
    space.done(&["build"]);
    std::thread::sleep(Duration::from_millis(40));
    assert!(space.done(&["build"]).err.starts_with("0 built, "));
    assert!(space.path().join("cache/settled").exists());
    space
}

fn summary(said: &Said) -> &str {
    let line = said.err.lines().find(|line| line.contains(" built, ")).unwrap_or_default();
    line.split(" in ").next().unwrap_or_default()
}

/// How many nodes the last build looked at.
fn looked_at(space: &Space) -> usize {
    space.done(&["log", "--json"]).object("log")["nodes"].as_array().map_or(0, Vec::len)
}

#[test]
fn an_edit_reads_its_own_chain_and_the_result_is_that_of_a_whole_build() {
    let space = settled("");
    space.write("s7.jsonl", &rows(&["alpha", "delta", "epsilon"]));
    let said = space.done(&["build"]);
    assert_eq!(summary(&said), "2 built, 298 fresh", "{}", said.err);
    assert_eq!(looked_at(&space), 2);
    let short = fs_err::read(space.path().join("out/t7.jsonl")).unwrap();
    std::thread::sleep(Duration::from_millis(40));
    assert_eq!(summary(&space.done(&["build"])), "0 built, 300 fresh");
    assert_eq!(space.done(&["plan"]).out, "nothing to do: 300 fresh\n");
    fs_err::remove_dir_all(space.path().join("cache")).unwrap();
    fs_err::remove_dir_all(space.path().join("out")).unwrap();
    space.done(&["build"]);
    assert_eq!(fs_err::read(space.path().join("out/t7.jsonl")).unwrap(), short);
}

#[test]
fn each_edit_of_several_counts() {
    let space = settled("");
    for (round, number) in [(1, 3), (2, 149), (3, 3)] {
        space.write(&format!("s{number}.jsonl"), &rows(&["alpha", &format!("round-{round}")]));
        assert_eq!(summary(&space.done(&["build"])), "2 built, 298 fresh", "round {round}");
    }
    space.write("s0.jsonl", &rows(&["zeta"]));
    space.write("s1.jsonl", &rows(&["eta"]));
    assert_eq!(summary(&space.done(&["build"])), "4 built, 296 fresh");
}

#[test]
fn an_edited_out_a_deleted_out_and_a_missing_file_are_seen() {
    let space = settled("");
    space.write("out/t5.jsonl", "mine\n");
    let said = space.run(&["build"]);
    assert_eq!(said.exit, Exit::Failed);
    assert!(said.err.contains("was edited since it was written"), "{}", said.err);
    let space = settled("");
    fs_err::remove_file(space.path().join("out/t5.jsonl")).unwrap();
    space.done(&["build"]);
    assert!(space.path().join("out/t5.jsonl").exists());
    fs_err::remove_file(space.path().join("s5.jsonl")).unwrap();
    space.refused(&["build"], Exit::Failed, "s5.jsonl");
    space.refused(&["build"], Exit::Failed, "s5.jsonl");
    space.write("s5.jsonl", &rows(&["back"]));
    assert!(summary(&space.done(&["build"])).starts_with("2 built, "));
}

#[test]
fn a_new_file_below_a_glob_is_seen_now_and_later() {
    let space = settled("[source.docs]\ntype = \"markdown\"\npath = \"docs\"\noptional = true\n");
    fs_err::create_dir_all(space.path().join("docs")).unwrap();
    space.write("docs/a.md", "# A\n\nThe first text of the folder.\n");
    assert_eq!(summary(&space.done(&["build"])), "1 built, 300 fresh");
    std::thread::sleep(Duration::from_millis(40));
    space.done(&["build"]);
    space.write("docs/b.md", "# B\n\nThe second text of the folder.\n");
    assert_eq!(summary(&space.done(&["build"])), "1 built, 300 fresh");
    space.write("docs/b.md", "# B\n\nThe second text, edited.\n");
    assert_eq!(summary(&space.done(&["build"])), "1 built, 300 fresh");
}

#[test]
fn what_reads_several_chains_is_built_with_all_that_it_reads() {
    let space = settled("[filter.all]\ntype = \"split\"\nfrom = [\"s1\", \"s2\"]\n");
    space.write("s1.jsonl", &rows(&["other"]));
    assert_eq!(summary(&space.done(&["build"])), "3 built, 298 fresh");
    assert_eq!(looked_at(&space), 4);
}

#[test]
fn explain_reads_a_part_and_says_what_it_says_of_the_whole() {
    let space = settled("[run.node.t3]\nretries = 1\n");
    let short = space.done(&["explain", "t3"]);
    assert!(short.out.ends_with(", built by run 1\n"), "{}", short.out);
    space.write("s3.jsonl", &rows(&["alpha", "beta-3"]));
    let edited = space.done(&["explain", "s3"]);
    let before = space.done(&["explain", "t9"]);
    fs_err::remove_file(space.path().join("cache/settled")).unwrap();
    assert_eq!(space.done(&["explain", "s3"]).out, edited.out);
    assert_eq!(space.done(&["explain", "t9"]).out, before.out);
    assert!(edited.out.contains("s3.jsonl changed"), "{}", edited.out);
}

#[test]
fn damaged_notes_lead_to_a_whole_build() {
    let space = settled("");
    let path = space.path().join("cache/settled");
    let mut bytes = fs_err::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::write(&path, &bytes).unwrap();
    space.write("s7.jsonl", &rows(&["delta"]));
    assert_eq!(summary(&space.done(&["build"])), "2 built, 298 fresh");
    assert_eq!(looked_at(&space), 300);
}
