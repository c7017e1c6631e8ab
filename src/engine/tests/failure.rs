//! What happens when nodes fail.

use std::time::Duration;

use super::space::{Ask, Space, names};
use crate::engine::Said;
use crate::node::FailureClass;

/// `bad` fails beside `good`; `after` needs both, `other` neither.
fn space() -> Space {
    let space = Space::new(
        r#"
[run]
retries = 1
[source.bad]
type = "text"
path = "bad.txt"
[filter.after]
type = "join"
from = ["bad", "good"]
[filter.last]
type = "join"
from = ["after"]
[source.good]
type = "text"
path = "good.txt"
[filter.other]
type = "join"
from = ["good"]
suffix = "other"
"#,
    );
    space.write("tree/bad.txt", "bad");
    space.write("tree/good.txt", "good");
    space
}

#[test]
fn after_a_failure_what_runs_ends_and_nothing_new_starts() {
    let space = space();
    space.control("bad", "fail");
    space.control("good", "hold");
    let built = std::thread::scope(|scope| {
        let build = scope.spawn(|| space.build());
        while !space.notes().contains(&"bad".to_owned()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // The failure is taken in while `good` still runs.
        std::thread::sleep(Duration::from_millis(100));
        space.obey("good");
        build.join().unwrap()
    });
    assert_eq!(built.nodes["bad"], "failed: `fail` was asked for");
    assert_eq!(built.errors["bad"].class, FailureClass::Permanent);
    assert_eq!(built.nodes["good"], "built");
    assert_eq!([&built.nodes["after"], &built.nodes["last"], &built.nodes["other"]], ["not reached"; 3]);
}

#[test]
fn with_keep_going_all_is_built_that_does_not_need_the_failed_node() {
    let space = space();
    space.control("bad", "fail");
    let built = space.build_with(&Ask { keep_going: true, ..Ask::default() });
    assert_eq!(built.nodes["other"], "built");
    assert_eq!([&built.nodes["after"], &built.nodes["last"]], ["skipped for bad"; 2]);
    space.obey("bad");
    space.ran();
    assert_eq!(space.runs(), names("after bad last"));
}

#[test]
fn a_gate_that_is_not_met_holds_what_names_it_and_nothing_else() {
    let space = Space::new(
        r#"
[source.a]
type = "text"
path = "a.txt"
[eval.ship]
type = "gate"
require = ["a.length >= 3"]
[export.live]
type = "push"
from = ["a"]
gate = "ship"
[filter.other]
type = "join"
from = ["a"]
"#,
    );
    space.write("tree/a.txt", "a");
    let ask = Ask { deploy: true, ..Ask::default() };
    let built = space.build_with(&ask);
    assert_eq!(built.errors["ship"].class, FailureClass::GateNotMet);
    assert_eq!(built.nodes["live"], "skipped for ship");
    assert_eq!(built.nodes["other"], "built");
    space.write("tree/a.txt", "long enough");
    assert_eq!(space.build_with(&ask).nodes["live"], "built");
}

#[test]
fn a_transient_failure_is_tried_again_and_counted() {
    let space = space();
    space.control("bad", "busy");
    let built = space.build();
    assert_eq!(built.nodes["bad"], "built");
    assert_eq!(space.ran(), names("after bad bad good last other"));
    let attempts: Vec<u32> = built
        .said
        .iter()
        .filter_map(|(_, said)| match said {
            Said::Retry { attempt, error } => {
                assert_eq!(error.class, FailureClass::Transient);
                Some(*attempt)
            }
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [2]);
}

#[test]
fn retries_end_and_a_permanent_failure_has_none() {
    let space = space();
    space.edit("retries = 1", "retries = 0");
    space.control("bad", "busy");
    assert_eq!(space.build().errors["bad"].class, FailureClass::Transient);
    space.control("bad", "fail");
    space.ran();
    space.edit("retries = 0", "retries = 3");
    space.build_with(&Ask { targets: names("bad"), ..Ask::default() });
    assert_eq!(space.ran(), names("bad"));
}

#[test]
fn a_run_past_its_timeout_is_ended() {
    let space = space();
    space.edit("retries = 1", "retries = 0\n[run.node.bad]\ntimeout = \"100ms\"");
    space.control("bad", "wait");
    let built = space.build();
    assert_eq!(built.nodes["bad"], "failed: it ran longer than its timeout of 100ms");
    assert_eq!(built.errors["bad"].code.as_deref(), Some("engine::timeout"));
}

#[test]
fn a_cancelled_build_leaves_no_result_of_what_ran() {
    let space = space();
    space.control("bad", "wait");
    let ask = Ask { targets: names("after"), ..Ask::default() };
    let built = std::thread::scope(|scope| {
        let cancel = std::sync::Arc::clone(&ask.cancel);
        let build = scope.spawn(|| space.build_with(&ask));
        while !space.notes().contains(&"bad".to_owned()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        cancel.cancel();
        build.join().unwrap()
    });
    assert_eq!(built.errors["bad"].class, FailureClass::Cancelled);
    assert_eq!(built.nodes["after"], "not reached");
    assert_eq!(fs_err::read_dir(space.path("cache/scratch")).unwrap().count(), 0);
    space.obey("bad");
    assert!(space.runs().contains(&"bad".to_owned()));
}

#[test]
fn a_panic_in_a_kind_is_a_failed_node_and_a_bug() {
    let space = space();
    space.control("bad", "panic");
    let built = space.build_with(&Ask { keep_going: true, ..Ask::default() });
    assert_eq!(built.errors["bad"].class, FailureClass::Bug);
    assert!(built.nodes["bad"].ends_with("its run panicked: a kind of the tests panics"), "{:?}", built.nodes);
    assert_eq!(built.nodes["other"], "built");
}

#[test]
fn outputs_that_a_kind_does_not_declare_are_refused_and_not_kept() {
    let space = space();
    space.control("bad", "wrong-outputs");
    let built = space.build_with(&Ask { keep_going: true, ..Ask::default() });
    assert_eq!(built.errors["bad"].class, FailureClass::Bug);
    assert_eq!(built.errors["bad"].code.as_deref(), Some("engine::wrong_outputs"));
    assert_eq!(built.nodes["other"], "built");
    space.obey("bad");
    space.ran();
    assert_eq!(space.runs(), names("after bad last"));
}

#[test]
fn a_file_that_is_gone_fails_its_node_and_not_the_build() {
    let space = space();
    fs_err::remove_file(space.path("tree/bad.txt")).unwrap();
    let built = space.build_with(&Ask { keep_going: true, ..Ask::default() });
    assert_eq!(built.errors["bad"].code.as_deref(), Some("engine::missing_file"));
    assert_eq!(built.nodes["other"], "built");
    fs_err::create_dir(space.path("tree/bad.txt")).unwrap();
    let built = space.build_with(&Ask { keep_going: true, ..Ask::default() });
    assert_eq!(built.errors["bad"].code.as_deref(), Some("store::not_a_file"));
    assert_eq!(built.nodes["other"], "fresh");
}
