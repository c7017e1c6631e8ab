//! Nodes that change something outside the project.

use super::space::{Ask, Space, names};
use crate::engine::Planned;

const PUSH: &str = "[source.a]\ntype = \"text\"\npath = \"a.txt\"\n[export.live]\ntype = \"push\"\nfrom = [\"a\"]\n\
                    [export.other]\ntype = \"push\"\nfrom = [\"a\"]\nsuffix = \"other\"";

#[test]
fn an_effect_runs_only_when_asked_for_and_then_each_time() {
    let space = Space::new(PUSH);
    space.write("tree/a.txt", "a");
    let built = space.build();
    assert_eq!(space.ran(), names("a"));
    assert_eq!(built.nodes["live"], "not deployed");
    let held = space.plan(&Ask::default(), |_, plan| {
        assert!(plan.is_fresh());
        plan.nodes.iter().filter(|(_, planned)| matches!(planned, Planned::NotDeployed)).count()
    });
    assert_eq!(held, 2);
    for _ in 0..2 {
        space.build_with(&Ask { deploy: true, ..Ask::default() });
        assert_eq!(space.ran(), names("live other"));
        space.build_with(&Ask { targets: names("live"), ..Ask::default() });
        assert_eq!(space.ran(), names("live"));
    }
}

#[test]
fn an_effect_is_kept_in_no_store() {
    let shared = tempfile::tempdir().unwrap();
    let first = Space::sharing(PUSH, shared.path());
    first.write("tree/a.txt", "a");
    first.build_with(&Ask { deploy: true, ..Ask::default() });
    assert_eq!(first.ran(), names("a live other"));
    assert_eq!(first.store().stat().unwrap().actions, 1);
    let second = Space::sharing(PUSH, shared.path());
    second.write("tree/a.txt", "a");
    second.build_with(&Ask { deploy: true, ..Ask::default() });
    assert_eq!(second.ran(), names("live other"), "its effects reach its own targets");
}
