//! The server that plays Ollama, asked by Ollama's own clients: what they read of a deployment is what was deployed, and what
//! they put there is what tunesmith puts there. `make check-clients` fetches the clients and says where they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::fake_ollama::FakeOllama;
use crate::support::program::{program, write};
use crate::support::tiny::project;

const NODE: &str = "\n[export.ollama]\ntype = \"ollama\"\nfrom = [\"gguf\"]\nname = \"expert:135m\"\n\
    parameters = { temperature = 0.3, num_ctx = 2048 }\n";

/// Returns where the clients are, if they are.
#[expect(clippy::disallowed_methods, reason = "`make check-clients` says by the environment where they are")]
fn clients() -> Option<PathBuf> {
    std::env::var_os("TUNESMITH_OLLAMA_CLIENTS").map(PathBuf::from)
}

/// Returns what a client's script prints.
#[track_caller]
fn said(command: &mut Command) -> Value {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

#[test]
fn the_clients_of_python_and_javascript_read_and_do_what_tunesmith_does() {
    let Some(clients) = clients() else {
        eprintln!("Ollama's own clients are not here: `make check-clients` runs this with them");
        return;
    };
    let (space, server) = (project(), FakeOllama::start());
    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    write(space.path(), &[("pipeline.toml", &format!("{manifest}{NODE}"))]);
    let mut deploy = program(space.path());
    let deployed = deploy.args(["build", "--deploy"]).env("OLLAMA_HOST", &server.address).output().unwrap();
    assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    let alias = "expert:135m";
    let body = server.model(alias).unwrap();
    let names = server.change(|world| world.models.keys().cloned().collect::<Vec<_>>());
    let tag = names.iter().find(|name| *name != alias).unwrap();
    assert!(body["template"].is_string() && body["parameters"]["stop"].is_array(), "{body}");

    server.change(|world| world.counts = Some(Box::new(|text| text.split_whitespace().count() as u64)));
    let python = said(
        Command::new(clients.join("venv/bin/python"))
            .arg(script("put_model.py"))
            .args([&server.address, space.path().join("model.gguf").to_str().unwrap(), tag, alias, "by-python"])
            .arg(body.to_string()),
    );
    server.change(|world| world.counts = None);
    let client = clients.join("node_modules/ollama/dist/index.mjs");
    let node = said(
        Command::new("node")
            .arg(script("put_model.mjs"))
            .arg(client)
            .args([&server.address, tag, alias, "by-node"])
            .arg(body.to_string()),
    );
    for (who, said) in [("by-python:latest", &python), ("by-node:latest", &node)] {
        assert_eq!(server.model(who), Some(body.clone()), "{who} is the same model");
        let read = [&said["same"], &said["template"], &said["format"], &said["status"], &said["refused"]];
        assert_eq!(read, [&json!(true), &body["template"], &json!("gguf"), &json!("success"), &json!(404)], "{who}");
        assert!(said["parameters"].as_str().unwrap().contains("num_ctx"), "{said}");
    }
    assert_eq!(Some(&python["digest"]), body["files"].as_object().unwrap().values().next());
    assert!(python["tokens"].as_u64().unwrap() > 0);
    assert!(node["rendered"].as_str().unwrap().contains("hello"));
}
