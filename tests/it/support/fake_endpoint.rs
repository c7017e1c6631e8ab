//! An endpoint for chat completions with the habits that a test asks for, over real HTTP.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// What the endpoint answers to a prompt that holds a word.
#[derive(Clone, Debug)]
pub(crate) enum Habit {
    /// This text, ended by this reason.
    Text(String, &'static str),
    /// What this makes of the prompt.
    Says(fn(&str) -> String),
    /// This status and body.
    Status(u16, &'static str),
    /// Too many requests: it asks for a second of rest.
    Limited,
    /// A body without an end.
    Endless,
}

#[derive(Default)]
struct World {
    habits: BTreeMap<&'static str, VecDeque<Habit>>,
    prompts: Vec<Value>,
    tokens: Vec<String>,
    under_way: usize,
    most_under_way: usize,
}

/// A running endpoint. Without a habit it writes one pair about the first line of the text.
pub(crate) struct FakeEndpoint {
    pub(crate) address: String,
    world: Arc<Mutex<World>>,
    _runtime: tokio::runtime::Runtime,
}

impl FakeEndpoint {
    pub(crate) fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}/v1", listener.local_addr().unwrap());
        let app = axum::Router::new().route("/v1/chat/completions", axum::routing::post(answer));
        let app = app.with_state(world.clone());
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, world, _runtime: runtime }
    }

    /// Answers prompts that hold `word` with these, one after the other; the last one stays.
    pub(crate) fn habit(&self, word: &'static str, habits: &[Habit]) {
        self.world.lock().unwrap().habits.insert(word, habits.iter().cloned().collect());
    }

    /// Returns the requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Value> {
        std::mem::take(&mut self.world.lock().unwrap().prompts)
    }

    /// Returns the headers `authorization` that came so far.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.world.lock().unwrap().tokens.clone()
    }

    /// Returns how many requests were under way at once at most.
    pub(crate) fn most_under_way(&self) -> usize {
        self.world.lock().unwrap().most_under_way
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response {
    let token = request.headers().get("authorization").map(|token| token.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    {
        let mut world = world.lock().unwrap();
        world.tokens.extend(token);
        world.prompts.push(body.clone());
        world.under_way += 1;
        world.most_under_way = world.most_under_way.max(world.under_way);
    }
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let mut world = world.lock().unwrap();
    world.under_way -= 1;
    let prompt = body["messages"][0]["content"].as_str().unwrap();
    let habit = world.habits.iter_mut().find(|(word, _)| prompt.contains(**word));
    let habit =
        habit.and_then(|(_, habits)| if habits.len() > 1 { habits.pop_front() } else { habits.front().cloned() });
    match habit.unwrap_or(Habit::Says(pair)) {
        Habit::Text(text, reason) => completion(&text, reason),
        Habit::Says(words) => completion(&words(prompt), "stop"),
        Habit::Limited => {
            (axum::http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "slow down").into_response()
        }
        Habit::Endless => axum::body::Body::from_stream(Spaces).into_response(),
        Habit::Status(status, body) => (axum::http::StatusCode::from_u16(status).unwrap(), body).into_response(),
    }
}

fn completion(text: &str, reason: &str) -> Response {
    axum::Json(json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}],
    }))
    .into_response()
}

/// White space, which JSON may begin with, for ever.
struct Spaces;

impl futures_core::Stream for Spaces {
    type Item = std::io::Result<Vec<u8>>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(Some(Ok(vec![b' '; 1 << 20])))
    }
}

/// Returns a pair about the title that stands in the default prompt.
fn pair(prompt: &str) -> String {
    let title = prompt.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("it");
    json!({"pairs": [{"question": format!("What is {title}?"), "answer": format!("{title} is what the text says.")}]})
        .to_string()
}
