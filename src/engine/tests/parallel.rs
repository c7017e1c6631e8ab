//! Two builds at once in one tree.

use std::time::Duration;

use super::space::{Space, names};

#[test]
fn two_builds_at_once_run_each_key_once() {
    let space = Space::new(
        r#"
[source.a]
type = "text"
path = "a.txt"
out = "a.out"
[source.news]
type = "feed"
path = "news"
[train.x]
type = "brew"
from = ["a", "news"]
[filter.y]
type = "join"
from = ["x"]
out = "y.out"
"#,
    );
    space.write("tree/a.txt", "a");
    space.write("upstream/news", "news");
    space.control("a", "hold");
    space.control("news", "hold");
    let [one, two] = std::thread::scope(|scope| {
        let builds = [(), ()].map(|()| scope.spawn(|| space.build()));
        while space.notes().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Long enough for the second build to come to the same keys.
        std::thread::sleep(Duration::from_millis(200));
        space.obey("a");
        space.obey("news");
        builds.map(|build| build.join().unwrap())
    });
    assert_eq!(one.known, two.known);
    assert!(one.errors.is_empty() && two.errors.is_empty(), "{:?} {:?}", one.errors, two.errors);
    let log = space.read("runs.log");
    let mut ran: Vec<String> = log.lines().filter(|line| !line.contains(' ')).map(str::to_owned).collect();
    ran.sort();
    assert_eq!(ran, names("a news x y"));
    assert_eq!(space.read("tree/y.out"), "anews");
}
