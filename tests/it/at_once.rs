//! Two builds at the same time: in one tree, and in two clones that share a folder.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::count;
use crate::support::program::{program, tunesmith};
use crate::support::tiny::{outputs, project, undisturbed};

/// Rounds; and how many of them a long test makes.
const ROUNDS: (usize, usize) = (3, 50);

/// Adds nodes that write into `log` when they start and when they end.
fn with_log(folder: &Path, log: &Path, more: &str) {
    let path = folder.join("pipeline.toml");
    let mut manifest = fs_err::read_to_string(&path).unwrap();
    for node in ["one", "two"] {
        let say = |what: &str| format!("echo {what} {node} >> {}", log.display());
        manifest += &format!(
            "[filter.{node}]\ntype = \"command\"\nfrom = [\"pairs\"]\n\
             argv = [\"sh\", \"-c\", \"{}; sleep 0.05; echo {node} > out; {}\"]\noutputs.out.path = \"out\"\nout = \"{node}.txt\"\n",
            say("start"),
            say("end")
        );
    }
    fs_err::write(&path, manifest + more).unwrap();
}

fn start(folder: &Path) -> Child {
    program(folder).arg("build").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Builds in both folders at once.
#[track_caller]
fn build_both(one: &Path, other: &Path) {
    for child in [one, other].map(start) {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn in_one_tree_each_key_runs_once() {
    let expected = undisturbed();
    for round in 0..count(ROUNDS) {
        let space = project();
        let log = space.path().join("ran.log");
        with_log(space.path(), &log, "");
        build_both(space.path(), space.path());
        assert!(outputs(space.path()) == expected, "round {round}");
        let ran = fs_err::read_to_string(&log).unwrap();
        for node in ["one", "two"] {
            let lines: Vec<&str> = ran.lines().filter(|line| line.ends_with(node)).collect();
            assert_eq!(lines, [format!("start {node}"), format!("end {node}")], "round {round}: {ran}");
        }
        let after = tunesmith(space.path(), &["build"]).expect(0);
        assert!(after.err.contains("0 built"), "round {round}: {}", after.err);
    }
}

#[test]
fn in_two_clones_on_one_shared_folder_both_end_right() {
    let expected = undisturbed();
    for round in 0..count(ROUNDS) {
        let [one, other, shared] = [project(), project(), tempfile::tempdir().unwrap()];
        let log = shared.path().join("ran.log");
        let cache = format!("[cache]\nremote = \"{}\"\n", shared.path().join("store").display());
        fs_err::create_dir(shared.path().join("store")).unwrap();
        with_log(one.path(), &log, &cache);
        with_log(other.path(), &log, &cache);
        build_both(one.path(), other.path());
        assert!(outputs(one.path()) == expected && outputs(other.path()) == expected, "round {round}");
        let third = project();
        with_log(third.path(), &log, &cache);
        let after = tunesmith(third.path(), &["build"]).expect(0);
        assert!(after.err.contains("0 built"), "round {round}: {}", after.err);
        assert!(outputs(third.path()) == expected, "round {round}");
    }
}
