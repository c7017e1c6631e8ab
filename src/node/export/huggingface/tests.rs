//! `export.huggingface` against a server of the hub's API.

#[path = "../../../../tests/it/support/fake_hub.rs"]
mod fake_hub;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::HuggingFace;
use crate::node::bench::Bench;
use crate::node::{FailureClass, InputRole, JobInput, Kind as _, NodeError, Outcome};
use crate::store::Artifact;
use fake_hub::{FakeHub, Fault, TOKEN};

const REPO: &str = "team/expert";

/// A server, and a node that deploys to it.
struct Place {
    bench: Bench,
    hub: FakeHub,
    settings: Value,
}

impl Place {
    fn new() -> Self {
        let hub = FakeHub::start();
        let mut bench = Bench::new();
        bench.environment.insert("HF_TOKEN", TOKEN.to_owned());
        let settings = json!({"repo": REPO, "endpoint": hub.address});
        Self { bench, hub, settings }
    }

    /// A GGUF of 3,000 bytes and a folder with a card, others for each number.
    fn inputs(&self, number: u8) -> Vec<JobInput> {
        let put = |bytes: &[u8]| self.bench.store.put_file_bytes(bytes).unwrap();
        let mut gguf = b"GGUF".to_vec();
        gguf.resize(3_000, number);
        let card = put(format!("# Expert {number}\n").as_bytes());
        let mut files = BTreeMap::from([("README.md".to_owned(), card), ("config.json".to_owned(), put(b"{}"))]);
        if number == 1 {
            files.insert("model-1-of-1.safetensors".into(), put(b"\0\0weights"));
        }
        let input = |node: &str, output: &str, artifact| {
            self.bench.input(InputRole::From, node, output, Some(artifact), json!({}))
        };
        vec![input("gguf", "gguf", Artifact::File(put(&gguf))), input("merged", "model", Artifact::Folder { files })]
    }

    fn deploy(&self, number: u8) -> Result<Outcome, NodeError> {
        let settings = HuggingFace.canonical(&self.settings).unwrap();
        self.bench.run(&HuggingFace, &settings, self.inputs(number), &[])
    }

    fn look(&self, inputs: Vec<JobInput>) -> Result<Outcome, NodeError> {
        let settings = HuggingFace.canonical(&self.settings).unwrap();
        self.bench.with_run(&HuggingFace, &settings, inputs, &[], |run| HuggingFace.rehearse(run))
    }

    fn roll_back(&self) -> Result<Vec<String>, NodeError> {
        let settings = HuggingFace.canonical(&self.settings).unwrap();
        self.bench.with_run(&HuggingFace, &settings, Vec::new(), &[], |run| HuggingFace.roll_back(run))
    }

    fn names(&self, branch: &str) -> Vec<String> {
        self.hub.files(REPO, branch).into_keys().collect()
    }

    #[track_caller]
    fn refused(&self, code: &str) -> NodeError {
        let error = self.deploy(1).unwrap_err();
        assert_eq!(error.code.as_deref(), Some(code), "{error:?}");
        error
    }

    fn head(&self) -> String {
        self.hub.change(|world| world.repos[REPO].branches["main"].clone())
    }
}

fn commit(outcome: &Outcome) -> String {
    outcome.fields["commit"].as_str().unwrap().to_owned()
}

const SENDS: [&str; 2] = ["PUT storage whole", "POST verify"];

#[test]
fn files_are_sent_once_and_become_one_commit() {
    let place = Place::new();
    let outcome = place.deploy(1).unwrap();
    assert_eq!(
        place.hub.log(),
        [&["POST create", "POST preupload", "POST batch"][..], &SENDS, &SENDS, &["POST commit"]].concat()
    );
    assert_eq!(
        place.names("main"),
        [".gitattributes", "README.md", "config.json", "gguf.gguf", "model-1-of-1.safetensors"]
    );
    assert_eq!(commit(&outcome), place.head());
    let url = format!("{}/{REPO}/tree/{}", place.hub.address, place.head());
    assert_eq!((&outcome.fields["url"], &outcome.fields["revision"]), (&json!(url), &json!("main")));
    let again = place.deploy(1).unwrap();
    assert_eq!((again.fields, place.hub.log()), (outcome.fields, Vec::new()), "the second run changes nothing");
    place.deploy(2).unwrap();
    assert_eq!(place.hub.log(), [&["POST preupload", "POST batch"][..], &SENDS, &["POST commit"]].concat());
    assert_eq!(place.names("main"), [".gitattributes", "README.md", "config.json", "gguf.gguf"], "what it made goes");
}

#[test]
fn a_rollback_puts_the_files_back_by_a_commit_of_its_own() {
    let place = Place::new();
    place.deploy(1).unwrap();
    let (first, files) = (place.head(), place.hub.files(REPO, "main"));
    place.deploy(2).unwrap();
    let second = place.head();
    place.hub.push(REPO, "main", "notes.md", b"theirs");
    let done = place.roll_back().unwrap();
    assert!(done[0].starts_with(&format!("`main` of `{REPO}` has the files of {first} again")), "{done:?}");
    let mut now = place.hub.files(REPO, "main");
    assert_eq!(now.remove("notes.md").unwrap(), b"theirs", "what others did stays");
    assert_eq!(now, files);
    assert!(place.hub.change(|world| world.repos[REPO].commits.contains_key(&second)), "a commit never goes");
    place.roll_back().unwrap();
    assert_eq!(place.names("main"), [".gitattributes", "notes.md"]);
    assert_eq!(place.roll_back().unwrap_err().code.as_deref(), Some("node::nothing_deployed"));
}

#[test]
fn what_somebody_changed_since_is_not_rolled_back() {
    let place = Place::new();
    place.deploy(1).unwrap();
    place.hub.push(REPO, "main", "README.md", b"# better");
    let error = place.roll_back().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("huggingface::changed_since"));
    assert_eq!(place.hub.files(REPO, "main")["README.md"], b"# better");
}

#[test]
fn another_branch_and_other_names_are_as_the_settings_say() {
    let mut place = Place::new();
    place.settings["revision"] = json!("team/next");
    place.settings["private"] = json!(true);
    place.settings["paths"] = json!({"gguf": "gguf/expert-Q4_K_M.gguf", "merged:model": "merged"});
    place.deploy(2).unwrap();
    assert_eq!(place.names("main"), [".gitattributes"]);
    assert_eq!(
        place.names("team/next"),
        [".gitattributes", "gguf/expert-Q4_K_M.gguf", "merged/README.md", "merged/config.json"]
    );
    assert!(place.hub.change(|world| world.repos[REPO].private));
    place.settings["paths"] = json!({"gguf": "a.gguf", "mergd": "x"});
    assert_eq!(
        place.refused("export::unknown_path").help.unwrap(),
        "write it as it stands in `from`; there: gguf, merged"
    );
    place.settings["paths"] = json!({"gguf": "README.md"});
    assert!(place.refused("export::same_path").message.contains("`README.md`: those of `gguf` and of `merged`"));
}

#[test]
fn nothing_private_goes_into_a_public_repository() {
    let mut place = Place::new();
    place.deploy(1).unwrap();
    place.hub.log();
    place.settings["private"] = json!(true);
    assert_eq!(place.deploy(2).unwrap_err().code.as_deref(), Some("huggingface::public"));
    assert_eq!(place.hub.log(), Vec::<String>::new());
}

#[test]
fn a_large_file_goes_in_parts_and_a_broken_upload_is_gone_on_with() {
    let place = Place::new();
    place.hub.change(|world| world.parts = Some((2_000, 700)));
    // Three parts arrive; then the storage refuses, as it does when a disk is full.
    for _ in 0..3 {
        place.hub.fail("PUT storage part", Fault::Status(503, Some(("retry-after", "0")), "slow down"));
    }
    place.hub.fail("POST storage join", Fault::Status(507, None, "no room"));
    place.hub.fail("POST storage join", Fault::Status(507, None, "no room"));
    place.hub.fail("POST storage join", Fault::Status(507, None, "no room"));
    place.hub.fail("POST storage join", Fault::Status(507, None, "no room"));
    let error = place.refused("net::server_error");
    assert_eq!(error.class, FailureClass::Transient);
    let parts = |log: Vec<String>| log.iter().filter(|line| *line == "PUT storage part").count();
    assert_eq!(parts(place.hub.log()), 5 + 3);
    place.deploy(1).unwrap();
    assert_eq!(parts(place.hub.log()), 0, "the parts that arrived are not sent again");
    let bytes = &place.hub.files(REPO, "main")["gguf.gguf"];
    assert_eq!((bytes.len(), &bytes[..5]), (3_000, &b"GGUF\x01"[..]));
}

#[test]
fn addresses_that_expired_cost_the_parts_once_more() {
    let place = Place::new();
    place.hub.change(|world| world.parts = Some((2_000, 700)));
    for _ in 0..4 {
        place.hub.fail("POST storage join", Fault::Status(500, None, "no"));
    }
    place.refused("net::server_error");
    place.hub.change(fake_hub::World::expire);
    place.hub.log();
    place.deploy(1).unwrap();
    assert_eq!(place.hub.files(REPO, "main")["gguf.gguf"].len(), 3_000);
}

#[test]
fn a_connection_that_is_cut_and_limits_cost_another_try_and_no_more() {
    let place = Place::new();
    place.hub.fail("PUT storage", Fault::Cut);
    place.hub.fail("PUT storage", Fault::Status(500, None, "InternalError"));
    place.hub.fail("POST batch", Fault::Status(429, Some(("retry-after", "0")), "rate limit"));
    place.hub.fail("POST commit", Fault::Cut);
    place.hub.fail("POST verify", Fault::Status(502, None, "bad gateway"));
    place.deploy(1).unwrap();
    assert_eq!(place.names("main").len(), 5);
    assert_eq!(place.hub.change(|world| world.repos[REPO].commits.len()), 2);
}

#[test]
fn a_commit_whose_answer_was_lost_is_found() {
    let place = Place::new();
    place.hub.fail("POST commit", Fault::LosesAnswer);
    let outcome = place.deploy(1).unwrap();
    assert_eq!(commit(&outcome), place.head());
    assert_eq!(place.hub.change(|world| world.repos[REPO].commits.len()), 2, "it is made once");
    place.roll_back().unwrap();
    assert_eq!(place.names("main"), [".gitattributes"]);
}

#[test]
fn bytes_that_came_otherwise_deploy_nothing() {
    let place = Place::new();
    place.hub.fail("PUT storage", Fault::Spoils);
    place.refused("huggingface::wrong_digest");
    place.hub.change(|world| world.parts = Some((2_000, 700)));
    place.hub.fail("PUT storage part", Fault::Spoils);
    assert_eq!(place.names("main"), [".gitattributes"]);
    assert!(place.refused("huggingface::storage").message.ends_with("the parts make another file\""));
    place.deploy(1).unwrap();
}

#[test]
fn refusals_are_told_with_what_to_do() {
    let mut place = Place::new();
    place.bench.environment.insert("HF_TOKEN", "hf_other".into());
    let error = place.refused("huggingface::refused");
    assert!(error.message.contains("(401)") && error.help.unwrap().contains("`HF_TOKEN` is wrong or expired"));
    place.bench.environment.insert("HF_TOKEN", TOKEN.into());
    place.hub.fail("POST create", Fault::Status(403, None, "You don't have the rights to create a model"));
    let error = place.refused("huggingface::refused");
    assert!(error.message.ends_with("You don't have the rights to create a model\""), "{}", error.message);
    place.hub.fail("POST commit", Fault::Status(403, None, "Access to this gated repository is restricted"));
    let error = place.refused("huggingface::refused");
    assert!(error.message.contains("gated") && error.help.unwrap().contains("accept a licence"));
    assert_eq!(place.names("main"), [".gitattributes"]);
    place.hub.change(|world| world.ignored = Some("config.json".into()));
    assert!(place.refused("huggingface::ignored").message.contains("`config.json`"));
    place.bench.environment.remove("HF_TOKEN");
    place.refused("huggingface::no_token");
    place.settings["endpoint"] = json!("http://hub.example.org");
    place.refused("huggingface::plain");
}

#[test]
fn a_redirect_to_another_host_gets_no_file_and_no_token() {
    let place = Place::new();
    let other = FakeHub::start();
    place.hub.fail("PUT storage", Fault::Redirects(format!("{}/storage/whole/x", other.address)));
    assert!(place.refused("net::bad_redirect").message.ends_with("what was sent would go elsewhere"));
    place.hub.fail("POST commit", Fault::Redirects(format!("{}/api", other.address)));
    place.refused("net::bad_redirect");
    place.hub.fail("GET model", Fault::Redirects(format!("{}/api/models/team/expert", other.address)));
    let error = place.refused("huggingface::refused");
    assert!(error.message.contains("(401)"), "the token did not come there: {}", error.message);
}

#[test]
fn a_look_asks_all_that_can_be_asked_and_puts_nothing_there() {
    let mut place = Place::new();
    let counts = |outcome: &Outcome| outcome.report.iter().map(|count| count.count).collect::<Vec<_>>();
    assert_eq!(counts(&place.look(place.inputs(1)).unwrap()), [1, 4]);
    assert_eq!((place.hub.log(), place.hub.change(|world| world.repos.len())), (Vec::new(), 0));
    place.deploy(1).unwrap();
    place.hub.log();
    let (files, head) = (place.hub.files(REPO, "main"), place.head());
    let seen = place.look(place.inputs(2)).unwrap();
    assert_eq!((counts(&seen), commit(&seen)), (vec![1, 2], head));
    assert_eq!((place.hub.log(), place.hub.files(REPO, "main")), (vec!["POST preupload".to_owned()], files));
    assert_eq!(counts(&place.look(Vec::new()).unwrap()), [1, 0], "what was looked at before is not there");
    let code = |place: &Place| place.look(place.inputs(2)).unwrap_err().code.unwrap();
    place.hub.change(|world| world.ignored = Some("gguf.gguf".into()));
    assert_eq!(code(&place), "huggingface::ignored");
    place.hub.change(|world| world.role = "read");
    assert_eq!(code(&place), "huggingface::no_right");
    place.hub.change(|world| world.role = "write");
    place.settings["private"] = json!(true);
    assert_eq!(code(&place), "huggingface::public");
    place.settings["repo"] = json!("others/expert");
    let error = place.look(Vec::new()).unwrap_err();
    assert!(error.message.ends_with("it is one of `o`, who is no member of `others`"), "{}", error.message);
    place.bench.environment.remove("HF_TOKEN");
    assert_eq!(code(&place), "huggingface::no_token");
}

#[test]
fn a_repository_without_a_card_is_told_of() {
    let place = Place::new();
    let gguf = place.inputs(1).remove(0);
    let settings = HuggingFace.canonical(&place.settings).unwrap();
    place.bench.run(&HuggingFace, &settings, vec![gguf], &[]).unwrap();
    let told = place.bench.events.warnings();
    assert_eq!(told, [format!("`{REPO}` has no model card: `export.model-card` makes one")]);
    place.deploy(1).unwrap();
    assert_eq!(place.bench.events.warnings(), told, "now it has one");
}

#[test]
fn a_branch_that_moves_meanwhile_is_not_written_over() {
    let place = Place::new();
    place.deploy(1).unwrap();
    // Somebody's commit comes between the look and ours: the server says so, and the branch is at another one.
    place.hub.fail("POST commit", Fault::Status(412, None, "A commit has happened since."));
    let theirs = place.hub.push(REPO, "main", "notes.md", b"theirs");
    let error = place.deploy(2).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("net::refused"), "{error:?}");
    assert_eq!(place.head(), theirs);
    place.deploy(2).unwrap();
    assert_eq!(place.hub.files(REPO, "main")["notes.md"], b"theirs");
    place.roll_back().unwrap();
    place.roll_back().unwrap();
    assert_eq!(place.names("main"), [".gitattributes", "notes.md"], "each was noted once");
}

#[test]
fn settings_that_cannot_work_are_refused_all_at_once() {
    let settings = json!({"repo": "expert", "revision": "refs/pr/1", "token": "hf_x", "endpoint": "ftp://x",
        "message": " ", "paths": {"gguf": "../x"}});
    let problems = HuggingFace.canonical(&settings).unwrap_err();
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(paths, ["paths.gguf", "repo", "revision", "message", "endpoint", "token"]);
    assert!(problems.iter().all(|problem| !problem.message.contains("hf_x")));
    HuggingFace.canonical(&json!({"repo": "{other.repo}"})).unwrap();
}
