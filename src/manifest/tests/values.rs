//! What a user sees of mistakes in values.

use insta::assert_snapshot;

use super::problems;

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
