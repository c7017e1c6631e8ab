//! Sources that are pinned in the lock.

use super::space::{Ask, Space, names};
use crate::engine::{EngineError, Mode, Planned};

const FEEDS: &str = r#"
[source.z-news]
type = "feed"
path = "news"
[source.a-wiki]
type = "feed"
path = "wiki"
[filter.both]
type = "join"
from = ["z-news", "a-wiki"]
[profile.small]
"source.a-wiki.suffix" = "(small)"
"#;

fn feeds() -> Space {
    let space = Space::new(FEEDS);
    space.write("upstream/news", "old news");
    space.write("upstream/wiki", "old wiki");
    assert_eq!(space.runs(), names("a-wiki both z-news"));
    space
}

fn ask(mode: Mode) -> Ask {
    Ask { mode, ..Ask::default() }
}

#[test]
fn the_lock_is_sorted_has_no_times_and_gives_the_same_bytes_again() {
    let space = feeds();
    let lock = space.read("tree/pipeline.lock");
    let nodes: Vec<&str> = lock.lines().filter(|line| line.starts_with("[node.")).collect();
    assert_eq!(nodes, ["[node.a-wiki]", "[node.a-wiki.outputs.text]", "[node.z-news]", "[node.z-news.outputs.text]"]);
    let keys: Vec<&str> = lock.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
    assert!(keys.iter().all(|key| ["version", "kind", "settings", "digest", "size"].contains(key)), "{keys:?}");
    fs_err::remove_file(space.path("tree/pipeline.lock")).unwrap();
    fs_err::remove_dir_all(space.path("cache")).unwrap();
    assert_eq!(space.runs(), names("a-wiki both z-news"));
    assert_eq!(space.read("tree/pipeline.lock"), lock);
}

#[test]
fn a_build_stays_with_the_lock_until_it_is_asked_to_move() {
    let space = feeds();
    space.write("upstream/news", "new news");
    space.write("upstream/wiki", "new wiki");
    assert_eq!(space.runs(), names(""));
    space.notes();
    let mode = Mode { refresh: ["z-news".to_owned()].into(), ..Mode::default() };
    let built = space.build_with(&ask(mode));
    let notes = space.notes();
    assert!(notes.contains(&"z-news after old news".to_owned()), "the snapshot before is handed on: {notes:?}");
    assert_eq!(space.text_of(&built.known["both"]), "new newsold wiki");
    let built = space.build_with(&ask(Mode { refresh_all: true, ..Mode::default() }));
    assert_eq!(space.text_of(&built.known["both"]), "new newsnew wiki");
    assert_eq!(built.nodes["z-news"], "built, unchanged");
    space.ran();
    assert_eq!(space.runs(), names(""));
}

#[test]
fn an_older_lock_brings_the_older_model_back_without_running() {
    let space = feeds();
    let lock = space.read("tree/pipeline.lock");
    space.write("upstream/news", "new news");
    space.build_with(&ask(Mode { refresh_all: true, ..Mode::default() }));
    space.ran();
    space.write("tree/pipeline.lock", &lock);
    let built = space.build();
    assert_eq!(space.ran(), names(""));
    assert_eq!(space.text_of(&built.known["both"]), "old newsold wiki");
}

#[test]
fn locked_refuses_to_move_and_offline_to_fetch() {
    let space = feeds();
    let lock = space.read("tree/pipeline.lock");
    for mode in [Mode { locked: true, ..Mode::default() }, Mode { offline: true, ..Mode::default() }] {
        let code = if mode.locked { "engine::locked" } else { "engine::offline" };
        assert!(space.build_with(&ask(mode.clone())).errors.is_empty());
        space.edit("path = \"news\"", "path = \"news\"\nsuffix = \"?\"");
        let refused = space.plan(&ask(mode.clone()), |_, plan| {
            plan.nodes.iter().any(|(_, planned)| match planned {
                Planned::Refused(EngineError::Locked { node, .. } | EngineError::Offline { node, .. }) => {
                    node == "z-news"
                }
                _ => false,
            })
        });
        assert!(refused);
        let built = space.build_with(&ask(mode));
        assert_eq!(built.errors["z-news"].code.as_deref(), Some(code));
        space.edit("path = \"news\"\nsuffix = \"?\"", "path = \"news\"");
    }
    assert_eq!(space.ran(), names(""));
    assert_eq!(space.read("tree/pipeline.lock"), lock);
}

#[test]
fn a_policy_makes_a_source_move_when_it_is_due() {
    let space = feeds();
    space.edit("path = \"news\"", "path = \"news\"\nrefresh = \"24h\"");
    space.edit("path = \"wiki\"", "path = \"wiki\"\nrefresh = \"always\"");
    let day = 24 * 60 * 60;
    let at = |now| {
        space.build_with(&ask(Mode { now, ..Mode::default() }));
        space.ran()
    };
    assert_eq!(at(day - 1), names("a-wiki"), "a policy is in no key");
    assert_eq!(at(day), names("a-wiki z-news"));
    assert_eq!(at(2 * day - 1), names("a-wiki"));
    assert_eq!(at(9), names("a-wiki z-news"), "a clock that was set back makes it due, and not late by years");
    assert_eq!(at(day), names("a-wiki"));
    let held = Mode { now: 9 * day, locked: true, ..Mode::default() };
    assert!(space.build_with(&ask(held)).errors.is_empty());
    assert_eq!(space.ran(), names(""), "`--locked` moves nothing, however old");
}

#[test]
fn a_snapshot_that_is_in_no_store_is_fetched_again_or_refused() {
    let space = feeds();
    fs_err::remove_dir_all(space.path("cache")).unwrap();
    space.write("upstream/news", "new news");
    let mode = Mode { locked: true, ..Mode::default() };
    let built = space.build_with(&Ask { keep_going: true, ..ask(mode) });
    let message = &built.errors["z-news"].message;
    assert!(message.contains("is in no store"), "{message}");
    let built = space.build();
    assert_eq!(space.text_of(&built.known["both"]), "new newsold wiki");
}

#[test]
fn a_profile_has_a_lock_and_states_of_its_own() {
    let space = feeds();
    let lock = space.read("tree/pipeline.lock");
    let built = space.build_with(&Ask { profile: Some("small".into()), ..Ask::default() });
    assert_eq!(space.ran(), names("a-wiki both z-news"));
    assert_eq!(space.text_of(&built.known["both"]), "old newsold wiki(small)");
    assert_eq!(space.read("tree/pipeline.lock"), lock);
    assert!(space.read("tree/pipeline.small.lock").contains("[node.a-wiki]"));
    assert_eq!(space.runs(), names(""), "the nodes without the profile are as they were");
}

#[test]
fn a_forced_source_is_fetched_again() {
    let space = feeds();
    space.write("upstream/news", "new news");
    let mode = Mode { force: ["z-news".to_owned()].into(), ..Mode::default() };
    space.build_with(&ask(mode.clone()));
    assert_eq!(space.ran(), names("both z-news"));
    let built = space.build_with(&ask(Mode { locked: true, ..mode }));
    assert_eq!(built.errors["z-news"].code.as_deref(), Some("engine::locked"));
}

#[test]
fn from_goes_on_from_the_snapshot_that_was_built_last() {
    let space = feeds();
    space.edit("path = \"news\"", "path = \"news\"\nsuffix = \"?\"");
    let built = space.build_with(&Ask { from: names("both"), ..Ask::default() });
    assert_eq!(built.nodes["both"], "fresh", "{:?}", built.nodes);
    assert_eq!(space.ran(), names(""));
}

#[test]
fn builds_that_pin_different_sources_keep_each_others_pins() {
    let space = Space::new(FEEDS);
    space.write("upstream/news", "news");
    space.write("upstream/wiki", "wiki");
    space.control("z-news", "hold");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| space.build_with(&Ask { targets: names("z-news"), ..Ask::default() }));
        while !space.notes().contains(&"z-news".to_owned()) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        space.build_with(&Ask { targets: names("a-wiki"), ..Ask::default() });
        space.obey("z-news");
        first.join().unwrap();
    });
    space.notes();
    assert_eq!(space.runs(), names("both"));
}
