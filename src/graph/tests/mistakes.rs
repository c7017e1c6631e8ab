//! What a user sees of each mistake.

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

#[test]
fn settings_that_a_kind_refuses_are_pointed_at() {
    let toml = r#"
[model]
max-token = 2
[source.docs]
type = "text"
rank = "high"
paht = "x"
set = { a = 1 }
[source.more]
type = "text"
matrix = { rank = [8, "x"], foo = [1] }
"#;
    assert_snapshot!(problems(toml), @r#"
    settings::unknown_key

      × node `model`: unknown setting `max-token`
       ╭─[pipeline.toml:3:1]
     2 │ [model]
     3 │ max-token = 2
       · ────┬────
       ·     ╰── no setting has this name
     4 │ [source.docs]
       ╰────
      help: did you mean `max-tokens`?

    settings::wrong_value

      × node `docs`: `rank` must be a whole number from 0, not the string "high"
       ╭─[pipeline.toml:6:8]
     5 │ type = "text"
     6 │ rank = "high"
       ·        ───┬──
       ·           ╰── expected a whole number from 0
     7 │ paht = "x"
       ╰────

    settings::unknown_key

      × node `docs`: unknown setting `paht`
       ╭─[pipeline.toml:7:1]
     6 │ rank = "high"
     7 │ paht = "x"
       · ──┬─
       ·   ╰── no setting has this name
     8 │ set = { a = 1 }
       ╰────
      help: did you mean `path`?

    settings::wrong_value

      × node `docs`: `a` must be a string, not the number `1`
       ╭─[pipeline.toml:8:13]
     7 │ paht = "x"
     8 │ set = { a = 1 }
       ·             ┬
       ·             ╰── expected a string
     9 │ [source.more]
       ╰────
      help: write `a = "1"`

    settings::wrong_value

      × node `more`: `rank` must be a whole number from 0, not the string "x"
        ╭─[pipeline.toml:11:23]
     10 │ type = "text"
     11 │ matrix = { rank = [8, "x"], foo = [1] }
        ·                       ─┬─
        ·                        ╰── expected a whole number from 0
        ╰────

    settings::unknown_key

      × node `more`: unknown setting `foo`
        ╭─[pipeline.toml:11:29]
     10 │ type = "text"
     11 │ matrix = { rank = [8, "x"], foo = [1] }
        ·                             ─┬─
        ·                              ╰── no setting has this name
        ╰────
      help: settings here: base, path, folder, rank, alpha, max-tokens, set, require, token

    the manifest has 6 problems
    "#);
}

#[test]
fn a_kind_that_needs_the_model_says_so() {
    let toml = r#"
[source.docs]
type = "text"
[filter.pairs]
type = "pairs"
from = ["docs"]
[train.expert]
type = "lora"
from = ["pairs"]
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::no_model

      × node `expert` needs a base model
       ╭─[pipeline.toml:8:8]
     7 │ [train.expert]
     8 │ type = "lora"
       ·        ───┬──
       ·           ╰── this type reads `[model]`
     9 │ from = ["pairs"]
       ╰────
      help: add `[model]` with its `base`, such as `base = "ollama:llama3.1:8b"`
    "#);
}

#[test]
fn refresh_and_run_options_name_what_is_there() {
    let toml = r#"
[source.docs]
type = "text"
refresh = "always"
[run.node.dosc]
retries = 1
"#;
    assert_snapshot!(problems(toml), @r#"
    graph::needless_refresh

      × node `docs` takes no snapshot that could be refreshed
       ╭─[pipeline.toml:4:11]
     3 │ type = "text"
     4 │ refresh = "always"
       ·           ────┬───
       ·               ╰── nothing remote here
     5 │ [run.node.dosc]
       ╰────
      help: remove `refresh`: local files and other nodes are looked at in each build

    graph::unknown_run_node

      × `[run.node]` names unknown node `dosc`
       ╭─[pipeline.toml:5:11]
     4 │ refresh = "always"
     5 │ [run.node.dosc]
       ·           ──┬─
       ·             ╰── no node has this name
     6 │ retries = 1
       ╰────
      help: did you mean `docs`?

    the manifest has 2 problems
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
