//! The manifests that people read first: README, the top-level pipeline, and the examples.

use std::path::{Path, PathBuf};

use crate::support::program::{tunesmith, write};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_manifest_of_the_readme_has_no_problem() {
    let readme = fs_err::read_to_string(root().join("README.md")).unwrap();
    let manifest = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("pipeline.toml", manifest), ("models/base.gguf", ""), ("docs/a.md", "")]);
    let ran = tunesmith(folder.path(), &["check"]).expect(0);
    assert!(ran.out.contains("no problem in 9 nodes"), "{}", ran.out);
}

#[test]
fn the_manifests_of_the_repository_have_no_problem() {
    tunesmith(root(), &["check"]).expect(0);
    tunesmith(&root().join("examples/quickstart"), &["check"]).expect(0);
    tunesmith(&root().join("examples/ship"), &["check"]).expect(0);
    tunesmith(&root().join("examples/publish"), &["check"]).expect(0);
}

/// Where the files of `examples/linkerd-cpu` lie: `TUNESMITH_DATA`, or the folder that CI has beside the clone.
#[expect(clippy::disallowed_methods, reason = "the example is run on data whose place only the environment knows")]
fn linkerd_data() -> Option<PathBuf> {
    let named = std::env::var_os("TUNESMITH_DATA").map(PathBuf::from);
    let data = named.unwrap_or_else(|| root().join("../shared/data/linkerd"));
    fs_err::canonicalize(data).ok()
}

#[test]
fn real_issues_pulls_and_documents_become_rows_and_an_edit_costs_one_record() {
    let Some(data) = linkerd_data() else {
        println!("not run: no data in `TUNESMITH_DATA`");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    for name in ["pipeline.toml", "questions.toml"] {
        fs_err::copy(root().join("examples/linkerd-cpu").join(name), project.join(name)).unwrap();
    }
    fs_err::create_dir(project.join("data")).unwrap();
    for name in ["raw_pull_requests.jsonl.gz", "docs", "repo-docs"] {
        fs_err::os::unix::fs::symlink(data.join(name), project.join("data").join(name)).unwrap();
    }
    let issues = fs_err::read_to_string(data.join("raw_issues.jsonl")).unwrap();
    write(project, &[("data/raw_issues.jsonl", &issues)]);

    tunesmith(project, &["check"]).expect(0);
    tunesmith(project, &["build", "dataset"]).expect(0);
    let rows = fs_err::read_to_string(project.join("output/training_data.jsonl")).unwrap();
    assert!(rows.lines().count() > 5_000, "{} rows", rows.lines().count());
    let again = tunesmith(project, &["build", "dataset", "--json"]).expect(0);
    assert_eq!(again.json().last().unwrap()["build"]["built"], 0);

    let edited = issues.replacen("Your software is awesome and I love it", "Your software is very awesome", 1);
    assert_ne!(edited, issues);
    write(project, &[("data/raw_issues.jsonl", &edited)]);
    let plan = tunesmith(project, &["plan", "dataset", "--json"]).expect(0).json();
    let runs: Vec<&str> = plan
        .iter()
        .filter(|entry| entry["plan"]["action"] == "run")
        .map(|entry| entry["plan"]["node"].as_str().unwrap())
        .collect();
    assert_eq!(runs, ["issues", "pairs", "scrubbed", "good", "unique", "rows", "dataset"]);
    let built = tunesmith(project, &["build", "dataset"]).expect(0);
    assert!(built.err.contains("1 of 13160 records new or changed"), "{}", built.err);
}
