//! What the scripts before tunesmith had fetched begins the first snapshot.

use std::io::Write as _;

use serde_json::{Value, json};
use tunesmith::node::JobFile;
use tunesmith::store::Digest;

use super::Project;
use crate::support::fake_github::{FakeGithub, time};
use crate::support::program::{tunesmith, write};

/// Twenty issues with two comments each, at distinct times.
fn world() -> FakeGithub {
    let github = FakeGithub::start();
    github.change(|world| {
        world.page = Some(100);
        for number in 1..=20 {
            world.issue(number, number as u32, json!({"created_at": time(number as u32)}));
            world.comment(100 + 2 * number, number, 100 + 2 * number as u32, json!({}));
            world.comment(101 + 2 * number, number, 101 + 2 * number as u32, json!({}));
        }
    });
    github
}

/// Writes an issue as `fetch_issues.py` did, with the comments that it had by then.
fn line(number: u64, comments: &[u64]) -> String {
    let comments: Vec<Value> = comments
        .iter()
        .map(|id| json!({"author": "helper", "body": format!("comment {id}"), "created_at": time(*id as u32)}))
        .collect();
    let issue = json!({
        "repo": "o/r", "number": number, "title": format!("title {number}"), "body": format!("body {number}"),
        "state": "open", "labels": ["bug"], "author": "asker", "created_at": time(number as u32), "closed_at": null,
        "comments": comments,
    });
    format!("{issue}\n")
}

fn whole_line(number: u64) -> String {
    line(number, &[100 + 2 * number, 101 + 2 * number])
}

/// Returns a project whose first snapshot begins with these lines; the file's folder lives as long.
fn seeded(github: FakeGithub, kind: &'static str, lines: impl AsRef<[u8]>) -> (Project, tempfile::TempDir) {
    let lines = lines.as_ref();
    let mut project = Project::of(kind, github, json!({"seed": "raw.jsonl"}));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.jsonl");
    fs_err::write(&path, lines).unwrap();
    project.bench.files = vec![JobFile {
        setting: "seed".into(),
        name: "raw.jsonl".into(),
        path,
        digest: Digest::of(lines),
        size: lines.len() as u64,
    }];
    (project, folder)
}

/// Returns the bodies of an issue's comments.
fn bodies(project: &Project, number: u64) -> Vec<String> {
    project.issue(number).unwrap().comments.into_iter().map(|comment| comment.body).collect()
}

#[test]
fn what_the_file_has_is_listed_and_not_fetched_again() {
    let lines: String = (1..=20).map(whole_line).collect();
    let (mut project, _folder) = seeded(world(), "github-issues", &lines);
    project.fetch();
    let log = project.github.log();
    assert_eq!(log.len(), 2, "{log:#?}");
    assert!(log[0].starts_with("/repos/o/r/issues?") && !log[0].contains("since="), "{log:#?}");
    // The newest time in the file is the one of the last comment.
    assert!(log[1].contains(&format!("since={}", time(141))), "{log:#?}");
    assert_eq!(bodies(&project, 7), ["comment 114", "comment 115"]);
    let seventh = project.issue(7).unwrap();
    assert_eq!(seventh.updated_at, Some(time(115)));
    assert_eq!(seventh.author.association.as_deref(), Some("NONE"));
    assert!(seventh.url.is_some());
    // From here on it is a snapshot like any other.
    project.bench.files.clear();
    project.github.change(|world| world.comment(300, 7, 300, json!({})));
    project.fetch();
    assert_eq!(bodies(&project, 7), ["comment 114", "comment 115", "comment 300"]);
    assert!(project.github.log().iter().all(|path| path.contains("since=")));
}

/// Packs bytes as `gzip` does.
fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Zstandard's own form of bytes that are not packed, up to 128 KiB.
fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    let block = (bytes.len() as u32) << 3 | 1;
    [&[0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38], &block.to_le_bytes()[..3], bytes].concat()
}

#[test]
fn a_packed_file_is_unpacked_and_a_bomb_or_half_a_file_is_refused() {
    let lines: String = (1..=20).map(whole_line).collect();
    for packed in [gzipped(lines.as_bytes()), zstd_of(lines.as_bytes())] {
        let (mut project, _folder) = seeded(world(), "github-issues", packed);
        project.fetch();
        assert_eq!(project.github.log().len(), 2);
        assert_eq!(bodies(&project, 7), ["comment 114", "comment 115"]);
    }
    let whole = gzipped(lines.as_bytes());
    for (code, file) in
        [("source::bomb", gzipped(&vec![b' '; 100 << 20])), ("source::packed", whole[..whole.len() - 9].to_vec())]
    {
        let (mut project, _folder) = seeded(world(), "github-issues", file);
        let error = project.try_fetch().unwrap_err();
        assert_eq!(error.code.as_deref(), Some(code), "{error:?}");
        assert!(error.message.contains("raw.jsonl"), "{error:?}");
        assert!(project.github.log().is_empty());
    }
}

#[test]
fn what_changed_since_and_what_the_file_lacks_is_fetched() {
    let mut lines: String = (1..=20).filter(|number| *number != 5).map(whole_line).collect();
    // The scripts saved an issue whose comments could not be fetched without any, and tore the last line.
    lines = lines.replace(&whole_line(9), &line(9, &[]));
    lines.push_str("{\"repo\": \"o/r\", \"number\": 5, \"ti");
    let github = world();
    github.change(|world| {
        world.comment(110, 5, 110, json!({"body": "edited"}));
        world.comment(400, 3, 400, json!({}));
        world.issue(4, 401, json!({"state": "closed", "created_at": time(4)}));
        world.issue(21, 402, json!({}));
        world.delete_issue(20);
    });
    let (mut project, _folder) = seeded(github, "github-issues", &lines);
    project.fetch();
    assert_eq!(bodies(&project, 3), ["comment 106", "comment 107", "comment 400"]);
    assert_eq!(project.issue(4).unwrap().state, "closed");
    assert_eq!(bodies(&project, 5), ["edited", "comment 111"]);
    assert_eq!(bodies(&project, 9), ["comment 118", "comment 119"]);
    assert!(project.issue(21).is_some());
    assert!(project.issue(20).is_none(), "what is gone upstream is gone");
    let said = project.bench.said();
    assert!(said.iter().any(|said| said.contains("1 lines that are no issues")), "{said:?}");
}

#[test]
fn pull_requests_begin_with_a_file_too() {
    let github = FakeGithub::start();
    github.change(|world| {
        world.page = Some(100);
        for number in 1..=3 {
            let merged = json!({"pull_request": {"merged_at": time(10)}, "created_at": time(1)});
            world.issue(number, 10, merged);
            world.comment(20 + number, number, 20 + number as u32, json!({}));
        }
        world.repo("o/r").review(40, 1, 40, json!({}));
        world.comment(50, 2, 50, json!({}));
    });
    let pull = |number: u64| {
        let id = 20 + number;
        json!({
            "repo": "o/r", "number": number, "title": "t", "body": "b", "merged_at": time(10), "author": "asker",
            "labels": [], "comments": [{"author": "helper", "body": format!("comment {id}"), "created_at": time(id as u32)}],
            "review_threads": [[{"author": "reviewer", "body": "review 40", "created_at": time(40)}]],
        })
    };
    let lines = [1, 2, 3].map(|number| format!("{}\n", pull(number))).concat();
    let (mut project, _folder) = seeded(github, "github-pulls", &lines);
    project.fetch();
    assert_eq!(bodies(&project, 1), ["comment 21"]);
    assert_eq!(project.issue(1).unwrap().reviews.len(), 1);
    assert_eq!(bodies(&project, 2), ["comment 22", "comment 50"]);
    assert_eq!(project.issue(3).unwrap().title, "title 3");
    let log = project.github.log();
    assert!(log.len() <= 5, "{log:#?}");
}

#[test]
fn a_seed_that_is_not_there_is_named_and_after_the_first_snapshot_not_missed() {
    let (mut project, _folder) = seeded(world(), "github-issues", "");
    project.bench.files.clear();
    let error = project.try_fetch().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::github::seed_missing"));
    project.more = json!({});
    project.fetch();
    project.more = json!({"seed": "raw.jsonl"});
    project.fetch();
    assert_eq!(project.records().count, 20);
}

#[test]
fn once_there_is_a_snapshot_the_file_may_go() {
    let github = world();
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "schema = 1\n[source.issues]\ntype = \"github-issues\"\nrepos = [\"o/r\"]\napi = \"{}\"\nseed = \"raw.jsonl\"\n",
        github.address
    );
    let lines: String = (1..=20).map(whole_line).collect();
    write(folder.path(), &[("pipeline.toml", &manifest), ("raw.jsonl", &lines)]);
    tunesmith(folder.path(), &["build"]).expect(0);
    github.log();
    for change in ["edited", "gone", "unnamed"] {
        match change {
            "edited" => fs_err::write(folder.path().join("raw.jsonl"), whole_line(1)).unwrap(),
            "gone" => fs_err::remove_file(folder.path().join("raw.jsonl")).unwrap(),
            _ => write(folder.path(), &[("pipeline.toml", &manifest.replace("seed = \"raw.jsonl\"\n", ""))]),
        }
        let plan = tunesmith(folder.path(), &["plan"]).expect(0);
        assert!(plan.out.contains("nothing to do: 1 fresh"), "{change}: {}", plan.out);
    }
    assert!(github.log().is_empty());
}
