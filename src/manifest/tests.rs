use insta::assert_snapshot;

use super::*;

/// Returns what a user sees of a manifest that is wrong.
fn problems_with(text: &str, overlays: &Overlays) -> String {
    let manifest = Manifest::parse("pipeline.toml", text, overlays);
    let list = manifest.problems.iter().map(|problem| Box::new(problem.clone()) as Problem).collect();
    let (mut output, _, err) = crate::cli::Output::captured();
    output.problems(&Problems::new(manifest.sources, list));
    err.text()
}

fn problems(text: &str) -> String {
    problems_with(text, &Overlays::default())
}

#[test]
fn syntax_errors_are_shown_together() {
    let toml = r#"
schema = 1
[source.a
x = 1
[source.b]
x = = 2
token = "ghp_0123456789
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::syntax

      × TOML syntax: unclosed table, expected `]`
       ╭─[pipeline.toml:2:10]
     1 │ schema = 1
     2 │ [source.a
       ·          ▲
       ·          ╰── here
     3 │ x = 1
       ╰────
      help: mend this one first: the others may follow from it

    manifest::syntax

      × TOML syntax: extra `=`, expected nothing
       ╭─[pipeline.toml:5:5]
     4 │ [source.b]
     5 │ x = = 2
       ·     ┬
       ·     ╰── here
     6 │ token =****************
       ╰────

    manifest::syntax

      × TOML syntax: unexpected key or value, expected newline, `#`
       ╭─[pipeline.toml:5:7]
     4 │ [source.b]
     5 │ x = = 2
       ·       ▲
       ·       ╰── here
     6 │ token =****************
       ╰────

    manifest::syntax

      × TOML syntax: invalid basic string, expected `"`
       ╭─[pipeline.toml:6:24]
     5 │ x = = 2
     6 │ token =****************
       ·                        ▲
       ·                        ╰── here
       ╰────
      help: the string has no closing quote on this line

    the manifest has 4 problems
    "#);
}

#[test]
fn the_schema_is_said_and_known() {
    let toml = r"
schema = 2
";
    assert_snapshot!(problems(toml.trim_start()), @r"
    manifest::unknown_schema

      × the manifest has a `schema` that this version does not read
       ╭─[pipeline.toml:1:10]
     1 │ schema = 2
       ·          ┬
       ·          ╰── not 1
       ╰────
      help: this version of tunesmith reads `schema = 1`
    ");
}

#[test]
fn a_manifest_without_schema_says_so() {
    let toml = r#"
[project]
name = "x"
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::no_schema

      × the manifest does not say its `schema`
       ╭─[pipeline.toml:1:1]
     1 │ [project]
       · ▲
       · ╰── `schema = 1` belongs here
     2 │ name = "x"
       ╰────
      help: write `schema = 1` as the first line
    "#);
}

#[test]
fn unknown_tables_and_keys_get_suggestions() {
    let toml = r#"
schema = 1
[sources.a]
[project]
nme = "x"
[run]
job = 2
foo = 1
[run.node.x]
retry = 1
[cache]
remot = "/srv"
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::unknown_table

      × unknown table `sources`
       ╭─[pipeline.toml:2:2]
     1 │ schema = 1
     2 │ [sources.a]
       ·  ───┬───
       ·     ╰── no table has this name
     3 │ [project]
       ╰────
      help: did you mean `source`?

    manifest::unknown_key

      × unknown key `nme` in `[project]`
       ╭─[pipeline.toml:4:1]
     3 │ [project]
     4 │ nme = "x"
       · ─┬─
       ·  ╰── no key has this name
     5 │ [run]
       ╰────
      help: did you mean `name`?

    manifest::unknown_key

      × unknown key `job` in `[run]`
       ╭─[pipeline.toml:6:1]
     5 │ [run]
     6 │ job = 2
       · ─┬─
       ·  ╰── no key has this name
     7 │ foo = 1
       ╰────
      help: did you mean `jobs`?

    manifest::unknown_key

      × unknown key `foo` in `[run]`
       ╭─[pipeline.toml:7:1]
     6 │ job = 2
     7 │ foo = 1
       · ─┬─
       ·  ╰── no key has this name
     8 │ [run.node.x]
       ╰────
      help: keys here: `retries`, `timeout`, `threads`, `memory`, `device`, `jobs`, `keep-going`,
            `node`

    manifest::unknown_key

      × unknown key `retry` in `[run.node.x]`
        ╭─[pipeline.toml:9:1]
      8 │ [run.node.x]
      9 │ retry = 1
        · ──┬──
        ·   ╰── no key has this name
     10 │ [cache]
        ╰────
      help: did you mean `retries`?

    manifest::unknown_key

      × unknown key `remot` in `[cache]`
        ╭─[pipeline.toml:11:1]
     10 │ [cache]
     11 │ remot = "/srv"
        · ──┬──
        ·   ╰── no key has this name
        ╰────
      help: did you mean `remote`?

    the manifest has 6 problems
    "#);
}

#[test]
fn values_of_the_wrong_type_say_what_is_expected() {
    let toml = r#"
schema = 1
[project]
name = 3
[run]
jobs = 0
threads = "four"
keep-going = 1
timeout = "soon"
memory = "24 GX"
[source.a]
type = "text"
from = "b"
refresh = "daily"
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::wrong_type

      × `name` is an integer, not a string
       ╭─[pipeline.toml:3:8]
     2 │ [project]
     3 │ name = 3
       ·        ┬
       ·        ╰── expected a string
     4 │ [run]
       ╰────

    manifest::wrong_value

      × `jobs` has a value that it cannot have
       ╭─[pipeline.toml:5:8]
     4 │ [run]
     5 │ jobs = 0
       ·        ┬
       ·        ╰── it must be 1 or more, and fit 32 bits
     6 │ threads = "four"
       ╰────

    manifest::wrong_type

      × `threads` is a string, not an integer
       ╭─[pipeline.toml:6:11]
     5 │ jobs = 0
     6 │ threads = "four"
       ·           ───┬──
       ·              ╰── expected an integer
     7 │ keep-going = 1
       ╰────

    manifest::wrong_type

      × `keep-going` is an integer, not `true` or `false`
       ╭─[pipeline.toml:7:14]
     6 │ threads = "four"
     7 │ keep-going = 1
       ·              ┬
       ·              ╰── expected `true` or `false`
     8 │ timeout = "soon"
       ╰────

    manifest::wrong_value

      × `timeout` has a value that it cannot have
       ╭─[pipeline.toml:8:11]
     7 │ keep-going = 1
     8 │ timeout = "soon"
       ·           ───┬──
       ·              ╰── not a time above zero
     9 │ memory = "24 GX"
       ╰────
      help: write a time with its unit, such as `timeout = "2h 30m"`

    manifest::wrong_value

      × `memory` has a value that it cannot have
        ╭─[pipeline.toml:9:10]
      8 │ timeout = "soon"
      9 │ memory = "24 GX"
        ·          ───┬───
        ·             ╰── not a size above zero
     10 │ [source.a]
        ╰────
      help: write a size with its unit, such as `memory = "24 GiB"`; units: B kB MB GB TB KiB MiB GiB
            TiB

    manifest::wrong_type

      × `from` is a string, not an array of node names
        ╭─[pipeline.toml:12:8]
     11 │ type = "text"
     12 │ from = "b"
        ·        ─┬─
        ·         ╰── expected an array of node names
     13 │ refresh = "daily"
        ╰────
      help: write `from = ["b"]`

    manifest::wrong_value

      × `refresh` has a value that it cannot have
        ╭─[pipeline.toml:13:11]
     12 │ from = "b"
     13 │ refresh = "daily"
        ·           ───┬───
        ·              ╰── no policy and no age
        ╰────
      help: write `refresh = "manual"`, `"always"`, or an age such as `"24h"`

    the manifest has 8 problems
    "#);
}

#[test]
fn names_are_plain_and_unique() {
    let toml = r#"
schema = 1
[source.Docs]
type = "text"
[source."a/b"]
type = "text"
[source.model]
type = "text"
[source.x]
type = "text"
[filter.x]
type = "pairs"
[source."a\u0007"]
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::bad_name

      × a node cannot be named `Docs`
       ╭─[pipeline.toml:2:9]
     1 │ schema = 1
     2 │ [source.Docs]
       ·         ──┬─
       ·           ╰── not a name
     3 │ type = "text"
       ╰────
      help: names start with `a`-`z` or `0`-`9` and go on with these, `-` and `_`; at most 64
            characters

    manifest::bad_name

      × a node cannot be named `a/b`
       ╭─[pipeline.toml:4:9]
     3 │ type = "text"
     4 │ [source."a/b"]
       ·         ──┬──
       ·           ╰── not a name
     5 │ type = "text"
       ╰────
      help: names start with `a`-`z` or `0`-`9` and go on with these, `-` and `_`; at most 64
            characters

    manifest::reserved_name

      × a node cannot be named `model`
       ╭─[pipeline.toml:6:9]
     5 │ type = "text"
     6 │ [source.model]
       ·         ──┬──
       ·           ╰── reserved
     7 │ type = "text"
       ╰────
      help: `model` is the node of the `[model]` table; choose another name

    manifest::duplicate_name

      × two nodes are named `x`
        ╭─[pipeline.toml:8:9]
      7 │ type = "text"
      8 │ [source.x]
        ·         ┬
        ·         ╰── first here
      9 │ type = "text"
     10 │ [filter.x]
        ·         ┬
        ·         ╰── again here
     11 │ type = "pairs"
        ╰────
      help: names are unique over all families, so that `from` needs no prefix; rename one of them

    manifest::bad_name

      × a node cannot be named `a\u{7}`
        ╭─[pipeline.toml:12:9]
     11 │ type = "pairs"
     12 │ [source."a\u0007"]
        ·         ────┬────
        ·             ╰── not a name
        ╰────
      help: names start with `a`-`z` or `0`-`9` and go on with these, `-` and `_`; at most 64
            characters

    the manifest has 5 problems
    "#);
}

#[test]
fn inputs_are_names() {
    let toml = r#"
schema = 1
[filter.a]
type = "pairs"
from = ["a b", "../x", "x:", "x@rank", "b", "b", 3]
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::bad_input

      × `a b` cannot name an input
       ╭─[pipeline.toml:4:9]
     3 │ type = "pairs"
     4 │ from = ["a b", "../x", "x:", "x@rank", "b", "b", 3]
       ·         ──┬──
       ·           ╰── not an input
       ╰────
      help: inputs are `NODE`, `NODE:OUTPUT`, `NODE@*` or `NODE@AXIS=VALUE`

    manifest::bad_input

      × `../x` cannot name an input
       ╭─[pipeline.toml:4:16]
     3 │ type = "pairs"
     4 │ from = ["a b", "../x", "x:", "x@rank", "b", "b", 3]
       ·                ───┬──
       ·                   ╰── not an input
       ╰────
      help: `from` names nodes, never paths: read files by a `source`, and name it here

    manifest::bad_input

      × `x:` cannot name an input
       ╭─[pipeline.toml:4:24]
     3 │ type = "pairs"
     4 │ from = ["a b", "../x", "x:", "x@rank", "b", "b", 3]
       ·                        ──┬─
       ·                          ╰── not an input
       ╰────
      help: inputs are `NODE`, `NODE:OUTPUT`, `NODE@*` or `NODE@AXIS=VALUE`

    manifest::bad_input

      × `x@rank` cannot name an input
       ╭─[pipeline.toml:4:30]
     3 │ type = "pairs"
     4 │ from = ["a b", "../x", "x:", "x@rank", "b", "b", 3]
       ·                              ────┬───
       ·                                  ╰── not an input
       ╰────
      help: inputs are `NODE`, `NODE:OUTPUT`, `NODE@*` or `NODE@AXIS=VALUE`

    manifest::repeated_input

      × node `a` reads `b` twice
       ╭─[pipeline.toml:4:40]
     3 │ type = "pairs"
     4 │ from = ["a b", "../x", "x:", "x@rank", "b", "b", 3]
       ·                                        ─┬─  ─┬─
       ·                                         │    ╰── again here
       ·                                         ╰── first here
       ╰────
      help: remove one of them

    manifest::wrong_type

      × `from` is an integer, not a string
       ╭─[pipeline.toml:4:50]
     3 │ type = "pairs"
     4 │ from = ["a b", "../x", "x:", "x@rank", "b", "b", 3]
       ·                                                  ┬
       ·                                                  ╰── expected a string
       ╰────

    the manifest has 6 problems
    "#);
}

#[test]
fn a_node_has_a_type() {
    let toml = r"
schema = 1
[source.a]
[source]
b = 3
";
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::missing_type

      × node `a` has no `type`
       ╭─[pipeline.toml:2:9]
     1 │ schema = 1
     2 │ [source.a]
       ·         ┬
       ·         ╰── which kind of node is this?
     3 │ [source]
       ╰────
      help: add `type = "…"`; `tunesmith schema --table` lists the types of each family

    manifest::wrong_type

      × `source.b` is an integer, not a table
       ╭─[pipeline.toml:4:5]
     3 │ [source]
     4 │ b = 3
       ·     ┬
       ·     ╰── expected a table
       ╰────
      help: a node is a table: `[source.NAME]`

    the manifest has 2 problems
    "#);
}

#[test]
fn a_literal_secret_is_refused_and_never_shown() {
    let toml = r#"
schema = 1
[source.a]
type = "text"
token = "ghp_s3cr3t"
set = { api-key = "s3cr3t", GITHUB_TOKEN = "s3cr3t", plain = "x" }
[source.b]
type = "text"
token = "env:GITHUB_TOKEN"
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::literal_secret

      × setting `token` holds a literal secret
       ╭─[pipeline.toml:4:9]
     3 │ type = "text"
     4 │ token = ************
       ·         ──────┬─────
       ·               ╰── secrets are named, not written
     5 │ set = { api-key = ********, GITHUB_TOKEN = ********, plain = "x" }
       ╰────
      help: put the secret into an environment variable and write `token = "env:NAME"`; if the
            manifest was committed, revoke the secret

    manifest::literal_secret

      × setting `api-key` holds a literal secret
       ╭─[pipeline.toml:5:19]
     4 │ token = ************
     5 │ set = { api-key = ********, GITHUB_TOKEN = ********, plain = "x" }
       ·                   ────┬───
       ·                       ╰── secrets are named, not written
     6 │ [source.b]
       ╰────
      help: put the secret into an environment variable and write `api-key = "env:NAME"`; if the
            manifest was committed, revoke the secret

    manifest::literal_secret

      × setting `GITHUB_TOKEN` holds a literal secret
       ╭─[pipeline.toml:5:44]
     4 │ token = ************
     5 │ set = { api-key = ********, GITHUB_TOKEN = ********, plain = "x" }
       ·                                            ────┬───
       ·                                                ╰── secrets are named, not written
     6 │ [source.b]
       ╰────
      help: put the secret into an environment variable and write `GITHUB_TOKEN = "env:NAME"`; if the
            manifest was committed, revoke the secret

    the manifest has 3 problems
    "#);
}

#[test]
fn a_matrix_is_checked() {
    let toml = r#"
schema = 1
[source.a]
type = "text"
rank = 4
matrix = { rank = [8], type = ["x"], path = ["a/b"], alpha = [1, 1], beta = [], gamma = 3 }
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::bad_matrix

      × axis `rank` of the matrix is not valid
       ╭─[pipeline.toml:5:12]
     4 │ rank = 4
     5 │ matrix = { rank = [8], type = ["x"], path = ["a/b"], alpha = [1, 1], beta = [], gamma = 3 }
       ·            ──┬─
       ·              ╰── the node sets this as well
       ╰────
      help: write `matrix = { rank = [8, 16] }`: a setting and the values that it takes

    manifest::bad_matrix

      × axis `type` of the matrix is not valid
       ╭─[pipeline.toml:5:24]
     4 │ rank = 4
     5 │ matrix = { rank = [8], type = ["x"], path = ["a/b"], alpha = [1, 1], beta = [], gamma = 3 }
       ·                        ──┬─
       ·                          ╰── an axis is a setting of the kind
       ╰────
      help: write `matrix = { rank = [8, 16] }`: a setting and the values that it takes

    manifest::bad_matrix

      × axis `path` of the matrix is not valid
       ╭─[pipeline.toml:5:46]
     4 │ rank = 4
     5 │ matrix = { rank = [8], type = ["x"], path = ["a/b"], alpha = [1, 1], beta = [], gamma = 3 }
       ·                                              ──┬──
       ·                                                ╰── in a name only letters, digits and `-_.+` can stand
       ╰────
      help: write `matrix = { rank = [8, 16] }`: a setting and the values that it takes

    manifest::bad_matrix

      × axis `alpha` of the matrix is not valid
       ╭─[pipeline.toml:5:66]
     4 │ rank = 4
     5 │ matrix = { rank = [8], type = ["x"], path = ["a/b"], alpha = [1, 1], beta = [], gamma = 3 }
       ·                                                                  ┬
       ·                                                                  ╰── the same value twice
       ╰────
      help: write `matrix = { rank = [8, 16] }`: a setting and the values that it takes

    manifest::bad_matrix

      × axis `beta` of the matrix is not valid
       ╭─[pipeline.toml:5:77]
     4 │ rank = 4
     5 │ matrix = { rank = [8], type = ["x"], path = ["a/b"], alpha = [1, 1], beta = [], gamma = 3 }
       ·                                                                             ─┬
       ·                                                                              ╰── it has no value
       ╰────
      help: write `matrix = { rank = [8, 16] }`: a setting and the values that it takes

    manifest::bad_matrix

      × axis `gamma` of the matrix is not valid
       ╭─[pipeline.toml:5:89]
     4 │ rank = 4
     5 │ matrix = { rank = [8], type = ["x"], path = ["a/b"], alpha = [1, 1], beta = [], gamma = 3 }
       ·                                                                                         ┬
       ·                                                                                         ╰── its values are an array
       ╰────
      help: write `matrix = { rank = [8, 16] }`: a setting and the values that it takes

    the manifest has 6 problems
    "#);
}

#[test]
fn numbers_are_finite_and_fit() {
    let toml = r#"
schema = 1
[source.a]
type = "text"
alpha = inf
rank = 99999999999999999999
"#;
    assert_snapshot!(problems(toml.trim_start()), @r#"
    manifest::bad_number

      × the number is out of range
       ╭─[pipeline.toml:4:9]
     3 │ type = "text"
     4 │ alpha = inf
       ·         ─┬─
       ·          ╰── out of range
     5 │ rank = 99999999999999999999
       ╰────
      help: integers have 64 bits with sign; floats are finite: no `inf`, no `nan`

    manifest::bad_number

      × the number is out of range
       ╭─[pipeline.toml:5:8]
     4 │ alpha = inf
     5 │ rank = 99999999999999999999
       ·        ──────────┬─────────
       ·                  ╰── out of range
       ╰────
      help: integers have 64 bits with sign; floats are finite: no `inf`, no `nan`

    the manifest has 2 problems
    "#);
}

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

#[test]
fn limits_hold() {
    let deep = format!("schema = 1\n[source.a]\ntype = \"text\"\nx = {}1{}\n", "[".repeat(40), "]".repeat(40));
    assert!(problems(&deep).contains("manifest::too_deep"));
    let bottomless = format!("schema = 1\nx = {}\n", "[".repeat(100_000));
    assert!(problems(&bottomless).contains("manifest::syntax"));
    let dotted = format!("schema = 1\n{}x = 1\n", "a.".repeat(100_000));
    assert!(problems(&dotted).contains("manifest::syntax"));
    let wide = format!("schema = 1\n[project]\nname = 3 # {}\n", "x".repeat(100_000));
    assert!(problems(&wide).contains("at pipeline.toml:3:8: expected a string"));
    let large = format!("schema = 1\n# {}\n", "x".repeat(8 << 20));
    assert!(problems(&large).contains("manifest::too_large"));
    let mut nodes = "schema = 1\n".to_owned();
    for number in 0..=100_000 {
        nodes.push_str(&format!("[filter.a{number}]\n"));
    }
    assert!(problems(&nodes).contains("manifest::too_many_nodes"));
}

#[test]
fn sizes_and_times_have_units() {
    let text = "schema = 1\n[run]\njobs = 3\nmemory = \"1.5 GiB\"\ntimeout = \"2h 30m\"\n[run.node.a]\nmemory = 1000\n";
    let manifest = Manifest::parse("pipeline.toml", text, &Overlays::default());
    assert_eq!(manifest.problems, []);
    assert_eq!(manifest.run.options.memory, Some(3 << 29));
    assert_eq!(manifest.run.options.timeout, Some(std::time::Duration::from_mins(150)));
    assert_eq!(manifest.run.nodes[0].1.memory, Some(1000));
}
