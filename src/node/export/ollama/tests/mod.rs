//! `export.ollama` against a server of its API.

#[path = "../../../../../tests/it/support/fake_ollama.rs"]
mod fake_ollama;
mod local;

use serde_json::{Value, json};

use super::recipe::Recipe;
use super::settings::Settings;
use super::{ExportOllama, deploy, rollback};
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _, NodeError, Outcome};
use crate::store::Artifact;
use fake_ollama::{FakeOllama, Fault};

/// A server, and a node that deploys to it.
struct Place {
    bench: Bench,
    server: FakeOllama,
    settings: Value,
}

impl Place {
    fn new() -> Self {
        let server = FakeOllama::start();
        let settings = json!({"name": "expert:8b", "host": server.address, "system": "Be short.", "keep": 1});
        Self { bench: Bench::new(), server, settings }
    }

    fn set(&mut self, key: &str, value: Value) {
        self.settings[key] = value;
    }

    /// Returns a GGUF as the node's input, another one for each number.
    fn gguf(&self, number: u8) -> JobInput {
        let mut bytes = include_bytes!("../../../../../tests/fixtures/tiny-llama/reference.gguf").to_vec();
        bytes.push(number);
        let file = Artifact::File(self.bench.store.put_file_bytes(&bytes).unwrap());
        self.bench.input(InputRole::From, "gguf", "gguf", Some(file), json!({}))
    }

    fn deploy(&self, number: u8) -> Result<Outcome, NodeError> {
        let settings = ExportOllama.canonical(&self.settings).unwrap();
        self.bench.with_run(&ExportOllama, &settings, vec![self.gguf(number)], &[], |run| {
            let settings: Settings = run.settings()?;
            deploy::deploy(run, &settings, &Recipe::files(run, &settings)?)
        })
    }

    fn roll_back(&self) -> Result<Vec<String>, NodeError> {
        let settings = ExportOllama.canonical(&self.settings).unwrap();
        self.bench.with_run(&ExportOllama, &settings, Vec::new(), &[], |run| rollback::roll_back(run, &run.settings()?))
    }

    #[track_caller]
    fn refused(&self, code: &str) -> String {
        let error = self.deploy(1).unwrap_err();
        assert_eq!(error.code.as_deref(), Some(code), "{error:?}");
        error.message
    }
}

fn tag(outcome: &Outcome) -> String {
    outcome.fields["tag"].as_str().unwrap().to_owned()
}

#[test]
fn a_model_is_sent_once_under_a_tag_of_its_content_and_the_alias_moves_to_it() {
    let place = Place::new();
    let outcome = place.deploy(1).unwrap();
    let tag = tag(&outcome);
    assert!(tag.starts_with("expert:8b-") && tag.len() == "expert:8b-".len() + 12, "{tag}");
    assert_eq!(
        place.server.log(),
        ["HEAD blob", "POST blob", &format!("POST create {tag}"), &format!("POST copy {tag} expert:8b")]
    );
    assert_eq!(place.server.names(), format!("expert:8b A\n{tag} A\n"));
    let model = place.server.model("expert:8b").unwrap();
    assert_eq!(model["system"], "Be short.");
    let again = place.deploy(1).unwrap();
    assert_eq!(again.fields, outcome.fields);
    assert_eq!(place.server.log(), Vec::<String>::new(), "the second run changes nothing");
    assert_eq!(place.bench.events.notes().last().unwrap(), &format!("`expert:8b` is `{tag}` already"));
}

#[test]
fn a_setting_that_shapes_the_model_is_another_tag_of_the_same_file() {
    let mut place = Place::new();
    let first = tag(&place.deploy(1).unwrap());
    place.server.log();
    place.set("parameters", json!({"temperature": 0.3}));
    let second = tag(&place.deploy(1).unwrap());
    assert_ne!(first, second);
    assert_eq!(
        place.server.log(),
        ["HEAD blob", &format!("POST create {second}"), &format!("POST copy {second} expert:8b")]
    );
}

#[test]
fn a_rollback_moves_the_alias_back_step_by_step() {
    let mut place = Place::new();
    place.set("keep", json!(9));
    let tags: Vec<String> = (1..=3).map(|number| tag(&place.deploy(number).unwrap())).collect();
    let model = |name: &str| place.server.model(name);
    for (now, before) in [(2, 1), (1, 0)] {
        let done = place.roll_back().unwrap();
        let expected =
            format!("`expert:8b` is `{}` again, was `{}`, on {}", tags[before], tags[now], place.server.address);
        assert_eq!(done, [expected]);
        assert_eq!(model("expert:8b"), model(&tags[before]));
    }
    let done = place.roll_back().unwrap();
    assert_eq!(done, [format!("`expert:8b` is gone again, was `{}`, on {}", tags[0], place.server.address)]);
    assert_eq!(model("expert:8b"), None);
    assert_eq!(place.roll_back().unwrap_err().code.as_deref(), Some("node::nothing_deployed"));
    assert_eq!(tag(&place.deploy(3).unwrap()), tags[2], "what was taken back can be deployed again");
    assert!(place.server.log().iter().filter(|line| *line == "POST blob").count() == 3, "it is not sent again");
}

#[test]
fn what_the_alias_named_before_is_kept_whoever_made_it() {
    let place = Place::new();
    let theirs = json!({"files": {}, "template": "theirs"});
    place.server.change(|world| world.models.insert("expert:8b".into(), theirs.clone()));
    place.deploy(1).unwrap();
    let names = place.server.names();
    assert!(names.contains("expert:8b-before-"), "{names}");
    place.roll_back().unwrap();
    assert_eq!(place.server.model("expert:8b"), Some(theirs));
}

#[test]
fn old_tags_of_this_node_go_and_nothing_else() {
    let place = Place::new();
    place.server.change(|world| {
        for name in ["expert:8b-0123456789ab", "expert:latest", "other:8b"] {
            world.models.insert(name.into(), json!({"files": {}}));
        }
    });
    let tags: Vec<String> = (1..=4).map(|number| tag(&place.deploy(number).unwrap())).collect();
    let names: Vec<String> =
        place.server.names().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let mut expected = vec!["expert:8b", "expert:8b-0123456789ab", "expert:latest", "other:8b", &tags[2], &tags[3]];
    expected.sort_unstable();
    assert_eq!(names, expected, "`keep = 1` keeps the one that a rollback goes back to");
    place.roll_back().unwrap();
    let error = place.roll_back().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("ollama::gone"), "{error:?}");
}

#[test]
fn an_upload_that_fails_is_sent_again() {
    let place = Place::new();
    place.server.change(|world| world.upload.push_back(Fault::Status(500, "disk is busy")));
    place.deploy(1).unwrap();
    let posts = place.server.log().iter().filter(|line| *line == "POST blob").count();
    assert_eq!(posts, 2);
}

#[test]
fn a_line_that_breaks_in_the_middle_of_an_upload_costs_another_try_and_no_more() {
    let mut place = Place::new();
    let address = place.server.behind_a_line_that_breaks(3_000, 1);
    place.set("host", json!(address));
    let tag = tag(&place.deploy(1).unwrap());
    assert_eq!(place.server.names(), format!("expert:8b A\n{tag} A\n"));
}

#[test]
fn a_line_that_stays_broken_is_an_error_and_the_next_run_goes_on() {
    let mut place = Place::new();
    let address = place.server.address.clone();
    let broken = place.server.behind_a_line_that_breaks(3_000, 99);
    place.set("host", json!(broken));
    let message = place.refused("net::unreachable");
    assert!(message.starts_with("no reply from") && message.contains("after 3 tries"), "{message}");
    assert_eq!(place.server.names(), "");
    place.set("host", json!(address));
    place.deploy(1).unwrap();
}

#[test]
fn what_the_server_refuses_is_told_and_deploys_nothing() {
    let place = Place::new();
    let fail = |fault: Fault| place.server.change(|world| world.create.push_back(fault));
    place.server.change(|world| world.upload.push_back(Fault::Status(400, "digest mismatch")));
    assert!(place.refused("ollama::wrong_digest").contains("`model.gguf`"));
    fail(Fault::ErrorInside("unsupported architecture"));
    assert!(place.refused("ollama::create").ends_with("unsupported architecture"));
    fail(Fault::Status(400, "invalid model name"));
    assert!(place.refused("ollama::create").ends_with("invalid model name"));
    fail(Fault::CutShort);
    assert!(place.refused("ollama::broken_off").ends_with("its last was `writing manifest`"));
    fail(Fault::Forgets);
    place.refused("ollama::not_listed");
    assert_eq!(place.server.names(), "");
    place.server.log();
    place.deploy(1).unwrap();
    assert!(!place.server.log().contains(&"POST blob".to_owned()), "the file came with the first try");
}

#[test]
fn servers_that_are_old_gone_or_no_ollama_are_told_apart() {
    let mut place = Place::new();
    place.server.change(|world| world.is_old = true);
    assert!(place.refused("ollama::too_old").contains("the Ollama 0.1.9"));
    let address = place.server.address.clone();
    place.set("host", json!(format!("{address}/v1")));
    place.refused("ollama::no_ollama");
    // Nobody listens where a listener was just closed.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.set("host", json!(format!("http://{closed}")));
    assert!(place.refused("ollama::unreachable").starts_with("no Ollama answers at"));
}

#[test]
fn a_run_that_was_broken_off_is_gone_on_with() {
    let place = Place::new();
    let first = tag(&place.deploy(1).unwrap());
    let second = tag(&place.deploy(2).unwrap());
    // As after a crash between the note and the move.
    place.server.change(|world| {
        let model = world.models[&first].clone();
        world.models.insert("expert:8b".into(), model);
    });
    assert_eq!(tag(&place.deploy(2).unwrap()), second);
    place.roll_back().unwrap();
    assert_eq!(place.server.model("expert:8b"), place.server.model(&first), "it was noted once");
    // As after a crash between the move back and its note.
    place.deploy(2).unwrap();
    place.server.change(|world| {
        let model = world.models[&first].clone();
        world.models.insert("expert:8b".into(), model);
    });
    let done = place.roll_back().unwrap();
    assert!(done[0].contains("already"), "{done:?}");
}

#[test]
fn an_alias_that_somebody_else_moved_is_left_alone_by_a_rollback() {
    let place = Place::new();
    place.deploy(1).unwrap();
    place.server.change(|world| world.models.insert("expert:8b".into(), json!({"files": {}})));
    let error = place.roll_back().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("ollama::changed_since"), "{error:?}");
}

#[test]
fn an_adapter_is_put_on_a_base_that_the_server_has() {
    let mut place = Place::new();
    place.server.change(|world| world.models.insert("llama3.1:8b".into(), json!({"files": {}})));
    place.set("base", json!("llama3.1:8b"));
    assert!(place.refused("ollama::inputs").contains("1 models and 0 adapters"));
}

#[test]
fn a_look_finds_what_a_deployment_would_fail_at_and_changes_nothing() {
    let mut place = Place::new();
    let look = |place: &Place, inputs: Vec<JobInput>| {
        let settings = ExportOllama.canonical(&place.settings).unwrap();
        place.bench.with_run(&ExportOllama, &settings, inputs, &[], |run| ExportOllama.rehearse(run))
    };
    let seen = look(&place, Vec::new()).unwrap();
    assert_eq!((&seen.fields["tag"], &seen.fields["alias"]), (&json!("expert:8b"), &json!("expert:8b")));
    assert!(seen.report[0].what.starts_with("server answers, Ollama 0."), "{:?}", seen.report);
    place.server.change(|world| world.is_old = true);
    assert_eq!(look(&place, Vec::new()).unwrap_err().code.as_deref(), Some("ollama::too_old"));
    place.server.change(|world| world.is_old = false);
    place.set("base", json!("llama3.1:8b"));
    assert_eq!(look(&place, Vec::new()).unwrap_err().code.as_deref(), Some("ollama::no_base"));
    place.set("host", json!("http://127.0.0.1:9"));
    assert_eq!(look(&place, Vec::new()).unwrap_err().code.as_deref(), Some("ollama::unreachable"));
    assert_eq!((place.server.log(), place.server.names()), (Vec::new(), String::new()));
}

#[test]
fn settings_that_cannot_work_are_refused_all_at_once() {
    let settings = json!({"name": "a b", "host": "ftp://x", "token": "ghp_x", "parameters": {"temprature": 1}});
    let problems = ExportOllama.canonical(&settings).unwrap_err();
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(paths, ["parameters.temprature", "name", "host", "token"]);
    assert!(problems.iter().all(|problem| !problem.message.contains("ghp_x")));
}
