//! What a user sees of mistakes in types and inputs.

use insta::assert_snapshot;

use super::problems;

#[test]
fn an_unknown_type_gets_a_suggestion() {
    let toml = r#"
[source.docs]
type = "txt"
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::unknown_type

      × there is no type `txt` in the family `source`
       ╭─[pipeline.toml:3:8]
     2 │ [source.docs]
     3 │ type = "txt"
       ·        ──┬──
       ·          ╰── no kind of node
       ╰────
      help: did you mean `text`?
    "#);
}

#[test]
fn a_type_of_another_family_names_the_family() {
    let toml = r#"
[source.expert]
type = "lora"
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::unknown_type

      × there is no type `lora` in the family `source`
       ╭─[pipeline.toml:3:8]
     2 │ [source.expert]
     3 │ type = "lora"
       ·        ───┬──
       ·           ╰── no kind of node
       ╰────
      help: it is a type of the family `train`: write `[train.expert]`
    "#);
}

#[test]
fn a_misspelt_input_gets_a_suggestion() {
    let toml = r#"
[source.docs]
type = "text"
[filter.pairs]
type = "pairs"
from = ["dosc"]
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::unknown_input

      × node `pairs` reads unknown input `dosc`
       ╭─[pipeline.toml:6:9]
     5 │ type = "pairs"
     6 │ from = ["dosc"]
       ·         ───┬──
       ·            ╰── no node has this name
       ╰────
      help: did you mean `docs`?
    "#);
}

#[test]
fn an_unknown_output_lists_the_outputs() {
    let toml = r#"
[source.docs]
type = "text"
[filter.pairs]
type = "pairs"
from = ["docs"]
[filter.dataset]
type = "split"
from = ["pairs"]
[filter.again]
type = "split"
from = ["dataset:tests"]
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::unknown_output

      × node `dataset` has no output `tests`
        ╭─[pipeline.toml:12:9]
     11 │ type = "split"
     12 │ from = ["dataset:tests"]
        ·         ───────┬───────
        ·                ╰── no such output
        ╰────
      help: outputs of `dataset`: `train`, `eval`
    "#);
}

#[test]
fn content_that_a_kind_cannot_read_names_what_it_could() {
    let toml = r#"
[source.docs]
type = "text"
[filter.pairs]
type = "pairs"
from = ["docs"]
[filter.dataset]
type = "split"
from = ["docs"]
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::wrong_content

      × node `dataset` cannot read records from `docs`
       ╭─[pipeline.toml:9:9]
     8 │ type = "split"
     9 │ from = ["docs"]
       ·         ───┬──
       ·            ╰── this is records
       ╰────
      help: nodes of type `split` read rows, which `pairs` would give
    "#);
}

#[test]
fn missing_and_needless_from_are_problems() {
    let toml = r#"
[source.docs]
type = "text"
from = ["other"]
[filter.pairs]
type = "pairs"
[filter.more]
type = "pairs"
from = []
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::needless_from

      × node `docs` of type `text` reads no other node
       ╭─[pipeline.toml:4:8]
     3 │ type = "text"
     4 │ from = ["other"]
       ·        ────┬────
       ·            ╰── not read
     5 │ [filter.pairs]
       ╰────
      help: remove `from`

    graph::missing_from

      × node `pairs` does not say what it reads
       ╭─[pipeline.toml:5:9]
     4 │ from = ["other"]
     5 │ [filter.pairs]
       ·         ──┬──
       ·           ╰── reads nothing
     6 │ type = "pairs"
       ╰────
      help: add `from = ["NODE"]`: nodes of type `pairs` read records, which `docs` would give

    graph::missing_from

      × node `more` does not say what it reads
       ╭─[pipeline.toml:9:8]
     8 │ type = "pairs"
     9 │ from = []
       ·        ─┬
       ·         ╰── reads nothing
       ╰────
      help: add `from = ["NODE"]`: nodes of type `pairs` read records, which `docs` would give

    the manifest has 3 problems
    "#);
}

#[test]
fn every_edge_of_a_loop_is_labelled() {
    let toml = r#"
[filter.a]
type = "split"
from = ["c"]
[filter.b]
type = "split"
from = ["a"]
[filter.c]
type = "split"
from = ["b:eval"]
[filter.after]
type = "split"
from = ["a"]
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::cycle

      × nodes read each other in a loop: `a` → `c` → `b` → `a`
        ╭─[pipeline.toml:4:9]
      3 │ type = "split"
      4 │ from = ["c"]
        ·         ─┬─
        ·          ╰── `a` reads `c`
      5 │ [filter.b]
      6 │ type = "split"
      7 │ from = ["a"]
        ·         ─┬─
        ·          ╰── `b` reads `a`
      8 │ [filter.c]
      9 │ type = "split"
     10 │ from = ["b:eval"]
        ·         ────┬───
        ·             ╰── `c` reads `b`
     11 │ [filter.after]
        ╰────
      help: remove one of these edges
    "#);
}

#[test]
fn a_node_that_reads_itself_is_a_loop() {
    let toml = r#"
[filter.a]
type = "split"
from = ["a"]
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::cycle

      × nodes read each other in a loop: `a` → `a`
       ╭─[pipeline.toml:4:9]
     3 │ type = "split"
     4 │ from = ["a"]
       ·         ─┬─
       ·          ╰── `a` reads `a`
       ╰────
      help: remove one of these edges
    "#);
}
