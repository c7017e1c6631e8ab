//! What can go wrong with a model on an Ollama server.

use miette::Diagnostic;

use crate::net::NetError;
use crate::node::{FailureClass, NodeError};

/// What can go wrong with a model on an Ollama server.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum OllamaError {
    /// The network or the server.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// Nobody listens.
    #[error("no Ollama answers at `{server}`")]
    #[diagnostic(
        code(ollama::unreachable),
        help("start it (`ollama serve`), or name another by `host` or the variable OLLAMA_HOST")
    )]
    Unreachable {
        server: String,
        #[source]
        cause: NetError,
    },
    /// Another server.
    #[error("`{server}` is no Ollama: {what}")]
    #[diagnostic(code(ollama::no_ollama), help("name the server's own address, without `/api` and `/v1`"))]
    NoOllama { server: String, what: String },
    /// No blobs, or no `files`.
    #[error("the Ollama {version} at `{server}` is too old: {what}")]
    #[diagnostic(code(ollama::too_old), help("0.5.5 and later can be given a model's file by its digest: update it"))]
    TooOld { server: String, version: String, what: &'static str },
    /// What an adapter would be put on.
    #[error("`{server}` has no `{base}`, which `base` names")]
    #[diagnostic(code(ollama::no_base), help("fetch it there: `ollama pull {base}`"))]
    NoBase { server: String, base: String },
    /// The bytes that came are not those that were sent.
    #[error("`{server}` refused `{file}`: what came there has another SHA-256")]
    #[diagnostic(
        code(ollama::wrong_digest),
        help("something on the way changes what is sent, such as a proxy: run the same command again")
    )]
    WrongDigest { server: String, file: String },
    /// The server could not make the model.
    #[error("`{server}` could not create `{tag}`: {what}")]
    #[diagnostic(code(ollama::create), help("nothing was deployed; the server's log may say more"))]
    Create { server: String, tag: String, what: String },
    /// The server's word ended in the middle.
    #[error("`{server}` did not end its word on `{tag}`; its last was `{last}`")]
    #[diagnostic(
        code(ollama::broken_off),
        help("nothing was deployed: run the same command again, it goes on where it stopped")
    )]
    BrokenOff { server: String, tag: String, last: String },
    /// The server says success and has nothing.
    #[error("`{server}` created `{tag}` and does not list it")]
    #[diagnostic(code(ollama::not_listed), help("nothing was deployed; look at the server's log and at its disk"))]
    NotListed { server: String, tag: String },
    /// The alias names something that nobody here put there.
    #[error("`{alias}` on `{server}` is no longer what was deployed: it is {found}")]
    #[diagnostic(
        code(ollama::changed_since),
        help("somebody moved it since; `ollama cp {before} {alias}` moves it by hand")
    )]
    ChangedSince { server: String, alias: String, found: String, before: String },
    /// What a rollback would go back to.
    #[error("`{tag}` is no longer on `{server}`, so `{alias}` cannot go back to it")]
    #[diagnostic(
        code(ollama::gone),
        help("deploy a former state of the project: `git checkout` and `tunesmith build --deploy`")
    )]
    Gone { server: String, tag: String, alias: String },
    /// `from` does not say what to deploy.
    #[error("`from` names {models} models and {adapters} adapters")]
    #[diagnostic(
        code(ollama::inputs),
        help("name one GGUF of a model, and GGUFs of adapters for it; or `base` and one GGUF of an adapter")
    )]
    Inputs { models: usize, adapters: usize },
    /// The token is not there.
    #[error("environment variable `{variable}`, which `token` names, is not set")]
    #[diagnostic(code(ollama::no_token), help("set it where `tunesmith build` runs"))]
    NoToken { variable: String },
    /// Its store is on this machine, and something there fails in the middle.
    #[error("Ollama's store on this machine cannot be written")]
    #[diagnostic(code(ollama::store), help("look at its disk and whose it is; nothing was deployed"))]
    Store(#[source] std::io::Error),
    /// A file to send.
    #[error("a file that is to be sent cannot be read")]
    #[diagnostic(code(ollama::io), help("run the same command again"))]
    Io(#[from] std::io::Error),
}

/// Makes the node's failure of an error, which another try may mend when it lies in the network or at the server.
pub(super) fn failure(error: OllamaError) -> NodeError {
    match &error {
        OllamaError::Net(NetError::Cancelled) => NodeError::cancelled(),
        OllamaError::Net(net) if net.is_transient() => NodeError::new(FailureClass::Transient, &error),
        OllamaError::BrokenOff { .. } => NodeError::new(FailureClass::Transient, &error),
        _ => NodeError::new(FailureClass::Permanent, &error),
    }
}
