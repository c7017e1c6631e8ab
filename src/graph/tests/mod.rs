//! Tests of the graph, with kinds of their own.

mod fields;
mod inputs;
mod kinds;
mod paths;
mod settings;

use std::fmt::Write as _;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::manifest::{Manifest, Overlays};
pub(crate) use kinds::catalog;

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
        writeln!(text, "{}", format!("{} <- {}", node.name, inputs.join(", ")).trim_end()).unwrap();
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
    assert_eq!(one.run.timeout, Some(std::time::Duration::from_hours(2)));
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

#[test]
fn a_graph_is_drawn_with_states() {
    let toml = "schema = 1\n[source.docs]\ntype = \"text\"\n[filter.pairs]\ntype = \"pairs\"\nfrom = [\"docs\"]\n\
                [eval.ship]\ntype = \"gate\"\nrequire = [\"pairs.records > 1\"]\n";
    let graph = graph(toml);
    let drawing = Drawing { graph: &graph, states: &[State::Fresh, State::Stale, State::NeverBuilt] };
    let lines: Vec<String> = drawing.text().into_iter().map(|(state, line)| format!("{state:?}: {line}")).collect();
    assert_snapshot!(lines.join("\n"), @r"
    Fresh: docs   source.text
    Stale: pairs  filter.pairs  ← docs
    NeverBuilt: ship   eval.gate     ← pairs (fields)
    ");
    assert_snapshot!(drawing.mermaid(), @r#"
    flowchart LR
      n0["docs<br/>source.text"]:::fresh
      n1["pairs<br/>filter.pairs"]:::stale
      n2["ship<br/>eval.gate"]:::never-built
      n0 --> n1
      n1 -.-> n2
      classDef fresh fill:#c8e6c9,color:#000
      classDef stale fill:#ffe0b2,color:#000
      classDef never-built fill:#e0e0e0,color:#000
      classDef held fill:#bbdefb,color:#000
      classDef refused fill:#ffcdd2,color:#000
    "#);
    let dot = drawing.dot();
    assert_eq!((dot.matches("fillcolor=").count(), dot.matches(" -> ").count()), (3, 2));
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
