//! `source.github-docs` against fake repositories over real HTTP.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tunesmith::node::{FailureClass, Family, NodeError, Outcome};
use tunesmith::record::{Document, Record, RecordSet};
use tunesmith::store::Artifact;

use crate::support::fake_repository::{FakeRepository, git_id};
use crate::support::node_run::Bench;
use crate::support::program::{program, tunesmith, write};

struct Project {
    bench: Bench,
    github: FakeRepository,
    settings: Value,
}

impl Project {
    fn new() -> Self {
        let mut bench = Bench::new();
        bench.secrets.insert("TOKEN".into(), "ghp_verysecret".into());
        let github = FakeRepository::small();
        let settings = json!({"repos": ["o/r"], "api": github.address, "token": "env:TOKEN", "max-wait": "30s"});
        Self { bench, github, settings }
    }

    /// As many documents as an archive pays for.
    fn large() -> Self {
        let project = Self::new();
        project
            .github
            .change(|world| (0..20).for_each(|n| world.file(&format!("pages/{n:02}.md"), format!("# Page {n}\n"))));
        project
    }

    fn set(&mut self, key: &str, value: Value) {
        self.settings[key] = value;
    }

    fn try_fetch(&self) -> Result<Outcome, NodeError> {
        self.bench.run(Family::Source, "github-docs", &self.settings)
    }

    #[track_caller]
    fn fetch(&self) -> Outcome {
        self.try_fetch().unwrap()
    }

    fn documents(&self, outcome: &Outcome) -> Vec<Document> {
        let Artifact::Records(records) = &outcome.outputs["documents"] else { panic!("no records") };
        let records = RecordSet::open(&self.bench.store, records).unwrap();
        let document = |record| match record {
            Ok(Record::Document(document)) => document,
            other => panic!("{other:?}"),
        };
        records.records().map(document).collect()
    }

    fn ids(&self, outcome: &Outcome) -> Vec<String> {
        self.documents(outcome).into_iter().map(|document| document.id).collect()
    }
}

fn count(outcome: &Outcome, what: &str) -> u64 {
    outcome.report.iter().find(|count| count.what == what).map_or(0, |count| count.count)
}

#[test]
fn globs_choose_the_documents_of_a_pinned_commit() {
    let project = Project::new();
    let outcome = project.fetch();
    let documents = project.documents(&outcome);
    let told: Vec<_> = documents.iter().map(|it| (it.id.as_str(), it.title.as_str(), it.content.as_str())).collect();
    assert_eq!(
        told,
        [
            ("o/r/README.md", "The project", "# The project\n\nText.\n"),
            ("o/r/docs/deep/er.md", "Deeper", "# Deeper\n"),
            ("o/r/docs/guide.md", "Guide", "How.\n"),
        ]
    );
    // No address of a page is known of an API that is neither GitHub's nor an Enterprise's.
    assert_eq!(documents[2].url, None);
    let commit = project.github.change(|world| world.commit("o/r"));
    assert_eq!(outcome.fields["commits"], json!(format!("o/r@{commit}")));
    assert_eq!(outcome.fields["records"], json!(3));
    assert_eq!(count(&outcome, "left out: a glob of `exclude` fits"), 1);
    assert_eq!(count(&outcome, "left out: no glob of `include` fits"), 1);
    assert_eq!(count(&outcome, "files fetched"), 3);
}

#[test]
fn a_refresh_asks_only_for_bytes_that_are_new() {
    let project = Project::new();
    let first = project.fetch();
    assert_eq!(project.github.log().len(), 5);
    assert_eq!(project.fetch(), Outcome { report: project.fetch().report, ..first });
    assert_eq!(project.github.log(), ["commits/HEAD", "commits/HEAD"]);
    project.github.change(|world| {
        world.file("docs/guide.md", "# Guide\n\nHow it is now.\n");
        world.file("docs/moved.md", "# Deeper\n");
        world.delete("docs/deep/er.md");
    });
    let outcome = project.fetch();
    assert_eq!(project.ids(&outcome), ["o/r/README.md", "o/r/docs/guide.md", "o/r/docs/moved.md"]);
    let (tree, blob) = project.github.change(|world| (world.commit("o/r"), git_id(b"# Guide\n\nHow it is now.\n")));
    let expected = [
        "commits/HEAD".to_owned(),
        format!("git/trees/{}?recursive=1", &tree[..4]),
        format!("git/blobs/{}", &blob[..4]),
    ];
    assert_eq!(project.github.log(), expected);
}

#[test]
fn a_branch_is_taken_where_one_is_named_and_repositories_may_be_several() {
    let mut project = Project::new();
    project.github.change(|world| world.file_of("o/s", "a b%.md", "# Spaced\n"));
    project.set("repos", json!(["o/s@main", "o/r"]));
    // The form of GitHub Enterprise, whose pages are known by its API's address.
    project.set("api", json!(format!("{}/api/v3", project.github.address)));
    let documents = project.documents(&project.fetch());
    let urls: Vec<&str> = documents.iter().map(|document| document.url.as_deref().unwrap()).collect();
    let address = &project.github.address;
    assert_eq!(urls.len(), 4);
    assert_eq!(urls[2], format!("{address}/o/r/blob/HEAD/docs/guide.md"));
    assert_eq!(urls[3], format!("{address}/o/s/blob/main/a%20b%25.md"));
    project.set("repos", json!(["o/r@gone"]));
    let error = project.try_fetch().unwrap_err();
    assert!(error.message.contains("/commits/gone` answered 404"), "{}", error.message);
    assert_eq!(error.class, FailureClass::Permanent);
}

#[test]
fn many_missing_files_come_as_one_archive_whose_host_sees_no_token() {
    let project = Project::large();
    let outcome = project.fetch();
    assert_eq!(project.ids(&outcome).len(), 23);
    let log = project.github.log();
    assert!(log.len() == 3 && log[2].starts_with("tarball/"), "{log:?}");
    assert_eq!(project.github.archives(), [None]);
    project.fetch();
    assert_eq!((project.github.log().len(), project.github.archives().len()), (1, 0));
}

#[test]
fn what_an_archive_lacks_or_has_otherwise_is_fetched_by_its_name() {
    let project = Project::large();
    project.github.change(|world| {
        world.not_archived.insert("README.md".into());
        world.forged.insert("pages/03.md".into(), b"# PAGE 3\n".to_vec());
        world.forged.insert("pages/04.md".into(), b"# Page 4, expanded\n".to_vec());
    });
    let documents = project.documents(&project.fetch());
    assert_eq!(documents.len(), 23);
    assert!(documents.iter().any(|it| it.id == "o/r/pages/03.md" && it.content == "# Page 3\n"));
    let log = project.github.log();
    assert_eq!(log.iter().filter(|path| path.starts_with("git/blobs/")).count(), 3, "{log:?}");
}

#[test]
fn an_archive_that_leads_out_of_itself_is_refused() {
    for path in ["o-r-1/../../etc/passwd.md", "/etc/x.md", "o-r-1/a/./b.md", ".."] {
        let project = Project::large();
        project.github.change(|world| world.smuggled.push(path.into()));
        let error = project.try_fetch().unwrap_err();
        assert_eq!(error.code.as_deref(), Some("source::github_docs::bad_archive"), "{path}: {error:?}");
    }
}

#[test]
fn an_archive_that_unpacks_to_more_than_the_tree_holds_is_left() {
    let project = Project::large();
    project.github.change(|world| world.bomb = 64 << 20);
    let error = project.try_fetch().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::github_docs::damaged_archive"));
    assert!(error.causes[0].contains("unpacks to more than"), "{error:?}");
}

#[test]
fn a_tree_that_is_told_in_part_is_walked_folder_by_folder() {
    let project = Project::new();
    let whole = project.fetch();
    let other = Project::new();
    other.github.change(|world| world.most_entries = Some(4));
    let walked = other.fetch();
    let contents = |project: &Project, outcome| {
        project.documents(outcome).into_iter().map(|it| (it.id, it.content)).collect::<Vec<_>>()
    };
    assert_eq!(contents(&other, &walked), contents(&project, &whole));
    other.github.change(|world| {
        world.file("new.md", "# New\n");
        world.most_entries = Some(2);
    });
    let error = other.try_fetch().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::github_docs::truncated"));
}

#[test]
fn what_is_left_out_is_counted_by_its_reason() {
    let mut project = Project::new();
    project.github.change(|world| {
        world.file("large.md", "x".repeat(2_000));
        world.file("latin.md", b"caf\xE9");
        world.file("lfs.md", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n");
        world.file("link.md", "README.md");
        world.file("module.md", "");
        world.modes.insert("link.md".into(), "120000");
        world.modes.insert("module.md".into(), "160000");
    });
    project.set("max-bytes", json!(1_000));
    let outcome = project.fetch();
    assert_eq!(project.ids(&outcome).len(), 3);
    for (what, expected) in [
        ("left out: larger than `max-bytes`", 1),
        ("left out: not UTF-8", 1),
        ("left out: kept in Git LFS", 1),
        ("left out: a symbolic link or a submodule", 2),
    ] {
        assert_eq!(count(&outcome, what), expected, "{what}");
    }
}

#[test]
fn globs_that_choose_nothing_are_told_with_what_is_there() {
    let mut project = Project::new();
    project.set("include", json!(["manual/**/*.rst"]));
    assert_eq!(project.ids(&project.fetch()), Vec::<String>::new());
    let said = project.bench.said().join("\n");
    assert!(
        said.contains("warning: o/r gives no document: no file fits a glob of `include`; it has 5 files: 4 .md, 1 .go"),
        "{said}"
    );
    project.set("include", json!(["vendor/**"]));
    project.fetch();
    let said = project.bench.said().join("\n");
    assert!(said.contains("1 file fits a glob of `include`, but it is left out"), "{said}");
}

#[test]
fn a_plan_tells_what_the_globs_choose_of_the_last_tree_and_asks_nobody() {
    let github = FakeRepository::small();
    let folder = tempfile::tempdir().unwrap();
    let manifest = |include: &str| {
        let text = format!(
            "schema = 1\n[source.docs]\ntype = \"github-docs\"\nrepos = [\"o/r\"]\napi = \"{}\"\n\
             include = [\"{include}\"]\n",
            github.address
        );
        write(folder.path(), &[("pipeline.toml", &text)]);
    };
    let planned = || tunesmith(folder.path(), &["plan"]).expect(0);
    manifest("docs/**/*.md");
    assert!(planned().out.contains("what the globs select of `o/r` is known when its tree was fetched"));
    assert_eq!(github.log(), Vec::<String>::new());
    tunesmith(folder.path(), &["build"]).expect(0);
    github.log();
    manifest("**/*.md");
    let plan = planned();
    assert!(plan.out.contains("the globs select 3 of 5 files of `o/r` as it was at "), "{}", plan.out);
    let paths = ["README.md", "docs/deep/er.md", "docs/guide.md"];
    assert!(plan.out.contains(&paths.map(|path| format!("\n  o/r/{path}")).concat()), "{}", plan.out);
    let json = tunesmith(folder.path(), &["plan", "--json"]).expect(0).out;
    let json: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(json["plan"]["selected"], json!([{"of": "o/r", "files": paths}]));
    assert!(!plan.err.contains("warning"), "{}", plan.err);
    manifest("manual/*.rst");
    let plan = planned();
    assert!(plan.out.contains("the globs select 0 of 5 files"), "{}", plan.out);
    let warning = "warning: `docs`: o/r gives no document: no file fits a glob of `include`; it has 5 files";
    assert!(plan.err.contains(warning), "{}", plan.err);
    assert_eq!(github.log(), Vec::<String>::new());
}

#[test]
fn a_fetch_that_failed_goes_on_with_what_is_missing() {
    let project = Project::new();
    // Commit, tree, one blob; then nothing but failures.
    project.github.change(|world| world.fails_from = Some(4));
    let error = project.try_fetch().unwrap_err();
    assert_eq!(error.class, FailureClass::Transient);
    project.github.log();
    project.github.change(|world| world.fails_from = None);
    let outcome = project.fetch();
    assert_eq!(project.ids(&outcome).len(), 3);
    let log = project.github.log();
    assert_eq!(log.iter().filter(|path| path.starts_with("git/blobs/")).count(), 2, "{log:?}");
    assert_eq!(log.len(), 3, "{log:?}");
}

#[test]
fn a_fetch_that_was_killed_goes_on_and_asks_for_nothing_twice() {
    let github = FakeRepository::small();
    github.change(|world| (0..5).for_each(|n| world.file(&format!("more/{n}.md"), format!("# More {n}\n"))));
    let manifest = format!(
        "schema = 1\n[project]\nname = \"x\"\n[source.docs]\ntype = \"github-docs\"\nrepos = [\"o/r\"]\n\
         api = \"{}\"\nout = \"docs.jsonl\"\n",
        github.address
    );
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("pipeline.toml", &manifest)]);
    let mut seen = BTreeSet::new();
    for kill in 0..4 {
        // Commit, from the second time on no tree; then so many blobs, and the next one is never answered.
        let answered = 3 + usize::from(kill == 0);
        github.change(|world| world.hangs_from = Some(answered));
        let mut build =
            program(folder.path()).arg("build").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while github.change(|world| world.asked()) < answered {
            assert!(build.try_wait().unwrap().is_none(), "the build ended by itself");
            std::thread::sleep(Duration::from_millis(10));
        }
        build.kill().unwrap();
        build.wait().unwrap();
        let mut log = github.log();
        // What was under way at the kill may be asked for again.
        log.truncate(answered - 1);
        for path in log.into_iter().filter(|path| path != "commits/HEAD") {
            assert!(seen.insert(path.clone()), "kill {kill}: {path} was asked for twice");
        }
    }
    github.change(|world| world.hangs_from = None);
    tunesmith(folder.path(), &["build"]).expect(0);
    for path in github.log().into_iter().filter(|path| path != "commits/HEAD") {
        assert!(seen.insert(path.clone()), "{path} was asked for twice");
    }
    let killed = fs_err::read(folder.path().join("docs.jsonl")).unwrap();
    let calm = tempfile::tempdir().unwrap();
    write(calm.path(), &[("pipeline.toml", &manifest)]);
    tunesmith(calm.path(), &["build"]).expect(0);
    assert!(fs_err::read(calm.path().join("docs.jsonl")).unwrap() == killed);
}

#[test]
fn bytes_that_git_names_otherwise_are_no_document() {
    let project = Project::new();
    project.github.change(|world| world.blob = Some(b"# Forged\n"));
    let error = project.try_fetch().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::github_docs::wrong_bytes"));
}

#[test]
fn a_path_that_leads_out_of_the_repository_is_refused() {
    let project = Project::new();
    project.github.change(|world| world.file("docs/../../x.md", "# Out\n"));
    let error = project.try_fetch().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::github_docs::bad_path"));
}

#[test]
fn a_missing_token_is_told_and_the_fetch_goes_on() {
    let mut project = Project::new();
    project.set("token", json!("env:ABSENT"));
    project.fetch();
    assert!(project.bench.said()[0].contains("environment variable `ABSENT` is not set"));
}

#[test]
fn the_documents_of_version_1_are_pinned() {
    let project = Project::new();
    let outcome = project.fetch();
    assert_eq!(
        outcome.outputs["documents"].digest().to_string(),
        "d58c54849e2bfa9ff79fda4b2d6109a138eb4d35b4447e195ccb71b763f9cc43"
    );
}
