//! The bytes that each kind gives of the same inputs, by version. A change of bytes without a new version would leave
//! old results standing for new ones in every store, so it fails here: raise the kind's version, and put its new lines
//! into `tests/golden.txt`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use tunesmith::node::{Family, kinds};

use crate::support::fake_repository::FakeRepository;
use crate::support::node_run::Bench;
use crate::support::program::{tunesmith, write};
use crate::support::tiny;

/// Kinds whose bytes are not the same everywhere, or that have none.
const WITHOUT: [(&str, &str); 12] = [
    ("eval.compare", "llama.cpp's sums depend on the processor"),
    ("eval.gate", "it has fields and no bytes"),
    ("eval.ladder", "llama.cpp's sums depend on the processor"),
    ("eval.stops", "llama.cpp's sums depend on the processor"),
    ("export.copy", "an effect: what it writes are its input's bytes"),
    ("export.helm-values", "an effect without outputs"),
    ("export.huggingface", "an effect without outputs"),
    ("export.oci", "an effect without outputs"),
    ("export.ollama", "an effect without outputs"),
    ("filter.synthesize", "two models write two texts"),
    ("source.deepwiki", "pinned beside its other tests, where its server is"),
    ("source.website", "pinned beside its other tests, since the address of a server is in its bytes"),
];

/// Nodes for the kinds that the tiny project has none of.
const MORE: &str = r#"
[source.docs]
type = "markdown"
path = "docs"
[source.fixes]
type = "corrections"
path = "corrections.jsonl"
[source.made]
type = "command"
argv = ["sh", "-c", "echo made > out"]
outputs.out.path = "out"
[filter.remade]
type = "command"
from = ["pairs"]
argv = ["sh", "-c", "echo remade > out"]
outputs.out.path = "out"
[filter.all]
type = "conversations"
from = ["docs", "fixes"]
[filter.dataset]
type = "split"
from = ["pairs"]
eval = 0.3
[filter.good]
type = "quality"
from = ["pairs"]
min-answer-characters = 4
[filter.clean]
type = "scrub"
from = ["all"]
[filter.once]
type = "dedup"
from = ["pairs"]
[filter.fair]
type = "decontaminate"
from = ["pairs", "all"]
against = ["all"]
[filter.mixed]
type = "mix"
from = ["pairs"]
sources = { "*" = { max = 3, weight = 2.0 } }
[train.whole]
type = "full"
from = ["pairs"]
epochs = 2
[export.merged]
type = "safetensors"
from = ["expert"]
[export.beside]
type = "adapter-gguf"
from = ["expert"]
[export.card]
type = "model-card"
from = ["gguf", "expert"]
[export.modelfile]
type = "modelfile"
from = ["gguf"]
[eval.parity]
type = "parity"
from = ["gguf", "all"]
[export.packed]
type = "command"
from = ["gguf"]
argv = ["sh", "-c", "echo packed > out"]
outputs.out.path = "out"
"#;

const GUIDE: &str = "# Guide\n\n## Install\n\nRun the installer and wait until all of its parts are there; then run the \
    check, which says what is missing and how to get it. That takes a minute or two.\n\n```\n# not a heading\n```\n";

const NODES: [&str; 23] = [
    "model",
    "rows",
    "docs",
    "fixes",
    "made",
    "pairs",
    "all",
    "dataset",
    "remade",
    "good",
    "clean",
    "once",
    "fair",
    "mixed",
    "expert",
    "whole",
    "gguf",
    "merged",
    "beside",
    "card",
    "modelfile",
    "parity",
    "packed",
];

/// Returns a line for each output of a built node: kind, output, digest.
fn lines_of(folder: &Path, node: &str) -> String {
    let shown = tunesmith(folder, &["show", node, "--json"]).expect(0).json();
    let show = &shown[0]["show"];
    let mut lines = String::new();
    for output in show["outputs"].as_array().unwrap() {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        line(
            &mut lines,
            &text(&show["kind"]),
            &format!("{node}:{}", text(&output["output"])),
            &text(&output["digest"]),
        );
    }
    lines
}

fn line(lines: &mut String, kind: &str, what: &str, digest: &str) {
    let version = kinds().into_iter().find(|known| known.info().full_name() == kind).unwrap().info().version;
    writeln!(lines, "{kind} {version} {what} {digest}").unwrap();
}

/// Returns the line of the kind that reads the documents of repositories.
fn documents() -> String {
    let github = FakeRepository::small();
    let settings = json!({"repos": ["o/r"], "api": github.address});
    let outcome = Bench::new().run(Family::Source, "github-docs", &settings).unwrap();
    let mut lines = String::new();
    line(&mut lines, "source.github-docs", "docs:documents", &outcome.outputs["documents"].digest().to_string());
    lines
}

#[test]
fn no_kind_changes_its_bytes_without_a_new_version() {
    let space = tiny::project();
    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    let correction = r#"{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"supersedes":"x"}"#;
    write(
        space.path(),
        &[("pipeline.toml", &(manifest + MORE)), ("docs/guide.md", GUIDE), ("corrections.jsonl", correction)],
    );
    tunesmith(space.path(), &["build"]).expect(0);
    let found: String = NODES.iter().map(|node| lines_of(space.path(), node)).collect::<String>()
        + &crate::github::golden::lines()
        + &documents();
    let golden = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden.txt")).unwrap();
    assert!(found == golden, "see the head of this test; now they are:\n{found}\nbefore:\n{golden}");
    let covered: BTreeSet<&str> = golden.lines().filter_map(|line| line.split(' ').next()).collect();
    for kind in kinds() {
        let name = kind.info().full_name();
        let is_known = covered.contains(name.as_str()) || WITHOUT.iter().any(|(without, _)| *without == name);
        assert!(is_known, "no line of `{name}` in tests/golden.txt");
    }
}
