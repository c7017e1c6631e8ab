use std::fmt::Write as _;

use insta::assert_snapshot;
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;
use crate::engine::KindCatalog;
use crate::manifest::{Manifest, Overlays};
use crate::node::{
    Content as Holds, Determinism, Family, FieldReference as Reads, FileInput, Globs, Kind, KindInfo, NodeError,
    Outcome, OutputInfo, Run, SettingProblem, Weight, settings,
};

/// Kinds that have every trait a graph looks at, and run nothing.
#[derive(Debug)]
struct Plain {
    info: &'static KindInfo,
}

/// Settings that all these kinds share.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    base: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    folder: Option<String>,
    #[serde(default)]
    rank: Option<u32>,
    #[serde(default)]
    alpha: Option<f64>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    set: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    require: Vec<String>,
    #[serde(default)]
    token: Option<String>,
}

impl Kind for Plain {
    fn info(&self) -> &'static KindInfo {
        self.info
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, value: &Value) -> Result<Value, Vec<SettingProblem>> {
        settings::canonical::<Settings>(value)
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        let input = |setting, globs| {
            let path = settings[setting].as_str()?.into();
            Some(FileInput { setting, path, globs, optional: false })
        };
        let globs = Globs { include: vec!["**/*.md".into()], exclude: vec!["old/**".into()] };
        input("path", None).into_iter().chain(input("folder", Some(globs))).collect()
    }

    fn references(&self, settings: &Value) -> Vec<Reads> {
        let conditions = settings["require"].as_array().into_iter().flatten().enumerate();
        conditions
            .filter_map(|(index, condition)| {
                let (node, field) = condition.as_str()?.split_whitespace().next()?.split_once('.')?;
                let path = vec!["require".to_owned(), index.to_string()];
                Some(Reads { path, node: node.into(), field: field.into() })
            })
            .collect()
    }

    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Ok(Outcome::default())
    }
}

const PLAIN: KindInfo = KindInfo {
    family: Family::Source,
    name: "text",
    version: 1,
    summary: "a kind for tests",
    inputs: &[],
    outputs: &[OutputInfo { name: "records", content: Holds::Records }],
    fields: &["records"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

static INFOS: [KindInfo; 9] = [
    KindInfo {
        family: Family::Model,
        name: "base",
        outputs: &[OutputInfo { name: "weights", content: Holds::Weights }],
        fields: &["parameters"],
        ..PLAIN
    },
    PLAIN,
    KindInfo { name: "remote", pinned: true, ..PLAIN },
    KindInfo {
        family: Family::Filter,
        name: "pairs",
        inputs: &[Holds::Records],
        outputs: &[OutputInfo { name: "rows", content: Holds::Rows }],
        ..PLAIN
    },
    KindInfo {
        family: Family::Filter,
        name: "split",
        inputs: &[Holds::Rows],
        outputs: &[
            OutputInfo { name: "train", content: Holds::Rows },
            OutputInfo { name: "eval", content: Holds::Rows },
        ],
        ..PLAIN
    },
    KindInfo {
        family: Family::Train,
        name: "lora",
        inputs: &[Holds::Rows],
        outputs: &[OutputInfo { name: "adapter", content: Holds::Adapter }],
        fields: &["loss", "base-loss"],
        weights: true,
        model_settings: &["max-tokens"],
        ..PLAIN
    },
    KindInfo {
        family: Family::Export,
        name: "gguf",
        inputs: &[Holds::Adapter],
        outputs: &[OutputInfo { name: "gguf", content: Holds::Gguf }],
        fields: &["size"],
        ..PLAIN
    },
    KindInfo {
        family: Family::Export,
        name: "push",
        inputs: &[Holds::Gguf],
        outputs: &[],
        fields: &["tag"],
        effect: true,
        ..PLAIN
    },
    KindInfo { family: Family::Eval, name: "gate", outputs: &[], fields: &["met"], ..PLAIN },
];

static KINDS: [Plain; 9] = [
    Plain { info: &INFOS[0] },
    Plain { info: &INFOS[1] },
    Plain { info: &INFOS[2] },
    Plain { info: &INFOS[3] },
    Plain { info: &INFOS[4] },
    Plain { info: &INFOS[5] },
    Plain { info: &INFOS[6] },
    Plain { info: &INFOS[7] },
    Plain { info: &INFOS[8] },
];

/// The catalog of the test kinds, for tests of other modules too.
pub(crate) fn catalog() -> KindCatalog {
    KindCatalog::of(KINDS.iter().map(|kind| kind as &'static dyn Kind))
}

/// A whole pipeline that is right.
pub(crate) const RIGHT: &str = r#"
schema = 1
[project]
name = "test"
[model]
base = "gguf:base.gguf"
max-tokens = 512
[source.docs]
type = "text"
path = "docs.jsonl"
[source.issues]
type = "remote"
token = "env:TOKEN"
refresh = "24h"
[filter.pairs]
type = "pairs"
from = ["issues", "docs"]
out = "data/rows.jsonl"
[filter.dataset]
type = "split"
from = ["pairs"]
[train.expert]
type = "lora"
from = ["dataset"]
rank = 16
[export.gguf]
type = "gguf"
from = ["expert"]
out = "output/model.gguf"
[eval.ship]
type = "gate"
require = ["expert.loss < 1"]
[export.push]
type = "push"
from = ["gguf"]
gate = "ship"
set = { tag = "v{gguf.size}" }
"#;

fn build_with(toml: &str, overlays: &Overlays) -> Result<Graph, String> {
    let manifest = Manifest::parse("pipeline.toml", toml.trim_start(), overlays);
    Graph::build(&manifest, &catalog()).map_err(|problems| {
        let (mut output, _, err) = crate::cli::Output::captured();
        output.problems(&problems);
        err.text()
    })
}

#[track_caller]
fn graph(toml: &str) -> Graph {
    build_with(toml, &Overlays::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Returns what a user sees of a manifest that is wrong; `schema = 1` is put before it.
#[track_caller]
fn problems(toml: &str) -> String {
    let toml = format!("schema = 1\n{}\n", toml.trim());
    build_with(&toml, &Overlays::default()).expect_err("it must be wrong")
}

fn edges(graph: &Graph) -> String {
    let mut text = String::new();
    for node in graph.nodes() {
        let inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|edge| format!("{} {}:{}", edge.role.as_str(), graph[edge.from].name, edge.output))
            .collect();
        writeln!(text, "{} <- {}", node.name, inputs.join(", ")).unwrap();
    }
    text
}

#[test]
fn a_right_manifest_becomes_an_ordered_graph() {
    let graph = graph(RIGHT);
    assert_snapshot!(edges(&graph), @r"
    model <- 
    docs <- 
    issues <- 
    pairs <- from issues:records, from docs:records
    dataset <- from pairs:rows
    expert <- from dataset:train, model model:weights
    gguf <- from expert:adapter
    ship <- fields expert:adapter
    push <- from gguf:gguf, fields gguf:gguf, gate ship:
    ");
    let expert = &graph[graph.find("expert").unwrap()];
    assert_eq!(expert.kind_name, "train.lora");
    assert_eq!(expert.settings["max-tokens"], 512, "copied from [model]");
    assert_eq!(expert.settings["set"], serde_json::json!({}), "defaults are filled in");
    let push = &graph[graph.find("push").unwrap()];
    assert!(push.effect);
    assert_eq!(push.gate, graph.find("ship"));
    assert_eq!(push.references[0].placeholder, "{gguf.size}");
    assert_eq!(push.references[0].path, ["set", "tag"]);
}

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

      × node `docs`: invalid type: string "high", expected u32
       ╭─[pipeline.toml:6:8]
     5 │ type = "text"
     6 │ rank = "high"
       ·        ───┬──
       ·           ╰── here
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

      × node `docs`: invalid type: integer `1`, expected a string
       ╭─[pipeline.toml:8:13]
     7 │ paht = "x"
     8 │ set = { a = 1 }
       ·             ┬
       ·             ╰── here
     9 │ [source.more]
       ╰────
    settings::wrong_value

      × node `more`: invalid type: string "x", expected u32
        ╭─[pipeline.toml:11:23]
     10 │ type = "text"
     11 │ matrix = { rank = [8, "x"], foo = [1] }
        ·                       ─┬─
        ·                        ╰── here
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
      help: add `[model]` with `base = "…"`
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

      × the manifest makes more than 1000000 nodes
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

#[test]
fn a_matrix_makes_a_node_for_each_combination() {
    let graph = graph(
        r#"
schema = 1
[model]
[source.docs]
type = "text"
[filter.pairs]
type = "pairs"
from = ["docs"]
[train.expert]
type = "lora"
from = ["pairs"]
matrix = { rank = [8, 16], alpha = [0.5, 1.0] }
out = "out/{rank}-{alpha}"
[export.all]
type = "gguf"
from = ["expert@*"]
[export.some]
type = "gguf"
from = ["expert@rank=8"]
[run]
threads = 2
[run.node.expert]
retries = 5
[run.node."expert@alpha=0.5,rank=8"]
timeout = "2h"
"#,
    );
    assert_snapshot!(edges(&graph), @r"
    model <- 
    docs <- 
    pairs <- from docs:records
    expert@alpha=0.5,rank=8 <- from pairs:rows, model model:weights
    expert@alpha=0.5,rank=16 <- from pairs:rows, model model:weights
    expert@alpha=1.0,rank=8 <- from pairs:rows, model model:weights
    expert@alpha=1.0,rank=16 <- from pairs:rows, model model:weights
    all <- from expert@alpha=0.5,rank=8:adapter, from expert@alpha=0.5,rank=16:adapter, from expert@alpha=1.0,rank=8:adapter, from expert@alpha=1.0,rank=16:adapter
    some <- from expert@alpha=0.5,rank=8:adapter, from expert@alpha=1.0,rank=8:adapter
    ");
    let one = &graph[graph.find("expert@alpha=0.5,rank=8").unwrap()];
    assert_eq!(one.out.as_deref(), Some("out/8-0.5"));
    assert_eq!(one.settings["rank"], 8);
    assert_eq!(one.run.retries, 5);
    assert_eq!(one.run.threads, Some(2));
    assert_eq!(one.run.timeout, Some(std::time::Duration::from_secs(7200)));
}

#[test]
fn a_profile_writes_only_paths_of_its_own() {
    let toml = r#"
schema = 1
[source.a]
type = "text"
out = "data/a.jsonl"
[source.b]
type = "text"
out = "data/{profile}/b.jsonl"
[profile.cpu]
"source.a.rank" = 4
"#;
    let overlays = Overlays { profile: Some("cpu".into()), set: vec!["source.b.path=b.jsonl".into()] };
    let graph = build_with(toml, &overlays).unwrap();
    assert_eq!(graph.nodes()[0].out, None);
    assert_eq!(graph.nodes()[0].settings["rank"], 4);
    assert_eq!(graph.nodes()[1].out.as_deref(), Some("data/cpu/b.jsonl"));
    assert_eq!(graph.nodes()[1].settings["path"], "b.jsonl");
    assert_eq!(graph.notes()[0].node, "a");
    assert_eq!(self::graph(toml).nodes()[1].out.as_deref(), Some("data/default/b.jsonl"));
}

#[test]
fn a_selection_is_what_the_names_mean() {
    let graph = graph(RIGHT);
    let select = |targets: &[&str], up_to: &[&str], from: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let selected = graph.select(&owned(targets), &owned(up_to), &owned(from)).unwrap();
        selected.into_iter().map(|index| graph[index].name.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(select(&[], &[], &[]).split(' ').count(), graph.nodes().len());
    assert_eq!(select(&["dataset"], &[], &[]), "docs issues pairs dataset");
    assert_eq!(select(&[], &["pairs"], &["issues"]), "issues pairs");
    assert_eq!(select(&["gguf"], &[], &["dataset"]), "dataset expert gguf");
    let unknown = graph.select(&["datset".into()], &[], &[]).unwrap_err();
    assert_eq!(unknown.help.as_deref(), Some("did you mean `dataset`?"));
}

/// A manifest of filters, each of which reads some of the others: `reads[i]` are numbers of nodes.
fn random_manifest(reads: &[Vec<usize>]) -> String {
    let mut text =
        "schema = 1\n[source.s]\ntype = \"text\"\n[filter.start]\ntype = \"pairs\"\nfrom = [\"s\"]\n".to_owned();
    for (index, inputs) in reads.iter().enumerate() {
        let mut from: std::collections::BTreeSet<String> = inputs.iter().map(|input| format!("\"n{input}\"")).collect();
        from.insert("\"start\"".into());
        let from: Vec<String> = from.into_iter().collect();
        writeln!(text, "[filter.n{index}]\ntype = \"split\"\nfrom = [{}]", from.join(", ")).unwrap();
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_node_comes_after_what_it_reads(
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        picks in proptest::collection::vec(proptest::collection::vec(0..12usize, 0..4), 12),
    ) {
        // Node `order[i]` may read nodes `order[..i]` only, so there is no loop.
        let mut reads = vec![Vec::new(); 12];
        for (place, node) in order.iter().enumerate() {
            reads[*node] = picks[place].iter().filter(|pick| **pick < place).map(|pick| order[*pick]).collect();
        }
        let text = random_manifest(&reads);
        let graph = graph(&text);
        prop_assert_eq!(graph.nodes().len(), 14);
        for index in graph.indices() {
            for edge in &graph[index].inputs {
                prop_assert!(edge.from < index);
                prop_assert!(graph.dependants(edge.from).contains(&index));
            }
        }
        let again = self::graph(&text);
        let names = |graph: &Graph| graph.nodes().iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        prop_assert_eq!(names(&graph), names(&again));
    }

    #[test]
    fn a_loop_is_always_found(length in 1..10usize, extra in 0..5usize) {
        let mut reads: Vec<Vec<usize>> = (0..length).map(|node| vec![(node + 1) % length]).collect();
        reads.extend((0..extra).map(|_| vec![0]));
        let problems = build_with(&random_manifest(&reads), &Overlays::default()).unwrap_err();
        prop_assert!(problems.contains("graph::cycle"), "{}", problems);
    }
}
