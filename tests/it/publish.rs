//! `examples/publish` with a tiny model in the place of its base: a gate that holds back, a commit on a hub, an artifact in
//! a registry, and the way back.

use crate::support::example::Example;
use crate::support::fake_hub::{FakeHub, TOKEN};
use crate::support::fake_registry::{FakeRegistry, LOGIN, Login};
use crate::support::program::{Ran, flat, program};

/// The gate's bound in the example.
const GATE: &str = "\"ladder.Q8_0.kl < 0.05\"";
const REPO: &str = "our-company/expert";

struct Project {
    example: Example,
    hub: FakeHub,
    registry: FakeRegistry,
}

impl Project {
    fn new() -> Self {
        let (hub, registry) = (FakeHub::start(), FakeRegistry::start());
        let project = Self { example: Example::of("publish", &["pipeline.toml"]), hub, registry };
        project.example.edit("\"hf:HuggingFaceTB/SmolLM2-135M-Instruct\"", "\"dir:model\"");
        project.example.edit("ghcr.io/our-company", &format!("{}/team", project.registry.host));
        project.example.edit("username = \"our-company\"", &format!("username = \"{}\"", LOGIN.0));
        project.registry.change(|world| world.login = Login::Bearer);
        project
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut program = program(&self.example.folder());
        program.env("HF_ENDPOINT", &self.hub.address).env("HF_TOKEN", TOKEN).env("REGISTRY_PASSWORD", LOGIN.1);
        program.args(arguments).output().unwrap().into()
    }
}

/// Runs the example with a training that is always rehearsed, and a gate that is never met.
fn rehearsed() -> Project {
    let project = Project::new();
    project.example.edit("[project]", "[run]\nrehearse = true\n\n[project]");
    project.example.edit(GATE, "\"ladder.Q8_0.kl < 0\"");
    project
}

#[test]
fn hub_and_registry_are_looked_at_before_the_first_step_and_nothing_is_published() {
    let project = rehearsed();
    let held = project.run(&["build", "--deploy"]).expect(3);
    let line = held.err.lines().find(|line| line.contains("rehearsed what follows: ")).unwrap();
    for part in [
        "`ladder` ",
        "`merged` ",
        "`hub` ",
        "1 hub takes files; nothing was put there",
        "7 files would be changed",
        "`registry` ",
        "1 registry takes files; nothing was put there",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(project.hub.log(), Vec::<String>::new());
    assert_eq!(project.registry.log(), ["POST uploads", "POST uploads", "DELETE uploads"], "an upload, given up");
    assert_eq!((project.hub.change(|world| world.repos.len()), project.registry.tags().len()), (0, 0));
}

#[test]
fn a_token_or_a_password_that_cannot_write_stops_a_build_that_would_publish() {
    let project = rehearsed();
    project.hub.change(|world| world.role = "read");
    let stopped = flat(&project.run(&["build", "--deploy"]).expect(1).err);
    assert!(stopped.contains("✗ expert") && !stopped.contains("the longest micro-batch"), "{stopped}");
    assert!(stopped.contains("the token in `HF_TOKEN` cannot write"), "{stopped}");
    let warned = flat(&project.run(&["build"]).expect(3).err);
    assert!(warned.contains("warning: `hub` would fail: the token in `HF_TOKEN` cannot write"), "{warned}");

    let project = rehearsed();
    project.example.edit("password = \"env:REGISTRY_PASSWORD\"", "password = \"env:HF_TOKEN\"");
    let stopped = flat(&project.run(&["build", "--deploy"]).expect(1).err);
    assert!(stopped.contains("`registry` (export.oci) failed") && stopped.contains("(401)"), "{stopped}");
}

#[test]
fn a_model_is_held_back_by_its_gate_then_published_and_taken_back() {
    let project = Project::new();
    project.example.edit(GATE, "\"ladder.Q8_0.kl < 0\"");
    let held = project.run(&["build", "--deploy"]).expect(3);
    assert!(held.err.contains("`ladder.Q8_0.kl < 0`"), "{}", held.err);
    assert_eq!((project.hub.log(), project.registry.log()), (Vec::new(), Vec::new()));

    project.example.edit("\"ladder.Q8_0.kl < 0\"", "\"ladder.Q8_0.kl < 1000\"");
    project.run(&["build", "--deploy"]).expect(0);
    let first = project.hub.files(REPO, "main");
    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            ".gitattributes",
            "README.md",
            "chat_template.jinja",
            "config.json",
            "expert-Q8_0.gguf",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    let card = String::from_utf8(first["README.md"].clone()).unwrap();
    let loss = card.lines().find(|line| line.starts_with("| Held-out loss")).unwrap();
    let number = loss.split('|').nth(2).unwrap().trim();
    assert!(number.parse::<f64>().unwrap() > 0.0, "{loss}");
    let tags = project.registry.tags();
    assert_eq!(tags.len(), 2);
    let url = tags["135m"]["annotations"]["org.opencontainers.image.source"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("{}/{REPO}/tree/", project.hub.address)), "{url}");

    project.hub.log();
    project.registry.log();
    project.run(&["build", "--deploy"]).expect(0);
    assert_eq!((project.hub.log(), project.registry.log()), (Vec::new(), Vec::new()), "nothing is published twice");

    project.example.edit("epochs = 4", "epochs = 5");
    project.run(&["build", "--deploy"]).expect(0);
    assert_ne!(project.hub.files(REPO, "main"), first);
    project.run(&["rollback"]).expect(0);
    assert_eq!((project.hub.files(REPO, "main"), &project.registry.tags()["135m"]), (first, &tags["135m"]));
}
