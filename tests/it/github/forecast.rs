//! `plan` says what a fetch is going to ask, and asks nothing.

use serde_json::Value;

use super::small_world;
use crate::support::fake_github::FakeGithub;
use crate::support::program::{program, tunesmith, write};

fn project(github: &FakeGithub, more: &str) -> tempfile::TempDir {
    project_of("github-issues", github, more)
}

fn project_of(kind: &str, github: &FakeGithub, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "schema = 1\n[source.issues]\ntype = \"{kind}\"\nrepos = [\"o/r\"]\napi = \"{}\"\n{more}\n",
        github.address
    );
    write(folder.path(), &[("pipeline.toml", &manifest)]);
    folder
}

#[test]
fn a_first_fetch_without_a_token_is_told_in_hours_and_a_refresh_in_requests() {
    let github = small_world();
    let folder = project(&github, "");
    let plan = tunesmith(folder.path(), &["plan"]).expect(0);
    assert!(plan.out.contains("take 250, about 4 hours"), "{}", plan.out);
    assert!(plan.out.contains("with `token = \"env:GITHUB_TOKEN\"` 5,000"), "{}", plan.out);
    assert!(github.log().is_empty());
    tunesmith(folder.path(), &["build"]).expect(0);
    github.log();
    let plan = tunesmith(folder.path(), &["plan", "--refresh=issues"]).expect(0);
    assert!(plan.out.contains("about 2 requests in 1s; one more for each 100 changes"), "{}", plan.out);
    let plan = tunesmith(folder.path(), &["plan", "--refresh=issues", "--json"]).expect(0);
    let line: Value = serde_json::from_str(plan.out.lines().next().unwrap()).unwrap();
    assert_eq!(line["plan"]["forecast"]["requests"], 2);
    assert!(github.log().is_empty(), "a plan opens no socket");
}

#[test]
fn how_long_pull_requests_take_and_what_a_token_changes_is_told_as_for_issues() {
    let github = small_world();
    let of = |kind: &str, token: Option<&str>| {
        let folder = project_of(kind, &github, if token.is_some() { "token = \"env:MY_TOKEN\"" } else { "" });
        let mut program = program(folder.path());
        if let Some(token) = token {
            program.env("MY_TOKEN", token);
        }
        String::from_utf8(program.arg("plan").output().unwrap().stdout).unwrap()
    };
    let told = of("github-pulls", None);
    let example = "5,000 threads with 20,000 comments take 250, about 4 hours; stop and go on at any time";
    assert!(told.contains(example), "{told}");
    assert!(told.contains("GitHub answers 60 requests an hour, with `token = \"env:GITHUB_TOKEN\"` 5,000"), "{told}");
    assert_eq!(told, of("github-issues", None).replace("github-issues", "github-pulls"));
    let told = of("github-pulls", Some("x"));
    assert!(told.contains("take 100 to 250") && !told.contains("hours"), "{told}");
    assert!(github.log().is_empty(), "a plan opens no socket");
}

#[test]
fn a_token_that_is_named_and_not_set_is_told() {
    let github = small_world();
    let folder = project(&github, "token = \"env:MY_TOKEN\"");
    let plan = tunesmith(folder.path(), &["plan"]).expect(0);
    assert!(plan.out.contains("`MY_TOKEN` is not set"), "{}", plan.out);
    let plan = program(folder.path()).env("MY_TOKEN", "x").arg("plan").output().unwrap();
    let out = String::from_utf8(plan.stdout).unwrap();
    assert!(!out.contains("not set") && !out.contains("hours"), "{out}");
}
