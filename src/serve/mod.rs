//! Built models that are asked: from a conversation to an answer, here in the process or over HTTP.
//!
//! A [`ChatModel`] is a GGUF with all that it says of itself: vocabulary, chat template. It renders conversations as
//! training did, whatever stands in them: no text of a message opens a role. [`serve`] answers over the API that OpenAI's
//! clients speak: one model, one answer at a time, and a queue of a fixed length before it. [`Ollama`] is a server of
//! somebody else that has such a model: whether it asks it by the same tokens.
//!
//! ```text
//! connection ─ http ─ request ─→ queue ─→ worker: ChatModel, llama.cpp
//!       ↑                                   │ pieces of text
//!       └────────── reply ←─────────────────┘
//! ```
//!
//! It knows neither nodes nor the store: a caller says which file it is. Nothing is printed or kept, and nothing of what is
//! asked leaves the process. What clients send is not trusted; whoever can connect can ask.

mod chat_model;
mod error;
mod http;
mod ollama;
mod queue;
mod reply;
mod request;
mod worker;

#[cfg(test)]
mod tests;

pub use chat_model::{ChatModel, with_system};
pub use error::ServeError;
pub use ollama::{Asked, Comparison, Difference, Ollama, OllamaError};
pub use worker::{Service, Stop, serve};
