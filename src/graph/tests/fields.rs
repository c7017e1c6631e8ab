//! What a user sees of mistakes in matrices, fields and gates.

use insta::assert_snapshot;

use super::problems;

#[test]
fn a_matrix_is_named_with_a_selector() {
    let toml = r#"
[model]
[source.docs]
type = "text"
[filter.pairs]
type = "pairs"
from = ["docs"]
[train.expert]
type = "lora"
from = ["pairs"]
matrix = { rank = [8, 16] }
[export.a]
type = "gguf"
from = ["expert"]
[export.b]
type = "gguf"
from = ["expert@rank=9"]
[export.c]
type = "push"
from = ["b@*"]
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::matrix_without_selector

      × `expert` is a matrix of nodes
        ╭─[pipeline.toml:14:9]
     13 │ type = "gguf"
     14 │ from = ["expert"]
        ·         ────┬───
        ·             ╰── which of them?
     15 │ [export.b]
        ╰────
      help: there are `expert@rank=8`, `expert@rank=16`; `expert@*` is all of them

    graph::empty_selector

      × `expert@rank=9` names no node
        ╭─[pipeline.toml:17:9]
     16 │ type = "gguf"
     17 │ from = ["expert@rank=9"]
        ·         ───────┬───────
        ·                ╰── nothing has these values
     18 │ [export.c]
        ╰────
      help: there are `expert@rank=8`, `expert@rank=16`

    graph::empty_selector

      × `b@*` names no node
        ╭─[pipeline.toml:20:9]
     19 │ type = "push"
     20 │ from = ["b@*"]
        ·         ──┬──
        ·           ╰── nothing has these values
        ╰────
      help: `b` is a single node: write `b`

    the manifest has 3 problems
    "#);
}

#[test]
fn fields_that_are_not_there_get_a_suggestion() {
    let toml = r#"
[source.docs]
type = "text"
[eval.ship]
type = "gate"
require = ["dcos.records > 1", "docs.record > 1"]
set = { a = "x {docs.recods}", b = "{nobody.x}", c = "{{docs.recods}}" }
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::unknown_reference

      × node `ship` reads a field of unknown node `dcos`
       ╭─[pipeline.toml:6:12]
     5 │ type = "gate"
     6 │ require = ["dcos.records > 1", "docs.record > 1"]
       ·            ─────────┬────────
       ·                     ╰── no node has the name `dcos`
     7 │ set = { a = "x {docs.recods}", b = "{nobody.x}", c = "{{docs.recods}}" }
       ╰────
      help: did you mean `docs`?

    graph::unknown_field

      × node `docs` has no field `record`
       ╭─[pipeline.toml:6:32]
     5 │ type = "gate"
     6 │ require = ["dcos.records > 1", "docs.record > 1"]
       ·                                ────────┬────────
       ·                                        ╰── no such field
     7 │ set = { a = "x {docs.recods}", b = "{nobody.x}", c = "{{docs.recods}}" }
       ╰────
      help: did you mean `records`?

    graph::unknown_field

      × node `docs` has no field `recods`
       ╭─[pipeline.toml:7:13]
     6 │ require = ["dcos.records > 1", "docs.record > 1"]
     7 │ set = { a = "x {docs.recods}", b = "{nobody.x}", c = "{{docs.recods}}" }
       ·             ────────┬────────
       ·                     ╰── no such field
       ╰────
      help: did you mean `records`?

    graph::unknown_reference

      × node `ship` reads a field of unknown node `nobody`
       ╭─[pipeline.toml:7:36]
     6 │ require = ["dcos.records > 1", "docs.record > 1"]
     7 │ set = { a = "x {docs.recods}", b = "{nobody.x}", c = "{{docs.recods}}" }
       ·                                    ──────┬─────
       ·                                          ╰── no node has the name `nobody`
       ╰────
      help: nodes here: `docs`

    the manifest has 4 problems
    "#);
}

#[test]
fn gates_stand_on_exports_and_are_gates() {
    let toml = r#"
[source.docs]
type = "text"
gate = "ship"
[eval.ship]
type = "gate"
[export.a]
type = "push"
from = ["docs"]
gate = "docs"
[export.b]
type = "push"
from = ["docs"]
gate = "shipp"
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::gate_without_export

      × node `docs` cannot have a gate
       ╭─[pipeline.toml:4:8]
     3 │ type = "text"
     4 │ gate = "ship"
       ·        ───┬──
       ·           ╰── only exports have gates
     5 │ [eval.ship]
       ╰────
      help: gates guard what leaves the pipeline: put `gate` on a node of the family `export`

    graph::wrong_content

      × node `a` cannot read records from `docs`
        ╭─[pipeline.toml:9:9]
      8 │ type = "push"
      9 │ from = ["docs"]
        ·         ───┬──
        ·            ╰── this is records
     10 │ gate = "docs"
        ╰────
      help: nodes of type `push` read a GGUF

    graph::unknown_gate

      × `docs` is no gate
        ╭─[pipeline.toml:10:8]
      9 │ from = ["docs"]
     10 │ gate = "docs"
        ·        ───┬──
        ·           ╰── no node `[eval.docs]` with `type = "gate"`
     11 │ [export.b]
        ╰────
      help: gates here: `ship`

    graph::wrong_content

      × node `b` cannot read records from `docs`
        ╭─[pipeline.toml:13:9]
     12 │ type = "push"
     13 │ from = ["docs"]
        ·         ───┬──
        ·            ╰── this is records
     14 │ gate = "shipp"
        ╰────
      help: nodes of type `push` read a GGUF

    graph::unknown_gate

      × `shipp` is no gate
        ╭─[pipeline.toml:14:8]
     13 │ from = ["docs"]
     14 │ gate = "shipp"
        ·        ───┬───
        ·           ╰── no node `[eval.shipp]` with `type = "gate"`
        ╰────
      help: did you mean `ship`?

    the manifest has 5 problems
    "#);
}

#[test]
fn a_matrix_of_millions_is_refused_before_it_is_made() {
    let toml = r#"
[source.docs]
type = "text"
[source.docs.matrix]
a0 = [1,2,3,4,5,6,7,8,9,10]
a1 = [1,2,3,4,5,6,7,8,9,10]
a2 = [1,2,3,4,5,6,7,8,9,10]
a3 = [1,2,3,4,5,6,7,8,9,10]
a4 = [1,2,3,4,5,6,7,8,9,10]
a5 = [1,2,3,4,5,6,7,8,9,10]
a6 = [1,2,3,4,5,6,7,8,9,10]
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::too_large

      × the manifest makes more than 100000 nodes
       ╭─[pipeline.toml:2:9]
     1 │ schema = 1
     2 │ [source.docs]
       ·         ──┬─
       ·           ╰── here the limit is passed
     3 │ type = "text"
       ╰────
      help: a matrix makes one node for each combination of its values: give it fewer
    "#);
}
