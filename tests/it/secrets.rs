//! A secret is planted wherever one may stand, and searched for in everything that a project's commands write.

use std::path::{Path, PathBuf};

use crate::support::fake_github::{FakeGithub, Fault};
use crate::support::program::{Ran, program, write};

/// The value; nothing but this may look like it.
const PLANTED: &str = "ghp_plantedPlantedPlantedPlantedPlanted0";

/// The same of somebody else, in an address that a server signed.
const SIGNED: &str = "signedSignedSignedSignedSignedSigned0";

/// What a server says that tells everything it knows.
const TELLING: &str = r#"{"message": "bad credentials: ghp_plantedPlantedPlantedPlantedPlanted0"}"#;

/// Bytes before and after a secret that a failure of this test shows.
const AROUND: usize = 60;

fn run(folder: &Path, args: &[&str]) -> Ran {
    program(folder).env("PLANTED", PLANTED).args(args).output().unwrap().into()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[track_caller]
fn assert_clean(what: &str, bytes: &[u8]) {
    for secret in [PLANTED, SIGNED] {
        if let Some(at) = bytes.windows(secret.len()).position(|window| window == secret.as_bytes()) {
            let around = &bytes[at.saturating_sub(AROUND)..(at + secret.len() + AROUND).min(bytes.len())];
            panic!("{what}: {}", String::from_utf8_lossy(around));
        }
    }
}

/// Runs every command that says something of a build, and looks at its words and at all files.
#[track_caller]
fn assert_nowhere(folder: &Path, builds: &[&[&str]]) {
    let others: &[&[&str]] = &[
        &["plan", "--json"],
        &["status", "--json"],
        &["explain", "loud", "--json"],
        &["graph"],
        &["log", "--json"],
        &["log", "--trace", "trace.json"],
        &["verify", "--json"],
        &["doctor", "--json"],
        &["cache", "stat", "--json"],
    ];
    for args in builds.iter().chain(others) {
        let ran = run(folder, args);
        assert_clean(&format!("standard output of {args:?}"), ran.out.as_bytes());
        assert_clean(&format!("standard error of {args:?}"), ran.err.as_bytes());
    }
    let files = files(folder);
    assert!(files.iter().any(|file| file.ends_with("index.sqlite")), "{files:?}");
    for file in files {
        assert_clean(&file.display().to_string(), &fs_err::read(&file).unwrap());
    }
}

#[test]
fn the_secret_of_a_command_is_written_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = |end: &str| {
        format!(
            "schema = 1\n[source.loud]\ntype = \"command\"\n\
             argv = [\"sh\", \"-c\", \"echo $TOKEN; echo $TOKEN >&2; echo done > out; {end}\"]\n\
             env = {{ TOKEN = \"env:PLANTED\" }}\noutputs.out.path = \"out\"\n"
        )
    };
    write(folder.path(), &[("pipeline.toml", &manifest("exit 1"))]);
    let failed = run(folder.path(), &["build", "--json"]).expect(1);
    assert!(failed.out.contains("***"), "the program did not say it: {}", failed.out);
    assert_nowhere(folder.path(), &[&["build"]]);
    write(folder.path(), &[("pipeline.toml", &manifest("exit 0"))]);
    assert_nowhere(folder.path(), &[&["build", "--json"], &["build", "--force", "loud"]]);
}

#[test]
fn a_token_that_a_server_says_back_is_written_nowhere() {
    assert!(TELLING.contains(PLANTED));
    for status in [401, 404, 422] {
        let github = FakeGithub::start();
        let headers = vec![("x-said", PLANTED.to_owned())];
        github.change(|world| {
            let fault = Fault { status, headers, body: TELLING };
            world.faults = (0..50).map(|call| (call, fault.clone())).collect();
        });
        assert_fetch_is_silent(&github);
    }
}

/// Fetches with the token, which fails, and looks at every word of it.
#[track_caller]
fn assert_fetch_is_silent(github: &FakeGithub) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "schema = 1\n[source.loud]\ntype = \"github-issues\"\nrepos = [\"o/r\"]\napi = \"{}\"\n\
         token = \"env:PLANTED\"\nvia = \"rest\"\nmax-wait = \"1s\"\n",
        github.address
    );
    write(folder.path(), &[("pipeline.toml", &manifest)]);
    let failed = run(folder.path(), &["build", "--json"]).expect(1);
    assert!(github.tokens().iter().any(|token| token.contains(PLANTED)), "{:?}", github.tokens());
    assert_nowhere(folder.path(), &[&["build"]]);
    failed
}

#[test]
fn the_secrets_of_an_address_that_a_server_names_are_written_nowhere() {
    let query = format!("page=2&token={SIGNED}&u={PLANTED}&X-Amz-Signature={SIGNED}");
    let shown = "page=2&token=…&u=***&X-Amz-Signature=…";
    let redirect = |to: String| (302, ("location", to));
    let link = |to: String| (200, ("link", format!("<{to}>; rel=\"next\"")));
    for (status, header) in [
        // Followed, to where nothing is.
        redirect(format!("/gone?{query}")),
        link(format!("/gone?{query}")),
        // Not followed.
        redirect(format!("ftp://me:{SIGNED}@host/x?{query}")),
        link(format!("http://127.0.0.1:1/x?{query}")),
    ] {
        let github = FakeGithub::start();
        let fault = Fault { status, headers: vec![header.clone(), ("etag", "\"1\"".to_owned())], body: "[]" };
        github.change(|world| world.instead.insert("/repos/o/r", fault));
        let failed = assert_fetch_is_silent(&github);
        assert!(failed.out.contains(shown), "{header:?}: {}", failed.out);
    }
}
