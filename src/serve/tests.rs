//! The server over real connections, with a small random model behind it: answers whole and as they come, clients that go
//! away, more requests than wait, bodies that mean harm.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ChatModel, ServeError, Service, Stop, serve};
use crate::llama::Generation;
use crate::model::gguf::{TensorType, tiny};

/// More tokens than are generated while a test looks.
const ENDLESS: u32 = 16_000;

/// A running server.
struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
    _space: TempDir,
}

/// A whole response.
#[derive(Debug)]
struct Answered {
    status: u16,
    head: String,
    body: String,
}

impl Server {
    fn start(change: impl FnOnce(&mut Service)) -> Self {
        let space = tempfile::tempdir().unwrap();
        let path = space.path().join("tiny.gguf");
        // The markers, which are first in the vocabulary, are never likeliest: no answer ends by itself.
        let mut tensors = tiny::tensors(1);
        tensors[0].numbers[..3 * tiny::EMBEDDING as usize].fill(0.0);
        tiny::write(&path, &tensors, TensorType::F16).unwrap();
        let usual = Generation { tokens: 8, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() };
        let (system, clock) = (String::new(), || 1_700_000_000);
        // One thread: llama.cpp spins where threads wait, which starves tests that run beside it.
        let mut service = Service { name: "tiny".into(), system, context: 512, threads: 1, usual, room: 4, clock };
        change(&mut service);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let (tell, ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let model = ChatModel::open(&path)?;
            let stop: Stop = Arc::new(move || is_stopped.load(Ordering::SeqCst));
            serve(listener, &model, service, &stop, || tell.send(()).unwrap())
        });
        ready.recv().unwrap();
        Self { address, stop, thread: Some(thread), _space: space }
    }

    /// One whose answers take longer than a test.
    fn endless(room: usize) -> Self {
        Self::start(|service| {
            service.context = ENDLESS + 384;
            service.room = room;
        })
    }

    /// Ends the server, which must end well.
    fn end(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    /// Sends bytes on a connection of their own.
    fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
        // A server that refuses early does not read all of it.
        stream.write_all(bytes).ok();
        stream
    }

    fn exchange(&self, line: &str, headers: &str, body: &[u8]) -> Answered {
        let mut request = head(line, headers, body.len()).into_bytes();
        request.extend(body);
        whole(self.send(&request))
    }

    fn get(&self, path: &str) -> Answered {
        self.exchange(&format!("GET {path}"), "", b"")
    }

    /// Asks for an answer.
    fn ask(&self, body: &Value) -> Answered {
        self.exchange(CHAT, JSON, body.to_string().as_bytes())
    }

    /// Begins to ask, and does not read the answer.
    fn begin(&self, body: &Value) -> TcpStream {
        let body = body.to_string();
        self.send(format!("{}{body}", head(CHAT, JSON, body.len())).as_bytes())
    }

    /// Waits until so many wait for an answer; returns how many were answered to their end.
    fn when_waiting(&self, count: u64) -> u64 {
        for _ in 0..6_000 {
            let health: Value = serde_json::from_str(&self.get("/health").body).unwrap();
            if health["waiting"] == count {
                return health["answered"].as_u64().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{}", self.get("/health").body);
    }
}

const CHAT: &str = "POST /v1/chat/completions";
const JSON: &str = "content-type: application/json\r\n";

fn head(line: &str, headers: &str, length: usize) -> String {
    format!("{line} HTTP/1.1\r\nhost: tiny\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n")
}

/// Reads a response to its end.
fn whole(mut stream: TcpStream) -> Answered {
    let mut bytes = Vec::new();
    // A client that was refused before it had sent all is reset behind the response.
    stream.read_to_end(&mut bytes).ok();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let is_chunked = head.contains("transfer-encoding: chunked");
    Answered { status, head: head.to_owned(), body: if is_chunked { unchunked(body) } else { body.to_owned() } }
}

/// Joins the chunks of a body; one that breaks off is an error.
fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").unwrap_or_else(|| panic!("it breaks off: {text:?}"));
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return text;
        }
        text.push_str(&rest[..length]);
        body = rest[length..].strip_prefix("\r\n").unwrap();
    }
}

/// Returns a question with other fields beside it.
fn question(more: Value) -> Value {
    let mut body = json!({"model": "tiny", "messages": [{"role": "user", "content": "what is the thing?"}]});
    let Value::Object(more) = more else { panic!("{more}") };
    body.as_object_mut().unwrap().extend(more);
    body
}

impl Answered {
    #[track_caller]
    fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the message of an error, of a kind that the status has.
    #[track_caller]
    fn error(&self, status: u16) -> String {
        let error = &self.json(status)["error"];
        let kind = if status >= 500 { "server_error" } else { "invalid_request_error" };
        assert_eq!(error["type"], kind, "{error}");
        error["message"].as_str().unwrap().to_owned()
    }

    /// Returns the objects of a stream that ended as it should.
    #[track_caller]
    fn events(&self) -> Vec<Value> {
        assert!(self.status == 200 && self.head.contains("content-type: text/event-stream"), "{self:?}");
        let events: Vec<&str> = self.body.split_terminator("\n\n").collect();
        let (last, objects) = events.split_last().unwrap();
        assert_eq!(*last, "data: [DONE]");
        objects.iter().map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
    }
}

#[test]
fn an_answer_is_the_same_whole_and_as_it_comes() {
    let server = Server::start(|_| ());
    let whole = server.ask(&question(json!({}))).json(200);
    let choice = &whole["choices"][0];
    assert_eq!((&whole["object"], &whole["model"]), (&json!("chat.completion"), &json!("tiny")));
    assert_eq!((&whole["created"], &choice["finish_reason"]), (&json!(1_700_000_000), &json!("length")));
    assert_eq!((&whole["usage"]["completion_tokens"], &choice["message"]["role"]), (&json!(8), &json!("assistant")));
    let prompt = whole["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(whole["usage"]["total_tokens"], prompt + 8);
    let text = choice["message"]["content"].as_str().unwrap();
    assert!(!text.is_empty());

    let more = json!({"stream": true, "stream_options": {"include_usage": true}});
    let events = server.ask(&question(more)).events();
    let (usage, chunks) = events.split_last().unwrap();
    assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &whole["usage"]));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let pieces = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    assert_eq!(pieces.collect::<String>(), text);
    let reasons: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]).collect();
    assert_eq!(reasons.last().unwrap(), &"length");
    assert!(reasons[..reasons.len() - 1].iter().all(|reason| reason.is_null()));
    assert!(events.iter().all(|event| event["id"] == events[0]["id"] && event["object"] == "chat.completion.chunk"));
    assert_ne!(events[0]["id"], whole["id"]);
    assert_eq!(server.when_waiting(0), 2);
    server.end();
}

#[test]
fn a_request_says_how_long_how_random_and_where_to_stop() {
    let server = Server::start(|_| ());
    let content = |more: Value| server.ask(&question(more)).json(200)["choices"][0].clone();
    let plain = content(json!({}));
    let text = plain["message"]["content"].as_str().unwrap();
    let second: String = text.chars().skip(1).take(2).collect();
    let before = text.split(&second).next().unwrap();
    let stopped = content(json!({"stop": second}));
    assert_eq!((&stopped["message"]["content"], &stopped["finish_reason"]), (&json!(before), &json!("stop")));
    assert_eq!(content(json!({"stop": ["\u{0}never", second]})), stopped);
    let two = server.ask(&question(json!({"max_completion_tokens": 2, "max_tokens": 5}))).json(200);
    assert_eq!(two["usage"]["completion_tokens"], 2);
    let warm = |seed: Value, top_p: f32| content(json!({"temperature": 1.5, "seed": seed, "top_p": top_p}));
    assert_eq!(warm(json!(-7), 1.0), warm(json!(-7), 1.0));
    assert_ne!(warm(json!(7), 1.0), warm(json!(8), 1.0));
    assert_ne!(warm(json!(null), 1.0), warm(json!(null), 1.0), "without a seed each answer has one of its own");
    assert_eq!(warm(json!(7), 0.0), plain);
    let parts = json!([{"type": "text", "text": "what is "}, {"type": "text", "text": "the thing?"}]);
    assert_eq!(content(json!({"messages": [{"role": "user", "content": parts}]})), plain);
    server.end();
}

#[test]
fn the_models_system_prompt_is_asked_with_unless_there_is_another() {
    let tokens = |server: &Server, messages: &Value| {
        let answer = server.ask(&question(json!({"messages": messages}))).json(200);
        answer["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let (user, own) = (json!({"role": "user", "content": "q"}), json!({"role": "developer", "content": "be short"}));
    let plain = Server::start(|_| ());
    let with = Server::start(|service| service.system = "be short".into());
    let (alone, both) = (tokens(&plain, &json!([user])), tokens(&plain, &json!([own, user])));
    assert!(alone < both);
    assert_eq!((tokens(&with, &json!([user])), tokens(&with, &json!([own, user]))), (both, both));
    plain.end();
    with.end();
}

#[test]
fn what_is_served_can_be_looked_up_and_nothing_else() {
    let server = Server::start(|_| ());
    let list = server.get("/v1/models").json(200);
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("tiny")));
    assert_eq!(server.get("/v1/models/tiny").json(200), list["data"][0]);
    assert_eq!(server.get("/health").json(200)["status"], "ok");
    assert!(server.get("/v1/models/other").error(404).contains("this server has `tiny`"));
    for path in ["/", "/v1", "/v1/models/", "/v1/completions", "/../etc/passwd"] {
        assert!(server.get(path).error(404).contains("there is no"), "{path}");
    }
    let refused = server.get("/v1/chat/completions");
    assert!(refused.head.contains("allow: POST"), "{}", refused.head);
    refused.error(405);
    server.exchange("DELETE /v1/models", "", b"").error(405);
    server.end();
}

#[test]
fn what_would_change_the_answer_and_cannot_be_done_is_refused_by_name() {
    let server = Server::start(|_| ());
    for (more, param, says) in [
        (json!({"model": "gpt-4"}), "model", "this server has `tiny`"),
        (json!({"messages": []}), "messages", "one message"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages[0].role", "there is no role \"tool\""),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content", "it is a text"),
        (json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}), "messages[0].content", "`text`"),
        (json!({"messages": [{"role": 3, "content": "x"}]}), "messages[0].role", "expected a string"),
        (json!({"messages": "hello"}), "messages", "expected a sequence"),
        (json!({"temperature": 3}), "temperature", "between 0 and 2"),
        (json!({"top_p": -1}), "top_p", "between 0 and 1"),
        (json!({"max_tokens": 0}), "max_tokens", "one token"),
        (json!({"max_tokens": -1}), "max_tokens", "invalid value"),
        (json!({"stop": [""]}), "stop", "1 to 1000 bytes"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop", "at most 4"),
        (json!({"stop": {"a": 1}}), "stop", "a text or an array"),
        (json!({"n": 2}), "n", "leave it out"),
        (json!({"logprobs": true}), "logprobs", "leave it out"),
        (json!({"tools": [{"type": "function"}]}), "tools", "leave it out"),
        (json!({"response_format": {"type": "json_object"}}), "response_format", "leave it out"),
        (json!({"presence_penalty": 0.5}), "presence_penalty", "leave it out"),
        (json!({"logit_bias": {"1": 2}}), "logit_bias", "leave it out"),
    ] {
        let refused = server.ask(&question(more));
        assert!(refused.error(400).contains(says), "{refused:?}");
        assert_eq!(refused.json(400)["error"]["param"], param, "{refused:?}");
    }
    let harmless = json!({"n": 1, "tools": [], "logprobs": false, "user": "me", "presence_penalty": 0, "stop": null,
        "response_format": {"type": "text"}, "logit_bias": {}, "seed": null, "metadata": {"a": "b"}});
    server.ask(&question(harmless)).json(200);
    server.end();
}

#[test]
fn bodies_that_mean_harm_are_refused_and_the_server_goes_on() {
    let server = Server::start(|_| ());
    let refused = |body: &[u8], status: u16| server.exchange(CHAT, JSON, body).error(status);
    assert!(refused(b"", 400).contains("EOF"));
    assert!(
        refused(b"{\"model\": \"tiny\", \"messages\": [{\"role\": \"user\", \"content\": \"\xff\"}]}", 400)
            .contains("body")
    );
    assert!(refused("[".repeat(100_000).as_bytes(), 400).contains("body"));
    let deep = format!("{{\"model\":\"tiny\",\"messages\":[],\"tools\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(refused(deep.as_bytes(), 400).contains("recursion"), "{}", refused(deep.as_bytes(), 400));
    assert!(refused(format!("{} x", question(json!({}))).as_bytes(), 400).contains("trailing"));
    assert!(refused(&vec![b' '; (4 << 20) + 1], 413).contains("4194304 bytes"));
    let long = |length: usize| question(json!({"messages": [{"role": "user", "content": "a ".repeat(length)}]}));
    for length in [600, 1_000_000] {
        let refused = server.ask(&long(length));
        assert!(refused.error(400).contains("the context holds 512"), "{refused:?}");
        assert_eq!(refused.json(400)["error"]["code"], "context_length_exceeded");
    }
    for stream in [true, false] {
        let refused = server
            .ask(&question(json!({"messages": [{"role": "user", "content": "a".repeat(2_000)}], "stream": stream})));
        assert_eq!(refused.json(400)["error"]["code"], "context_length_exceeded", "{refused:?}");
    }
    let body = question(json!({})).to_string();
    assert!(
        server.exchange(CHAT, "content-type: text/plain\r\n", body.as_bytes()).error(415).contains("application/json")
    );
    let from = |origin: &str| server.exchange(CHAT, &format!("{JSON}origin: {origin}\r\n"), body.as_bytes());
    from("https://example.org").error(403);
    from("null").error(403);
    from("http://localhost.example.org").error(403);
    for origin in ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8"] {
        from(origin).json(200);
    }
    // A body that breaks off, and what is no HTTP.
    let stream = server.send(format!("{}{{\"model\"", head(CHAT, JSON, 500)).as_bytes());
    stream.shutdown(Shutdown::Write).unwrap();
    drop(stream);
    drop(server.send(b"\x16\x03\x01\x02\x00\x01\x00\x01"));
    server.ask(&question(json!({}))).json(200);
    server.end();
}

#[test]
fn a_client_that_goes_away_stops_its_answer() {
    for stream in [true, false] {
        let server = Server::endless(4);
        let mut client = server.begin(&question(json!({"stream": stream, "max_tokens": ENDLESS})));
        if stream {
            client.read_exact(&mut [0; 600]).unwrap();
        }
        server.when_waiting(1);
        drop(client);
        assert_eq!(server.when_waiting(0), 0, "stopped, not answered");
        // The model is free again.
        server.ask(&question(json!({"max_tokens": 1}))).json(200);
        assert_eq!(server.when_waiting(0), 1);
        server.end();
    }
}

#[test]
fn requests_wait_for_the_model_and_when_too_many_do_one_is_sent_away() {
    let server = Server::endless(1);
    let mut first = server.begin(&question(json!({"stream": true, "max_tokens": ENDLESS})));
    first.read_exact(&mut [0; 600]).unwrap();
    let second = server.begin(&question(json!({"max_tokens": 1})));
    server.when_waiting(2);
    let third = server.ask(&question(json!({"max_tokens": 1})));
    assert!(third.error(503).contains("too many requests"), "{third:?}");
    assert!(third.head.contains("retry-after: 5"), "{}", third.head);
    // One who waits and goes away makes room.
    drop(second);
    server.when_waiting(1);
    let fourth = server.begin(&question(json!({"max_tokens": 1})));
    server.when_waiting(2);
    drop(first);
    assert_eq!(whole(fourth).json(200)["usage"]["completion_tokens"], 1);
    assert_eq!(server.when_waiting(0), 1);
    server.end();
}

#[test]
fn a_server_that_ends_says_so_to_those_who_wait() {
    let server = Server::endless(4);
    let mut streamed = server.begin(&question(json!({"stream": true, "max_tokens": ENDLESS})));
    streamed.read_exact(&mut [0; 600]).unwrap();
    let waits = server.begin(&question(json!({})));
    server.when_waiting(2);
    server.end();
    assert!(whole(waits).error(503).contains("is ending"));
    let mut rest = String::new();
    streamed.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("the server is ending") && !rest.contains("[DONE]"), "{rest}");
}
