//! `tunesmith purge` and `tunesmith lineage` over a source that is pinned in the lock.

use serde_json::json;

use crate::support::fake_github::FakeGithub;
use crate::support::program::{tunesmith, write};

#[test]
fn an_excluded_issue_is_in_no_output_and_stays_out_when_it_is_edited_upstream() {
    let github = FakeGithub::start();
    let answer =
        "Restart it by draining it first, and then delete its pod: the controller makes a new one within a minute.";
    github.change(|world| {
        for number in 1..=3 {
            let title = format!("How is part {number} restarted?");
            world.issue(number, number as u32, json!({"title": title, "body": "It said nothing. ".repeat(8)}));
            world.comment(10 + number, number, 10, json!({"body": format!("{answer} That is for part {number}.")}));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "schema = 1\n[source.issues]\ntype = \"github-issues\"\nrepos = [\"o/r\"]\napi = \"{}\"\nout = \"issues.jsonl\"\n\
         [filter.pairs]\ntype = \"conversations\"\nfrom = [\"issues\"]\nout = \"pairs.jsonl\"\n",
        github.address
    );
    write(folder.path(), &[("pipeline.toml", &manifest)]);
    let outputs = || {
        let read = |name: &str| fs_err::read_to_string(folder.path().join(name)).unwrap();
        read("issues.jsonl") + &read("pairs.jsonl")
    };
    tunesmith(folder.path(), &["build"]).expect(0);
    let lock = fs_err::read_to_string(folder.path().join("pipeline.lock")).unwrap();
    github.log();
    let back = tunesmith(folder.path(), &["lineage", "o/r#2:answer"]).expect(0).out;
    assert!(back.contains("issue in issues, https://github.com/o/r/issues/2\n    comment 12 by helper, "), "{back}");

    tunesmith(folder.path(), &["purge", "o/r#2"]).expect(0);
    let built = tunesmith(folder.path(), &["build"]).expect(0).err;
    assert!(built.contains("1 built, 1 fresh"), "{built}");
    assert!(github.log().is_empty(), "nothing is fetched for that");
    assert_eq!(fs_err::read_to_string(folder.path().join("pipeline.lock")).unwrap(), lock);
    let text = outputs();
    assert!(!text.contains("part 2") && text.contains("part 1") && text.contains("part 3"), "{text}");

    github.change(|world| world.comment(20, 2, 30, json!({"body": format!("{answer} And this is for part 2, too.")})));
    tunesmith(folder.path(), &["build", "--refresh=issues"]).expect(0);
    assert!(github.log().iter().all(|path| path.contains("since=")));
    assert!(!outputs().contains("part 2"), "{}", outputs());
    tunesmith(folder.path(), &["verify", "pairs"]).expect(0);

    tunesmith(folder.path(), &["purge", "o/r#2", "--undo"]).expect(0);
    tunesmith(folder.path(), &["build", "--offline"]).expect(0);
    assert!(outputs().contains("part 2, too"));
}
