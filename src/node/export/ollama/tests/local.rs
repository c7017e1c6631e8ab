//! The store of a server on this machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::ExportOllama;
use super::super::api::Server;
use super::super::local::LocalStore;
use super::super::recipe::{Part, Recipe};
use super::super::settings::Settings;
use super::{Place, tag};
use crate::node::{Kind as _, Run};

/// Gives the place a folder of Ollama's models, which may be the server's. Returns that, and whether files can share their
/// blocks there with tunesmith's store.
fn local_store(place: &mut Place, is_the_servers: bool) -> (PathBuf, bool) {
    let store = place.bench.folder().join("ollama");
    fs_err::create_dir_all(store.join("blobs")).unwrap();
    place.bench.environment.insert("OLLAMA_MODELS", store.to_str().unwrap().into());
    if is_the_servers {
        place.server.change(|world| world.store = Some(store.clone()));
    }
    let [ours, theirs] = ["one", "ollama/other"].map(|name| place.bench.folder().join(name));
    fs_err::write(&ours, "one").unwrap();
    let can_share = reflink_copy::reflink(&ours, &theirs).is_ok();
    fs_err::remove_file(theirs).ok();
    (store, can_share)
}

/// Does something with the model's file as a run has it.
fn with_part<T>(place: &Place, act: impl FnOnce(&Run<'_>, Part) -> T) -> T {
    let settings = ExportOllama.canonical(&place.settings).unwrap();
    place.bench.with_run(&ExportOllama, &settings, vec![place.gguf(1)], &[], |run| {
        let recipe = Recipe::files(run, &run.settings::<Settings>().unwrap()).unwrap();
        act(run, recipe.models[0].clone())
    })
}

fn names_in(folder: &Path) -> Vec<String> {
    let names = fs_err::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_server_here_gets_the_file_by_shared_blocks_where_the_file_system_can() {
    let mut place = Place::new();
    let (store, can_share) = local_store(&mut place, true);
    let tag = tag(&place.deploy(1).unwrap());
    assert_eq!(place.server.names(), format!("expert:8b A\n{tag} A\n"));
    let log = place.server.log();
    let files = names_in(&store.join("blobs"));
    if !can_share {
        assert_eq!((log.contains(&"POST blob".to_owned()), files), (true, Vec::new()), "{log:?}");
        return;
    }
    let create = [format!("POST create {tag}"), format!("POST copy {tag} expert:8b")];
    assert_eq!(log, ["HEAD blob", "HEAD blob", &create[0], &create[1]]);
    let blob = place.server.model("expert:8b").unwrap()["files"]["model.gguf"].as_str().unwrap().replace(':', "-");
    assert_eq!(files, [blob.as_str()]);
    let mode = fs_err::metadata(store.join("blobs").join(blob)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the server may run as another user");
    assert!(place.bench.events.notes().iter().any(|note| note.contains("without a copy")));
}

#[test]
fn the_store_of_another_server_is_left_as_it_was() {
    let mut place = Place::new();
    let (store, can_share) = local_store(&mut place, false);
    place.deploy(1).unwrap();
    let looks = if can_share { 2 } else { 1 };
    let log = place.server.log();
    assert_eq!(log.iter().filter(|line| *line == "HEAD blob").count(), looks);
    assert!(log.contains(&"POST blob".to_owned()), "{log:?}");
    assert_eq!(names_in(&store.join("blobs")), Vec::<String>::new());
}

#[test]
fn a_file_that_lies_in_another_servers_store_already_stays() {
    let mut place = Place::new();
    let (store, _) = local_store(&mut place, false);
    let digest = with_part(&place, |_, part| part.digest());
    let theirs = store.join("blobs").join(digest.replace(':', "-"));
    fs_err::write(&theirs, "theirs").unwrap();
    place.deploy(1).unwrap();
    assert_eq!(fs_err::read_to_string(theirs).unwrap(), "theirs");
    assert!(place.server.log().contains(&"POST blob".to_owned()));
}

#[test]
fn a_damaged_file_never_reaches_a_store() {
    let mut place = Place::new();
    let (store, _) = local_store(&mut place, true);
    with_part(&place, |run, part| {
        let part = Part { sha256: "ab".repeat(32), ..part };
        let server = Server::of(run, &run.settings().unwrap()).unwrap();
        let store = LocalStore::of(run, &server).unwrap();
        assert!(!store.share(run, &server, &part).unwrap());
    });
    assert_eq!(names_in(&store.join("blobs")), Vec::<String>::new());
}

#[test]
fn a_server_elsewhere_has_no_store_here() {
    let mut place = Place::new();
    local_store(&mut place, true);
    for (host, is_here) in [("127.0.0.1", true), ("localhost:80", true), ("[::1]", true), ("192.0.2.1", false)] {
        place.set("host", json!(host));
        let settings = ExportOllama.canonical(&place.settings).unwrap();
        place.bench.with_run(&ExportOllama, &settings, Vec::new(), &[], |run| {
            let server = Server::of(run, &run.settings().unwrap()).unwrap();
            assert_eq!(LocalStore::of(run, &server).is_some(), is_here, "{host}");
        });
    }
}
