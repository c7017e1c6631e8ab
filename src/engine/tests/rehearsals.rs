//! What follows from a long run is tried before it, and nothing of that is left.

use super::space::{Ask, Built, Space, names};
use crate::engine::Said;
use crate::node::FailureClass;

const LINE: &str = "[source.a]\ntype = \"text\"\npath = \"a.txt\"\n[source.b]\ntype = \"text\"\npath = \"b.txt\"\n\
    [train.brew]\ntype = \"brew\"\nfrom = [\"a\"]\n\
    [filter.after]\ntype = \"join\"\nfrom = [\"brew\", \"b\"]\nout = \"deep/after.txt\"\n\
    [filter.vary]\ntype = \"vary\"\nfrom = [\"after\"]\n[filter.last]\ntype = \"join\"\nfrom = [\"vary\"]\n\
    [export.live]\ntype = \"push\"\nfrom = [\"after\"]\n";

fn space(seconds: u64) -> Space {
    let space = Space::new(LINE);
    space.write("tree/a.txt", "a");
    space.write("tree/b.txt", "b");
    space.build_with(&Ask { targets: names("a b"), ..Ask::default() });
    space.notes();
    space.control("brew-seconds", &seconds.to_string());
    space
}

/// Returns what was rehearsed since the last look, with the number of inputs, and whether anything else ran.
fn rehearsed(space: &Space) -> (Vec<String>, bool) {
    let notes = space.notes();
    let rehearsed: Vec<String> = notes
        .iter()
        .filter_map(|line| line.split_once(" rehearsed on "))
        .map(|(node, count)| format!("{node} {count}"))
        .collect();
    (rehearsed, notes.iter().any(|line| !line.contains(' ')))
}

fn told(built: &Built) -> Vec<&str> {
    let text = |(node, said): &'_ (String, Said)| node == "brew" && matches!(said, Said::Note { .. });
    let notes = built.said.iter().filter(|said| text(said));
    notes.map(|(_, said)| if let Said::Note { text } = said { text.as_str() } else { "" }).collect()
}

fn deploying() -> Ask {
    Ask { deploy: true, ..Ask::default() }
}

#[test]
fn what_would_fail_is_found_before_the_long_run_and_leaves_nothing() {
    let space = space(601);
    let before = space.store().stat().unwrap();
    space.control("after", "fail");
    let built = space.build();
    assert_eq!(
        rehearsed(&space),
        (names("brew after").iter().zip(["1", "2"]).map(|(a, b)| format!("{a} {b}")).collect(), false)
    );
    let error = &built.errors["brew"];
    assert_eq!(error.code.as_deref(), Some("engine::rehearsal_failed"));
    assert_eq!(error.message, "in the rehearsal of what follows, `after` (filter.join) failed: `fail` was asked for");
    let help = error.help.as_deref().unwrap();
    assert!(help.starts_with("take the control file away; ") && help.contains("`[run.node.brew]`"), "{help}");
    assert_eq!(space.store().stat().unwrap(), before, "nothing is in the store");
    assert!(!space.path("tree/deep").exists());
    assert_eq!(fs_err::read_dir(space.path("cache/scratch")).unwrap().count(), 0);
}

#[test]
fn a_rehearsal_that_passed_is_not_done_again_but_for_effects() {
    let space = space(601);
    let built = space.build();
    assert_eq!(rehearsed(&space), (vec!["brew 1".into(), "after 2".into(), "live 1".into()], true));
    assert!(
        told(&built)[0].starts_with("rehearsed what follows: `after` 0.0 s (2 bytes) · `live` "),
        "{:?}",
        told(&built)
    );
    assert_eq!((space.read("tree/deep/after.txt"), &*built.nodes["live"]), ("ab".into(), "not deployed"));

    space.write("tree/b.txt", "bb");
    space.build();
    assert_eq!(rehearsed(&space), (Vec::new(), true), "the long run is fresh");
    // Its input is no record set here, so another text is another base.
    space.edit("from = [\"a\"]", "from = [\"a\"]\nsuffix = \"!\"");
    space.build();
    assert_eq!(rehearsed(&space).0, ["brew 1", "after 2", "live 1"], "other settings");
    let forced = space.build_with(&Ask {
        mode: crate::engine::Mode { force: ["brew".into()].into(), ..Default::default() },
        ..Ask::default()
    });
    assert_eq!(rehearsed(&space).0, ["live 0"], "only what may have gone since is looked at");
    assert!(told(&forced)[0].starts_with("rehearsed what follows: passed before "), "{:?}", told(&forced));
}

#[test]
fn short_runs_pay_nothing_unless_they_are_asked_to_and_long_ones_may_refuse() {
    let space = space(600);
    space.build();
    assert_eq!(rehearsed(&space), (Vec::new(), true));
    let force =
        || Ask { mode: crate::engine::Mode { force: ["brew".into()].into(), ..Default::default() }, ..Ask::default() };
    space.edit("schema = 1", "schema = 1\n[run]\nrehearse = true");
    space.build_with(&force());
    assert_eq!(rehearsed(&space).0.len(), 3);
    space.control("brew-seconds", "100000");
    space.edit("rehearse = true", "rehearse = true\n[run.node.brew]\nrehearse = false");
    space.edit("from = [\"a\"]", "from = [\"a\"]\nsuffix = \"!\"");
    space.build_with(&force());
    assert_eq!(rehearsed(&space), (Vec::new(), true));
}

#[test]
fn what_was_not_asked_for_is_warned_of_and_stops_nothing() {
    let space = space(601);
    space.control("live", "fail");
    let built = space.build();
    assert!(built.errors.is_empty(), "{:?}", built.errors);
    assert_eq!(built.warnings(), ["`live` would fail: `fail` was asked for; take the control file away"]);
    rehearsed(&space);
    space.edit("from = [\"a\"]", "from = [\"a\"]\nsuffix = \"!\"");
    let stopped = space.build_with(&deploying());
    assert!(stopped.errors["brew"].message.contains("`live` (export.push) failed"), "{:?}", stopped.errors);
    assert_eq!(rehearsed(&space), (vec!["brew 1".into(), "after 2".into(), "live 1".into()], false));

    space.obey("live");
    space.control("after", "fail");
    let alone = space.build_with(&Ask { targets: names("brew"), ..Ask::default() });
    assert!(alone.errors.is_empty() && alone.warnings()[0].starts_with("`after` would fail"), "{:?}", alone.said);
}

#[test]
fn what_reads_something_that_is_not_there_is_left_out_and_told() {
    let space = Space::new(LINE);
    space.write("tree/a.txt", "a");
    space.control("brew-seconds", "601");
    let built = space.build_with(&Ask { targets: names("brew"), ..Ask::default() });
    assert!(built.errors.is_empty(), "{:?}", built.errors);
    assert_eq!(rehearsed(&space), (Vec::new(), true));
    assert_eq!(
        told(&built),
        [
            "rehearsed what follows: not `after`, which reads `b`, which is not built · not `live`, which reads `after`, which is not built"
        ]
    );
}

#[test]
fn an_out_that_cannot_be_written_is_found() {
    let space = space(601);
    space.write("tree/deep", "a file in the place of a folder");
    let error = space.build().errors.remove("brew").unwrap();
    assert!(
        error.message.contains("`after` (filter.join) failed: `out = \"deep/after.txt\"` cannot be written"),
        "{error:?}"
    );
    assert!(!error.causes.is_empty());
    assert!(!rehearsed(&space).1);
}

#[test]
fn a_plan_says_what_the_build_does() {
    let space = space(601);
    let decided = |seconds: u64| {
        space.with(&Ask::default(), |resolver, _, _| {
            let cost = crate::node::Cost { seconds, memory: 0, note: String::new() };
            let brew = resolver.graph.find("brew").unwrap();
            let after = resolver.graph.find("after").unwrap();
            assert!(!resolver.is_rehearsed(after, Some(&cost)).unwrap());
            resolver.is_rehearsed(brew, Some(&cost)).unwrap()
        })
    };
    assert_eq!([decided(600), decided(601)], [false, true]);
}

#[test]
fn a_forecast_that_panics_fails_its_node_and_not_the_build() {
    let space = space(1);
    space.control("brew-seconds", "no number");
    let built = space.build();
    assert_eq!(built.errors["brew"].class, FailureClass::Bug);
    assert!(built.errors["brew"].message.contains("its run panicked: a number of seconds"), "{:?}", built.errors);
    assert_eq!(rehearsed(&space), (Vec::new(), false));
}
