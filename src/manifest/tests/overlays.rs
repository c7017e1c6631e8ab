//! Profiles and `--set`: what wins, and what a user sees of mistakes in them.

use insta::assert_snapshot;

use super::{problems, problems_with};
use crate::manifest::{Manifest, Overlays};

#[test]
fn overlays_of_all_profiles_are_checked() {
    let toml = r#"
schema = 1
[source.docs]
type = "text"
[profile.cpu]
"source.dcos.path" = "x"
"train.expert.epochs" = 1
"modle.base" = "x"
"source" = 1
"source.docs" = 1
project.name = "y"
source.docs.rank = 2
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::syntax

      × TOML syntax: cannot extend value of type integer with a dotted key
        ╭─[pipeline.toml:11:1]
     10 │ project.name = "y"
     11 │ source.docs.rank = 2
        · ───┬──
        ·    ╰── here
        ╰────
    "#);
}

#[test]
fn problems_of_set_point_into_the_command_line() {
    let text = "schema = 1\n[source.docs]\ntype = \"text\"\n";
    let set = |values: &[&str]| Overlays {
        profile: Some("gpu".into()),
        set: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let overlays =
        set(&["source.dosc.path=x", "source.docs.rank", "source.docs.path=[1", "run.jobs=0", "source.docs.token=abc"]);
    assert_snapshot!(problems_with(text, &overlays), @r#"
    manifest::unknown_profile

      × there is no profile `gpu`
       ╭─[--profile:1:1]
     1 │ gpu
       · ─┬─
       ·  ╰── no `[profile.gpu]`
       ╰────
      help: the manifest has no profiles

    manifest::bad_overlay

      × overlay `source.dosc.path` changes nothing that is there
       ╭─[--set:1:1]
     1 │ source.dosc.path=x
       · ────────┬───────
       ·         ╰── no node `source.dosc`
       ╰────
      help: did you mean `docs`?

    manifest::bad_overlay

      × overlay `source.docs.rank` changes nothing that is there
       ╭─[--set:1:1]
     1 │ source.docs.rank
       · ────────┬───────
       ·         ╰── there is no `=`
       ╰────
      help: write `--set train.expert.epochs=1`

    manifest::bad_overlay

      × overlay `source.docs.path=[1` changes nothing that is there
       ╭─[--set:1:18]
     1 │ source.docs.path=[1
       ·                  ─┬
       ·                   ╰── not a TOML value
       ╰────
      help: write `--set train.expert.epochs=1`

    manifest::wrong_value

      × `jobs` has a value that it cannot have
       ╭─[--set:1:10]
     1 │ run.jobs=0
       ·          ┬
       ·          ╰── it must be 1 or more, and fit 32 bits
       ╰────

    manifest::literal_secret

      × setting `token` holds a literal secret
       ╭─[--set:1:19]
     1 │ source.docs.token=***
       ·                   ─┬─
       ·                    ╰── secrets are named, not written
       ╰────
      help: put the secret into an environment variable and write `token = "env:NAME"`; if the
            manifest was committed, revoke the secret

    the manifest has 6 problems
    "#);
}

#[test]
fn set_takes_toml_and_bare_words() {
    let text = "schema = 1\n[source.docs]\ntype = \"text\"\npath = \"a\"\n";
    let set = [
        "source.docs.path=some/file.jsonl",
        "source.docs.n = 2e-4",
        "source.docs.list=[1, 2]",
        "source.docs.\"a.b\"=true",
        "model.base=gguf:x",
    ];
    let overlays = Overlays { profile: None, set: set.map(str::to_owned).to_vec() };
    let manifest = Manifest::parse("pipeline.toml", text, &overlays);
    assert_eq!(manifest.problems, []);
    let docs = manifest.declaration("docs").unwrap().settings.to_json();
    assert_eq!(docs, serde_json::json!({ "path": "some/file.jsonl", "n": 2e-4, "list": [1, 2], "a.b": true }));
    assert_eq!(manifest.declaration("model").unwrap().settings.to_json(), serde_json::json!({ "base": "gguf:x" }));
}

#[test]
fn set_wins_over_the_profile_and_the_profile_over_the_manifest() {
    let text = "schema = 1\n[source.docs]\ntype = \"text\"\na = 1\nb = 1\nc = 1\n\
                [profile.cpu]\nsource.docs.b = 2\n\"source.docs.c\" = 2\n[profile.other]\nsource.docs.a = 9\n";
    let overlays = Overlays { profile: Some("cpu".into()), set: vec!["source.docs.c=3".into()] };
    let manifest = Manifest::parse("pipeline.toml", text, &overlays);
    assert_eq!(manifest.problems, []);
    assert_eq!(manifest.declaration("docs").unwrap().settings.to_json(), serde_json::json!({ "a": 1, "b": 2, "c": 3 }));
}
