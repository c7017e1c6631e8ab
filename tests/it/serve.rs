//! `tunesmith serve` in a process of its own: ready, asked, ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::support::program::{Ran, interrupt, program};
use crate::support::tiny::endless;

/// A process that serves.
struct Served {
    child: Child,
    /// What it said when it was ready.
    ready: Value,
}

impl Served {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut program = program(folder);
        program.args(["serve", "model", "--listen", "127.0.0.1:0", "--json"]).args(arguments);
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str::<Value>(&line).unwrap()["serve"].clone();
        Self { child, ready }
    }

    fn address(&self) -> &str {
        let url = self.ready["url"].as_str().unwrap();
        url.strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap()
    }

    /// Sends a question, and returns the connection.
    fn ask(&self, body: &Value) -> TcpStream {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let body = body.to_string();
        let head =
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json";
        write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        stream
    }

    fn end(self) -> Ran {
        interrupt(self.child.id());
        self.child.wait_with_output().unwrap().into()
    }
}

#[test]
fn a_model_is_served_until_ctrl_c_and_says_to_whom() {
    let space = endless();
    let served = Served::start(space.path(), &["--name", "expert", "--context", "16384", "--max-answer-tokens", "3"]);
    assert_eq!((&served.ready["model"], &served.ready["context"]), (&json!("expert"), &json!(16_384)));
    let mut body = json!({"model": "expert", "messages": [{"role": "user", "content": "hello"}]});
    let mut text = String::new();
    served.ask(&body).read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("\"completion_tokens\":3"), "{text}");

    // While an answer comes: what waits for it is told, and the process ends well.
    body["stream"] = json!(true);
    body["max_tokens"] = json!(16_000);
    let mut stream = served.ask(&body);
    stream.read_exact(&mut [0; 600]).unwrap();
    let ended = served.end().expect(0);
    assert!(ended.err.contains("for this machine only; Ctrl-C ends it"), "{}", ended.err);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("the server is ending"), "{rest}");
}

#[test]
fn an_address_that_is_taken_is_told() {
    let space = endless();
    let served = Served::start(space.path(), &[]);
    let address = served.address().to_owned();
    let second = program(space.path()).args(["serve", "model", "--listen", &address]).output().unwrap();
    let second = Ran::from(second).expect(1);
    assert!(second.err.contains(&format!("cannot listen at {address}")), "{}", second.err);
    assert!(second.err.contains("`--listen 127.0.0.1:0` takes a free port"), "{}", second.err);
    served.end().expect(0);
}
