//! `export.oci` against a server of the registry's API.

#[path = "../../../../tests/it/support/fake_registry.rs"]
mod fake_registry;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ExportOci;
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _, NodeError, Outcome};
use crate::store::Artifact;
use fake_registry::{FakeRegistry, Fault, LOGIN, Login, digest};

/// A registry, and a node that deploys to it.
struct Place {
    bench: Bench,
    registry: FakeRegistry,
    settings: Value,
}

impl Place {
    fn new() -> Self {
        let registry = FakeRegistry::start();
        let settings = json!({"reference": format!("{}/team/expert:8b", registry.host)});
        let mut bench = Bench::new();
        bench.environment.insert("PASSWORD", LOGIN.1.to_owned());
        Self { bench, registry, settings }
    }

    /// A GGUF of 3,000 bytes and a folder with a card, others for each number.
    fn inputs(&self, number: u8) -> Vec<JobInput> {
        let put = |bytes: &[u8]| self.bench.store.put_file_bytes(bytes).unwrap();
        let mut gguf = b"GGUF".to_vec();
        gguf.resize(3_000, number);
        let files =
            BTreeMap::from([("README.md".to_owned(), put(b"# Expert")), ("config.json".to_owned(), put(b"{ }"))]);
        let input = |node: &str, artifact| self.bench.input(InputRole::From, node, "model", Some(artifact), json!({}));
        vec![input("gguf", Artifact::File(put(&gguf))), input("merged", Artifact::Folder { files })]
    }

    fn deploy(&self, number: u8) -> Result<Outcome, NodeError> {
        let settings = ExportOci.canonical(&self.settings).unwrap();
        self.bench.run(&ExportOci, &settings, self.inputs(number), &[])
    }

    fn roll_back(&self) -> Result<Vec<String>, NodeError> {
        let settings = ExportOci.canonical(&self.settings).unwrap();
        self.bench.with_run(&ExportOci, &settings, Vec::new(), &[], |run| ExportOci.roll_back(run))
    }

    fn log_in(&mut self, login: Login) {
        self.registry.change(|world| world.login = login);
        self.settings["username"] = json!(LOGIN.0);
        self.settings["password"] = json!("env:PASSWORD");
    }

    #[track_caller]
    fn refused(&self, code: &str) -> NodeError {
        let error = self.deploy(1).unwrap_err();
        assert_eq!(error.code.as_deref(), Some(code), "{error:?}");
        error
    }
}

/// Returns the immutable tag alone.
fn tag(outcome: &Outcome) -> String {
    outcome.fields["tag"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
}

const BLOB: [&str; 2] = ["POST uploads", "PUT uploads"];

#[test]
fn files_are_sent_once_under_a_tag_of_their_digest_and_the_alias_moves_to_it() {
    let place = Place::new();
    let outcome = place.deploy(1).unwrap();
    let tag = tag(&outcome);
    let digest = outcome.fields["digest"].as_str().unwrap();
    assert_eq!(tag, format!("8b-{}", &digest["sha256:".len()..][..12]));
    let puts = [format!("PUT manifests {tag}"), "PUT manifests 8b".to_owned()];
    let puts: Vec<&str> = puts.iter().map(String::as_str).collect();
    assert_eq!(place.registry.log(), [&BLOB[..], &BLOB, &BLOB, &BLOB, &puts].concat());
    let tags = place.registry.tags();
    assert_eq!(tags["8b"], tags[&tag]);
    assert_eq!(tags["8b"]["artifactType"], "application/vnd.tunesmith.model.v1");
    let titles: Vec<&Value> = tags["8b"]["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| &layer["annotations"]["org.opencontainers.image.title"])
        .collect();
    assert_eq!(titles, ["README.md", "config.json", "gguf.gguf"]);
    let again = place.deploy(1).unwrap();
    assert_eq!((again.fields, place.registry.log()), (outcome.fields, Vec::new()), "the second run changes nothing");
    place.deploy(2).unwrap();
    let posts = place.registry.log().iter().filter(|line| *line == "POST uploads").count();
    assert_eq!(posts, 1, "what is there is not sent again");
}

#[test]
fn a_rollback_moves_the_alias_back_step_by_step() {
    let place = Place::new();
    let tags: Vec<String> = (1..=2).map(|number| tag(&place.deploy(number).unwrap())).collect();
    let done = place.roll_back().unwrap();
    assert!(done[0].ends_with(&format!("/team/expert:8b` is `{}` again, was `{}`", tags[0], tags[1])), "{done:?}");
    let now = place.registry.tags();
    assert_eq!(now["8b"], now[&tags[0]]);
    place.registry.change(|world| world.deletes = false);
    assert_eq!(place.roll_back().unwrap_err().code.as_deref(), Some("oci::no_delete"));
    place.registry.change(|world| world.deletes = true);
    place.roll_back().unwrap();
    assert!(!place.registry.tags().contains_key("8b"));
    assert_eq!(place.roll_back().unwrap_err().code.as_deref(), Some("node::nothing_deployed"));
}

#[test]
fn what_the_alias_named_before_is_kept_whoever_made_it() {
    let place = Place::new();
    let index = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).to_string();
    let theirs = digest(index.as_bytes());
    place.registry.change(|world| {
        let kind = "application/vnd.oci.image.index.v1+json".to_owned();
        world.manifests.insert(theirs.clone(), (kind, index.clone().into_bytes()));
        world.tags.insert("8b".into(), theirs.clone());
    });
    place.deploy(1).unwrap();
    let kept = format!("8b-before-{}", &theirs["sha256:".len()..][..12]);
    assert_eq!(place.registry.change(|world| world.tags[&kept].clone()), theirs);
    place.roll_back().unwrap();
    assert_eq!(place.registry.change(|world| world.tags["8b"].clone()), theirs);
    place.deploy(1).unwrap();
    place.registry.change(|world| world.tags.insert("8b".into(), theirs));
    let error = place.roll_back();
    assert!(error.unwrap()[0].contains("already"), "somebody moved it back");
}

#[test]
fn an_alias_that_somebody_else_moved_is_left_alone() {
    let place = Place::new();
    let first = place.deploy(1).unwrap();
    place.deploy(2).unwrap();
    place.deploy(3).unwrap();
    place.registry.change(|world| {
        world.tags.insert("8b".into(), first.fields["digest"].as_str().unwrap().to_owned());
    });
    assert_eq!(place.roll_back().unwrap_err().code.as_deref(), Some("oci::changed_since"));
    assert_eq!(place.registry.tags()["8b"], place.registry.tags()[&tag(&first)]);
}

#[test]
fn registries_are_logged_in_to_by_what_they_ask_for() {
    for login in [Login::Basic, Login::Bearer] {
        let mut place = Place::new();
        place.registry.change(|world| world.login = login);
        assert_eq!(place.refused("oci::refused").help.unwrap(), "set `username` and `password = \"env:NAME\"`");
        place.log_in(login);
        place.deploy(1).unwrap();
        place.registry.change(fake_registry::World::expire);
        place.deploy(2).unwrap();
        place.bench.environment.insert("PASSWORD", "wrong".into());
        let error = place.refused("oci::refused");
        assert!(error.message.contains("(401)") && !error.message.contains("wrong"), "{}", error.message);
        place.bench.environment.remove("PASSWORD");
        place.refused("oci::no_password");
    }
}

#[test]
fn a_blob_that_breaks_goes_in_chunks_from_where_it_broke() {
    let place = Place::new();
    place.deploy(1).unwrap();
    place.registry.log();
    place.registry.fail("PUT uploads", Fault::Cut);
    place.registry.fail("PATCH uploads", Fault::Cut);
    place.registry.fail("PATCH uploads", Fault::Status(503, None, "busy"));
    place.deploy(2).unwrap();
    let log: Vec<String> = place.registry.log().into_iter().filter(|line| line.ends_with("uploads")).collect();
    let chunks = ["POST uploads", "PATCH uploads", "PATCH uploads", "PATCH uploads", "PUT uploads"];
    assert_eq!(log, [&BLOB[..], &chunks].concat());
    assert_eq!(place.registry.change(|world| world.blobs.len()), 5);
    assert_eq!(place.registry.tags().len(), 3);
}

#[test]
fn registries_that_take_no_chunks_or_no_large_bodies_are_served() {
    let place = Place::new();
    place.registry.change(|world| world.chunks = None);
    place.registry.fail("PUT uploads", Fault::Status(500, None, "busy"));
    place.deploy(1).unwrap();
    let place = Place::new();
    // What it takes is less than the file and less than a chunk: told, not tried for ever.
    place.registry.change(|world| world.largest = 1_000);
    let error = place.refused("oci::refused");
    assert!(error.message.contains("(413)") && error.help.unwrap().contains("no files of this size"));
}

#[test]
fn digests_are_held_against_what_the_registry_says() {
    let place = Place::new();
    place.registry.fail("PUT uploads", Fault::Spoils);
    place.refused("oci::wrong_digest");
    place.registry.fail("PUT uploads", Fault::Lies);
    place.refused("oci::wrong_digest");
    place.registry.fail("PUT manifests", Fault::Lies);
    place.refused("oci::wrong_digest");
    assert!(!place.registry.tags().contains_key("8b"), "the alias did not move");
    place.deploy(1).unwrap();
}

#[test]
fn limits_are_waited_for_and_refusals_told() {
    let mut place = Place::new();
    place.registry.fail("POST uploads", Fault::Status(429, Some(("retry-after", "0")), "TOOMANYREQUESTS"));
    place.registry.fail("HEAD blobs", Fault::Status(502, None, "bad gateway"));
    place.registry.fail("PUT manifests", Fault::Status(500, None, "UNKNOWN"));
    place.deploy(1).unwrap();
    place.registry.fail("POST uploads", Fault::Status(403, None, "DENIED"));
    let error = place.deploy(2).unwrap_err();
    assert!(error.message.contains("(403)") && error.help.unwrap().contains("write to `team/expert`"));
    place.settings["reference"] = json!(format!("{}/team/other:8b", place.registry.host));
    assert!(place.refused("oci::refused").message.contains("(404)"));
}

#[test]
fn a_redirect_to_another_host_gets_no_file_and_no_password() {
    let mut place = Place::new();
    place.log_in(Login::Basic);
    let other = FakeRegistry::start();
    place.registry.fail("PUT uploads", Fault::Redirects(format!("http://{}/v2/x", other.host)));
    assert!(place.refused("net::bad_redirect").message.ends_with("what was sent would go elsewhere"));
    assert_eq!(other.log(), Vec::<String>::new());
}

#[test]
fn a_look_asks_for_the_right_to_write_and_puts_nothing_there() {
    let mut place = Place::new();
    place.log_in(Login::Bearer);
    let look = |place: &Place, inputs: Vec<JobInput>| {
        let settings = ExportOci.canonical(&place.settings).unwrap();
        place.bench.with_run(&ExportOci, &settings, inputs, &[], |run| ExportOci.rehearse(run))
    };
    let seen = look(&place, place.inputs(1)).unwrap();
    assert_eq!(place.registry.log(), ["POST uploads", "POST uploads", "DELETE uploads"]);
    assert_eq!(place.registry.change(|world| (world.blobs.len(), world.tags.len())), (0, 0));
    assert_eq!(seen.fields, place.deploy(1).unwrap().fields);
    let unknown = look(&place, Vec::new()).unwrap();
    assert!(unknown.fields["tag"].as_str().unwrap().ends_with("/team/expert:8b"), "{unknown:?}");
    // One that takes nothing back takes the file all the same.
    place.registry.fail("DELETE uploads", Fault::Status(405, None, "UNSUPPORTED"));
    look(&place, Vec::new()).unwrap();
    place.registry.fail("POST uploads", Fault::Status(403, None, "DENIED"));
    assert_eq!(look(&place, Vec::new()).unwrap_err().code.as_deref(), Some("oci::refused"));
}

#[test]
fn settings_that_cannot_work_are_refused_all_at_once() {
    let settings = json!({"reference": "expert", "username": "me", "artifact-type": "x", "paths": {"a": "/x"}});
    let problems = ExportOci.canonical(&settings).unwrap_err();
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(paths, ["paths.a", "reference", "artifact-type", "username"]);
    let problems = ExportOci.canonical(&json!({"reference": "a.b/c", "username": "me", "password": "hunter2"}));
    assert!(problems.unwrap_err().iter().all(|problem| !problem.message.contains("hunter2")));
}
