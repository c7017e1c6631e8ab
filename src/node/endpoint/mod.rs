//! A model behind an endpoint that speaks `OpenAI`'s chat completions, such as a llama.cpp server on this machine.
//!
//! Every answer is kept under the digest of its request, so nothing is asked twice. What a text from elsewhere says has
//! no power in a prompt: it stands between fences that it does not have, and its template markers are neutralised.

mod ask;
mod error;
mod prompt;
mod settings;

pub(crate) use ask::{Endpoint, Kept, Request};
pub(crate) use error::{EndpointError, failure};
pub(crate) use prompt::{fenced, filled};
pub(crate) use settings::EndpointSettings;
