//! What a user sees of mistakes in names, inputs, types and matrices.

use insta::assert_snapshot;

use super::problems;

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
