//! What a user sees of mistakes in TOML, tables and keys.

use insta::assert_snapshot;

use super::problems;

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
      help: keys here: `retries`, `timeout`, `threads`, `memory`, `device`, `rehearse`, `jobs`, `keep-
            going`, `node`

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
