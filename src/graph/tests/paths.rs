//! What a user sees of mistakes in `out`.

use insta::assert_snapshot;

use super::problems;

#[test]
fn two_nodes_cannot_write_one_path() {
    let toml = r#"
[source.a]
type = "text"
out = "data/x"
[source.b]
type = "text"
out = "./data/x"
[source.c]
type = "text"
out = "data/x/y"
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::out_twice

      × nodes `a` and `b` both write to `data/x`
       ╭─[pipeline.toml:4:7]
     3 │ type = "text"
     4 │ out = "data/x"
       ·       ────┬───
       ·           ╰── first here
     5 │ [source.b]
     6 │ type = "text"
     7 │ out = "./data/x"
       ·       ─────┬────
       ·            ╰── again here
     8 │ [source.c]
       ╰────
      help: give each its own path

    graph::out_twice

      × nodes `a` and `c` both write to `data/x`
       ╭─[pipeline.toml:4:7]
     3 │ type = "text"
     4 │ out = "data/x"
       ·       ────┬───
       ·           ╰── first here
     5 │ [source.b]
       ╰────
        ╭─[pipeline.toml:10:7]
      9 │ type = "text"
     10 │ out = "data/x/y"
        ·       ─────┬────
        ·            ╰── again here
        ╰────
      help: give each its own path

    the manifest has 2 problems
    "#);
}

#[test]
fn out_stays_in_the_project_and_off_our_files() {
    let toml = r#"
[source.a]
type = "text"
out = "/etc/passwd"
[source.b]
type = "text"
out = "data/../../x"
[source.c]
type = "text"
out = "pipeline.lock"
[source.d]
type = "text"
out = "cache/objects/x"
[source.e]
type = "text"
out = "data/{rank}/x"
[source.f]
type = "text"
out = "data/"
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::bad_out

      × `out` of node `a` is not a path in the project
       ╭─[pipeline.toml:4:7]
     3 │ type = "text"
     4 │ out = "/etc/passwd"
       ·       ──────┬──────
       ·             ╰── it leaves the project
     5 │ [source.b]
       ╰────
      help: write a path relative to the manifest, such as `out = "output/model.gguf"`

    graph::bad_out

      × `out` of node `b` is not a path in the project
       ╭─[pipeline.toml:7:7]
     6 │ type = "text"
     7 │ out = "data/../../x"
       ·       ───────┬──────
       ·              ╰── it leaves the project
     8 │ [source.c]
       ╰────
      help: write a path relative to the manifest, such as `out = "output/model.gguf"`

    graph::bad_out

      × `out` of node `c` is not a path in the project
        ╭─[pipeline.toml:10:7]
      9 │ type = "text"
     10 │ out = "pipeline.lock"
        ·       ───────┬───────
        ·              ╰── it belongs to tunesmith itself: the manifest, the lock, or the store
     11 │ [source.d]
        ╰────
      help: write a path relative to the manifest, such as `out = "output/model.gguf"`

    graph::bad_out

      × `out` of node `d` is not a path in the project
        ╭─[pipeline.toml:13:7]
     12 │ type = "text"
     13 │ out = "cache/objects/x"
        ·       ────────┬────────
        ·               ╰── it belongs to tunesmith itself: the manifest, the lock, or the store
     14 │ [source.e]
        ╰────
      help: write a path relative to the manifest, such as `out = "output/model.gguf"`

    graph::bad_out

      × `out` of node `e` is not a path in the project
        ╭─[pipeline.toml:16:7]
     15 │ type = "text"
     16 │ out = "data/{rank}/x"
        ·       ───────┬───────
        ·              ╰── only `{profile}` and the axes of the node's matrix are filled in
     17 │ [source.f]
        ╰────
      help: write a path relative to the manifest, such as `out = "output/model.gguf"`

    graph::bad_out

      × `out` of node `f` is not a path in the project
        ╭─[pipeline.toml:19:7]
     18 │ type = "text"
     19 │ out = "data/"
        ·       ───┬───
        ·          ╰── it names a folder, no file in it
        ╰────
      help: write a path relative to the manifest, such as `out = "output/model.gguf"`

    the manifest has 6 problems
    "#);
}

#[test]
fn out_is_never_a_file_that_is_read() {
    let toml = r#"
[source.a]
type = "text"
out = "data/x.jsonl"
[source.b]
type = "text"
path = "./data/x.jsonl"
[source.c]
type = "text"
out = "docs/new/page.md"
[source.d]
type = "text"
folder = "docs"
[source.e]
type = "text"
out = "docs/old/page.md"
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::out_is_input

      × `out` of node `a` is a file that node `b` reads
       ╭─[pipeline.toml:4:7]
     3 │ type = "text"
     4 │ out = "data/x.jsonl"
       ·       ───────┬──────
       ·              ╰── written here
     5 │ [source.b]
     6 │ type = "text"
     7 │ path = "./data/x.jsonl"
       ·        ────────┬───────
       ·                ╰── read here
     8 │ [source.c]
       ╰────
      help: write elsewhere, or let `b` read the node itself by `from = ["a"]`

    graph::out_is_input

      × `out` of node `c` is a file that node `d` reads
        ╭─[pipeline.toml:10:7]
      9 │ type = "text"
     10 │ out = "docs/new/page.md"
        ·       ─────────┬────────
        ·                ╰── written here
     11 │ [source.d]
     12 │ type = "text"
     13 │ folder = "docs"
        ·          ───┬──
        ·             ╰── read here
     14 │ [source.e]
        ╰────
      help: write elsewhere, or let `d` read the node itself by `from = ["c"]`

    the manifest has 2 problems
    "#);
}

#[test]
fn out_of_a_matrix_has_every_axis() {
    let toml = r#"
[source.a]
type = "text"
matrix = { rank = [1, 2], alpha = [0.5] }
out = "data/{alpha}.jsonl"
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::out_without_axis

      × `out` of matrix `a` does not contain `{rank}`
       ╭─[pipeline.toml:5:7]
     4 │ matrix = { rank = [1, 2], alpha = [0.5] }
     5 │ out = "data/{alpha}.jsonl"
       ·       ──────────┬─────────
       ·                 ╰── the same for all values of `rank`
       ╰────
      help: each node of a matrix writes a file of its own: put `{rank}` into the path
    "#);
}

#[test]
fn out_needs_bytes_to_write() {
    let toml = r#"
[eval.ship]
type = "gate"
out = "data/gate.json"
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::out_without_bytes

      × node `ship` has no output that could be written
       ╭─[pipeline.toml:4:7]
     3 │ type = "gate"
     4 │ out = "data/gate.json"
       ·       ────────┬───────
       ·               ╰── this type makes no files
       ╰────
      help: remove `out`; `tunesmith show ship` prints its fields
    "#);
}
