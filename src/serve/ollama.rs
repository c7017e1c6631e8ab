//! What an Ollama server makes of conversations, beside what training made of them.
//!
//! A server that is asked with `_debug_render_only` shows the text that it would ask the model with, and generates nothing
//! (0.12 and later). It is tokenised here as the server's llama.cpp does it, and compared token by token. Older servers
//! know no such field and answer: then only `prompt_eval_count` can be compared, the number of tokens that the server read.

use std::time::Duration;

use miette::Diagnostic;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ChatModel, ServeError, with_system};
use crate::llama::Token;
use crate::model::template::Message;
use crate::net::{Client, NetError, Policy, Request, Secret, Url, Watch};

/// A server may load the model before it has a word.
const LOADING: Duration = Duration::from_mins(10);
/// Bytes of an answer.
const MOST_BYTES: u64 = 16 << 20;
/// Models that are looked at for one of a file.
const MOST_MODELS: usize = 500;

/// Why a server cannot be compared with.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum OllamaError {
    /// The network or the server.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// The model here.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] ServeError),
    /// Nobody listens, or somebody else.
    #[error("no Ollama answers at `{server}`")]
    #[diagnostic(
        code(ollama::unreachable),
        help("start it (`ollama serve`), or name another: `--ollama URL`, without `/api` and `/v1`")
    )]
    NoOllama {
        /// Its address.
        server: String,
        /// Why.
        #[source]
        cause: NetError,
    },
    /// Another name on the server, or none.
    #[error("`{server}` has no model `{name}`")]
    #[diagnostic(code(ollama::no_model))]
    NoModel {
        /// Its address.
        server: String,
        /// The model.
        name: String,
    },
    /// The template takes none of the conversations.
    #[error("the model's own chat template refuses all conversations that are compared")]
    #[diagnostic(code(ollama::nothing_compared), help("`eval.parity` compares rows of the project"))]
    NothingCompared,
    /// Neither a text nor a count.
    #[error("`{server}` says neither how it asks `{name}` nor by how many tokens")]
    #[diagnostic(code(ollama::says_nothing), help("0.12 and later show the text: update the server"))]
    SaysNothing {
        /// Its address.
        server: String,
        /// The model.
        name: String,
    },
}

/// An Ollama server.
pub struct Ollama<'a> {
    client: Client,
    base: Url,
    watch: &'a dyn Watch,
}

/// A model there, and what it is to be asked by.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its name on the server.
    pub name: &'a str,
    /// The GGUF that it was made of.
    pub model: &'a ChatModel,
    /// Its system prompt.
    pub system: &'a str,
}

/// What a comparison has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Conversations that were compared.
    pub conversations: usize,
    /// Tokens of them.
    pub tokens: usize,
    /// Whether the tokens themselves were compared, or only their number.
    pub is_by_token: bool,
    /// The first that differs.
    pub difference: Option<Difference>,
}

/// Where a conversation is asked otherwise than it was trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// At a token.
    Token {
        /// What the conversation is there for.
        conversation: &'static str,
        /// The token's place.
        at: usize,
        /// What training has there.
        ours: Option<String>,
        /// What the server has there.
        theirs: Option<String>,
    },
    /// In the number of tokens.
    Count {
        /// What the conversation is there for.
        conversation: &'static str,
        /// How many training has.
        ours: u64,
        /// How many the server has read.
        theirs: u64,
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |piece: &Option<String>| piece.clone().unwrap_or_else(|| "nothing".to_owned());
        match self {
            Self::Token { conversation, at, ours, theirs } => {
                write!(f, "{conversation}, token {at}: training has {}, Ollama {}", show(ours), show(theirs))
            }
            Self::Count { conversation, ours, theirs } => {
                write!(f, "{conversation}: training has {ours} tokens, Ollama read {theirs}")
            }
        }
    }
}

/// What a server says of a conversation.
enum Said {
    Text(String),
    Count(u64),
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "_debug_info")]
    debug_info: Option<DebugInfo>,
    prompt_eval_count: Option<u64>,
}

#[derive(Deserialize)]
struct DebugInfo {
    rendered_template: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    modelfile: String,
}

impl<'a> Ollama<'a> {
    /// Makes a client of the server at `base`.
    pub fn new(base: Url, token: Option<Secret>, watch: &'a dyn Watch) -> Self {
        let client = Client::new(Policy { attempts: 2, total: LOADING, ..Policy::default() });
        let client = match token {
            Some(token) => client.with_token(&base, token),
            None => client,
        };
        Self { client, base, watch }
    }

    /// Returns the server's address.
    pub fn name(&self) -> String {
        self.base.to_string().trim_end_matches('/').to_owned()
    }

    fn url(&self, path: &str) -> Result<Url, NetError> {
        Url::parse(&format!("{}/api/{path}", self.name()))
    }

    /// Returns the server's version.
    ///
    /// # Errors
    /// [`OllamaError::NoOllama`].
    pub fn version(&self) -> Result<String, OllamaError> {
        let no_ollama = |cause| OllamaError::NoOllama { server: self.name(), cause };
        let response = self.client.send(&Request::get(self.url("version")?), self.watch).map_err(no_ollama)?;
        Ok(response.json::<Version>().map_err(no_ollama)?.version)
    }

    /// Returns the first model there that is made of the file with this SHA-256.
    ///
    /// # Errors
    /// Those of the network.
    pub fn made_of(&self, sha256: &str) -> Result<Option<String>, OllamaError> {
        let response = self.client.send(&Request::get(self.url("tags")?), self.watch)?;
        let listed: Listed = response.json()?;
        for Model { name } in listed.models.into_iter().take(MOST_MODELS) {
            let request = Request::post_json(self.url("show")?, &json!({"model": name, "name": name}));
            let shown = self.client.send(&request, self.watch)?.json::<Shown>()?;
            if shown.modelfile.contains(&format!("sha256-{sha256}")) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Compares how a model is asked there with how it was trained, up to the first difference.
    ///
    /// # Errors
    /// Those of the network; a model that the server does not have; a server that says nothing of its prompts.
    pub fn compare(&self, asked: &Asked<'_>) -> Result<Comparison, OllamaError> {
        let mut found = Comparison { conversations: 0, tokens: 0, is_by_token: true, difference: None };
        for (conversation, messages) in conversations() {
            let ours = match asked.model.prompt(&with_system(asked.system, messages.clone()), usize::MAX) {
                Ok(tokens) => tokens,
                // What the template refuses nobody is asked.
                Err(ServeError::Refused { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            found.conversations += 1;
            found.tokens += ours.len();
            found.difference = match self.said(asked.name, &messages)? {
                Said::Text(text) => {
                    let theirs = asked.model.model().tokenize_served(&text).map_err(ServeError::from)?;
                    by_token(asked.model, conversation, &ours, &theirs)
                }
                Said::Count(theirs) => {
                    found.is_by_token = false;
                    let ours = ours.len() as u64;
                    (ours != theirs).then_some(Difference::Count { conversation, ours, theirs })
                }
            };
            if found.difference.is_some() {
                return Ok(found);
            }
        }
        if found.conversations == 0 { Err(OllamaError::NothingCompared) } else { Ok(found) }
    }

    /// Returns what the server makes of a conversation; the model's system prompt is its own matter.
    fn said(&self, name: &str, messages: &[Message]) -> Result<Said, OllamaError> {
        let messages: Vec<Value> =
            messages.iter().map(|message| json!({"role": message.role, "content": message.content})).collect();
        // A server that does not know the field answers: by one token.
        let body = json!({
            "model": name, "messages": messages, "stream": false, "_debug_render_only": true,
            "options": {"num_predict": 1, "temperature": 0},
        });
        let request = Request::post_json(self.url("chat")?, &body).bounded(MOST_BYTES, LOADING);
        let answer: Answer = match self.client.send(&request, self.watch) {
            Ok(response) => response.json()?,
            Err(NetError::Refused { status: 404, .. }) => {
                return Err(OllamaError::NoModel { server: self.name(), name: name.to_owned() });
            }
            Err(error) => return Err(error.into()),
        };
        match (answer.debug_info, answer.prompt_eval_count) {
            (Some(shown), _) => Ok(Said::Text(shown.rendered_template)),
            (None, Some(count)) => Ok(Said::Count(count)),
            (None, None) => Err(OllamaError::SaysNothing { server: self.name(), name: name.to_owned() }),
        }
    }
}

fn by_token(model: &ChatModel, conversation: &'static str, ours: &[Token], theirs: &[Token]) -> Option<Difference> {
    let at = ours.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count();
    let piece = |token: &Token| format!("{token} {:?}", model.model().text(*token));
    let (ours, theirs) = (ours.get(at).map(piece), theirs.get(at).map(piece));
    (ours.is_some() || theirs.is_some()).then_some(Difference::Token { conversation, at, ours, theirs })
}

/// What is compared: what templates differ in, each with what it is there for. No text holds a marker.
fn conversations() -> Vec<(&'static str, Vec<Message>)> {
    let message = |role, content: &str| Message { role, content: content.to_owned() };
    let user = |content| message("user", content);
    vec![
        ("a question", vec![user("What is this project about?")]),
        ("a question with spaces and lines around it", vec![user("  first\n\n\tsecond line  \n")]),
        ("a question in several scripts", vec![user("Größe 1234,5 字 🦙 it's")]),
        (
            "a conversation of three turns",
            vec![user("What is it?"), message("assistant", "A thing.\n\nAnd more."), user("Why?")],
        ),
        ("a question with a system prompt of its own", vec![message("system", "Be short."), user("Who?")]),
    ]
}
