//! `tunesmith doctor --ollama` against a server of Ollama's API.

use serde_json::{Value, json};
use tempfile::TempDir;
use tunesmith::llama::Model;

use crate::support::fake_ollama::FakeOllama;
use crate::support::program::{Ran, program, write};
use crate::support::tiny::project;

const EXPORTS: &str = r#"
[export.modelfile]
type = "modelfile"
from = ["gguf"]
[export.ollama]
type = "ollama"
from = ["gguf"]
name = "expert:1m"
"#;

/// A project with a deployed model.
struct Deployed {
    space: TempDir,
    ollama: FakeOllama,
}

impl Deployed {
    fn new() -> Self {
        let deployed = Self { space: project(), ollama: FakeOllama::start() };
        let manifest = fs_err::read_to_string(deployed.space.path().join("pipeline.toml")).unwrap();
        let manifest = manifest.replace("max-tokens = 128", "max-tokens = 128\nsystem = \"You know it.\"");
        write(deployed.space.path(), &[("pipeline.toml", &format!("{manifest}{EXPORTS}"))]);
        deployed.run(&["build", "--deploy"]).expect(0);
        deployed
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        program(self.space.path()).args(arguments).env("OLLAMA_HOST", &self.ollama.address).output().unwrap().into()
    }

    /// Returns what is found of Ollama, one finding for each model.
    fn found(&self, arguments: &[&str], code: i32) -> Vec<Value> {
        let ran = self.run(&[&["doctor", "--json"], arguments].concat()).expect(code);
        let findings = ran.json().into_iter().map(|object| object["doctor"].clone());
        findings.filter(|finding| finding["check"] == "ollama").collect()
    }

    #[track_caller]
    fn finds(&self, arguments: &[&str], state: &str, says: &str) {
        let found = self.found(arguments, i32::from(state == "bad"));
        let [finding] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding["state"], state, "{finding}");
        assert!(format!("{} | {}", finding["found"], finding["help"]).contains(says), "{finding}");
    }

    /// Makes the server one of the time before renders were shown, which counts tokens as llama.cpp does, and so many more.
    fn grow_old(&self, more: i64) {
        let gguf = self.space.path().join("model.gguf");
        let count = move |text: &str| {
            let tokens = Model::load_vocabulary(&gguf).unwrap().tokenize_served(text).unwrap();
            (tokens.len() as i64 + more) as u64
        };
        self.ollama.change(|world| world.counts = Some(Box::new(count)));
    }
}

/// What a server makes of a conversation that trims its texts.
fn trimmed(messages: &[Value]) -> String {
    let turn = |message: &Value| {
        let [role, content] = ["role", "content"].map(|key| message[key].as_str().unwrap().trim());
        format!("<|im_start|>{role}\n{content}<|im_end|>\n")
    };
    messages.iter().map(turn).collect::<String>() + "<|im_start|>assistant\n"
}

#[test]
fn a_deployed_model_is_compared_token_by_token() {
    let deployed = Deployed::new();
    let is_well = "is asked by the tokens of training: 5 conversations";
    deployed.finds(&["--ollama"], "good", is_well);
    let people = deployed.run(&["doctor", "--ollama"]).expect(0).out;
    assert!(people.contains("good  ollama: `expert:1m` on http://127.0.0.1:"), "{people}");
    assert!(deployed.ollama.log().iter().all(|line| !line.contains("DELETE")));

    deployed.ollama.change(|world| world.renders = Some(trimmed));
    deployed.finds(&["--ollama"], "bad", "a question with spaces and lines around it, token ");
    deployed.ollama.change(|world| world.renders = None);

    // Another system prompt on the server.
    deployed.ollama.change(|world| world.models.get_mut("expert:1m").unwrap()["system"] = json!("You guess."));
    deployed.finds(&["--ollama"], "bad", "a question, token ");
}

#[test]
fn an_older_server_is_compared_by_the_number_of_tokens_and_that_is_said() {
    let deployed = Deployed::new();
    deployed.grow_old(0);
    deployed.finds(&["--ollama"], "good", "only the number of tokens was compared, which is weaker");
    deployed.grow_old(1);
    deployed.finds(&["--ollama"], "bad", "a question: training has ");
    deployed.grow_old(-1);
    deployed.finds(&["--ollama"], "optional", "some servers do not count what they still have");
}

#[test]
fn a_model_that_was_created_by_hand_is_found_by_its_file_or_by_name() {
    let deployed = Deployed::new();
    let manifest = fs_err::read_to_string(deployed.space.path().join("pipeline.toml")).unwrap();
    let by_hand = manifest.split("[export.ollama]").next().unwrap();
    write(deployed.space.path(), &[("pipeline.toml", by_hand)]);
    deployed.ollama.change(|world| {
        let model = world.models["expert:1m"].clone();
        world.models.clear();
        world.models.insert("other:latest".into(), json!({"files": {"model.gguf": "sha256:00"}}));
        world.models.insert("mine:latest".into(), model);
    });
    deployed.finds(&["--ollama"], "good", "`mine:latest` on ");
    deployed.finds(&["--ollama", "--ollama-model", "mine"], "good", "`mine` on ");
    deployed.finds(&["--ollama", "--ollama-model", "modelfile=mine"], "good", "`mine` on ");
    deployed.finds(&["--ollama", "--ollama-model", "yours"], "bad", "has no model `yours`");
    deployed.finds(&["--ollama", "--ollama-model", "pairs=mine"], "bad", "gives no model");
    deployed.ollama.change(|world| world.models.remove("mine:latest"));
    deployed.finds(&["--ollama"], "optional", "has no model that is made of this file");
}

#[test]
fn a_server_that_is_not_there_and_a_model_that_was_never_built_are_told() {
    let deployed = Deployed::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    deployed.finds(&["--ollama", &nobody], "bad", "no Ollama answers at ");
    deployed.finds(&["--ollama", &format!("{}/v1", deployed.ollama.address)], "bad", "without `/api` and `/v1`");
    deployed.finds(&["--ollama", "--set", "train.expert.epochs=6"], "good", "is asked by the tokens of training");
    assert!(deployed.found(&[], 0).is_empty(), "without the option nobody is asked");
    fs_err::remove_dir_all(deployed.space.path().join("cache")).unwrap();
    deployed.finds(&["--ollama"], "bad", "`gguf` was never built");
}
