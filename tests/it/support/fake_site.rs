//! A server whose answers are a function of what is asked, and which remembers what that was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Told {
    pub(crate) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }

    pub(crate) fn html(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, "text/html; charset=utf-8", body)
    }

    pub(crate) fn missing() -> Self {
        Self::new(404, "text/html", "<h1>Not Found</h1>")
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::new(302, "text/html", "").with("location", to)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

type Answer = Arc<Mutex<dyn FnMut(&Asked) -> Told + Send>>;

/// A running server.
pub(crate) struct FakeSite {
    /// Without a slash at its end.
    pub(crate) address: String,
    log: Arc<Mutex<Vec<Asked>>>,
    _runtime: tokio::runtime::Runtime,
}

impl FakeSite {
    /// Starts a server. The function is given each request and the server's own address.
    pub(crate) fn start(mut answer: impl FnMut(&Asked, &str) -> Told + Send + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let own = address.clone();
        let answer: Answer = Arc::new(Mutex::new(move |asked: &Asked| answer(asked, &own)));
        let app = axum::Router::new().fallback(reply).with_state((log.clone(), answer));
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, log, _runtime: runtime }
    }

    /// Takes the requests since the last call.
    pub(crate) fn log(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    /// Takes the paths of the requests since the last call.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.log().into_iter().map(|asked| asked.path).collect()
    }
}

async fn reply(State((log, answer)): State<(Arc<Mutex<Vec<Asked>>>, Answer)>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: headers.collect(),
        body: String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap(),
    };
    log.lock().unwrap().push(asked.clone());
    let told = answer.lock().unwrap()(&asked);
    let builder = Response::builder().status(told.status);
    let builder = told.headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
    builder.body(Body::from(told.body)).unwrap()
}
