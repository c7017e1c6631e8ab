//! One request and its answer, asked for once.

use serde::{Deserialize, Serialize};

use super::error::SynthesizeError;
use super::prompt::Request;
use super::setup::Settings;
use crate::net::{Client, NetError, Policy, Request as Message, Secret, Url};
use crate::node::{NodeError, Run, settings};
use crate::store::{Digest, FileRef};

/// An endpoint, and the answers that are kept of it.
pub(super) struct Endpoint<'a, 'r> {
    run: &'a Run<'r>,
    client: Client,
    url: Url,
    /// The state that says that the model ever answered here.
    answered: String,
}

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kept {
    /// What the model wrote.
    Text {
        /// The text.
        text: String,
        /// Whether it ended before the model did.
        is_cut: bool,
    },
    /// The endpoint does not take this request, such as one that is longer than its context.
    Refused {
        /// The HTTP status.
        status: u16,
    },
}

/// An answer, and whether it was asked for just now.
pub(super) struct Answer {
    pub(super) kept: Kept,
    pub(super) is_new: bool,
}

/// What an endpoint sends, as far as it is read.
#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Written,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    content: Option<String>,
}

impl<'a, 'r> Endpoint<'a, 'r> {
    /// Makes the endpoint of a run.
    pub(super) fn new(run: &'a Run<'r>, settings: &Settings) -> Result<Self, NodeError> {
        let base = settings.endpoint.trim_end_matches('/');
        let url = Url::parse(&format!("{base}/chat/completions")).map_err(SynthesizeError::from)?;
        let deadline = settings.timeout();
        let mut client = Client::new(Policy { deadline, ..Policy::default() });
        if let Some(name) = settings.token.as_deref().and_then(settings::environment_name) {
            match run.secrets.environment(name) {
                Some(token) => {
                    client = client.with_token(&url, Secret::new(&token).map_err(SynthesizeError::from)?);
                }
                None => {
                    run.warn(format!(
                        "environment variable `{name}` is not set: the endpoint is asked without a token"
                    ));
                }
            }
        }
        let answered = Digest::of(format!("{url} {}", settings.model).as_bytes());
        Ok(Self { run, client, url, answered: format!("synthesize-answered/{answered}") })
    }

    /// Returns the kept answer to a request, or asks. The endpoint's refusal of a request is an answer, too, once the
    /// endpoint has answered any; before that it may refuse them all, and is an error.
    pub(super) fn answer(&self, request: &Request) -> Result<Answer, SynthesizeError> {
        if let Some(kept) = self.kept(&request.digest)? {
            return Ok(Answer { kept, is_new: false });
        }
        let kept = match self.ask(request) {
            Err(SynthesizeError::Net(error)) => match refusal(&error) {
                Some(status) if self.has_answered()? => Kept::Refused { status },
                _ => return Err(error.into()),
            },
            kept => kept?,
        };
        self.keep(&request.digest, &kept)?;
        Ok(Answer { kept, is_new: true })
    }

    fn ask(&self, request: &Request) -> Result<Kept, SynthesizeError> {
        let message = Message::post_json(self.url.clone(), &request.body).json();
        let response = self.client.send(&message, self.run)?;
        let completion: Completion = response.json()?;
        let Some(choice) = completion.choices.into_iter().next() else {
            let excerpt: String = String::from_utf8_lossy(&response.body).chars().take(200).collect();
            return Err(SynthesizeError::NoChoice { url: self.url.to_string(), excerpt });
        };
        let is_cut = choice.finish_reason.as_deref() == Some("length");
        Ok(Kept::Text { text: choice.message.content.unwrap_or_default(), is_cut })
    }

    /// Returns the answer that is kept under a request's digest.
    fn kept(&self, digest: &Digest) -> Result<Option<Kept>, SynthesizeError> {
        let Some(file) = self.run.store.state::<FileRef>(&state_name(digest))? else { return Ok(None) };
        if !self.run.store.has(&file.digest)? {
            return Ok(None);
        }
        // An answer of another form is asked for anew.
        Ok(serde_json::from_slice(&self.run.store.get(&file.digest)?).ok())
    }

    /// Keeps an answer by a named state, which a collection of the store leaves alone: answers cost hours.
    fn keep(&self, digest: &Digest, kept: &Kept) -> Result<(), SynthesizeError> {
        let bytes = serde_json::to_vec(kept).map_err(SynthesizeError::Unwritable)?;
        let file = FileRef { digest: self.run.store.put(&bytes)?, size: bytes.len() as u64 };
        self.run.store.put_state(&state_name(digest), &file)?;
        if matches!(kept, Kept::Text { .. }) {
            self.run.store.put_state(&self.answered, &true)?;
        }
        Ok(())
    }

    /// Returns whether the endpoint ever took a request: one that takes none refuses the settings, not a record.
    fn has_answered(&self) -> Result<bool, SynthesizeError> {
        Ok(self.run.store.state::<bool>(&self.answered)?.unwrap_or_default())
    }
}

/// Returns the status by which an endpoint refuses a request as such, and not whoever asks or where.
pub(super) fn refusal(error: &NetError) -> Option<u16> {
    match error {
        NetError::Refused { status: status @ (400 | 413 | 422), .. } => Some(*status),
        _ => None,
    }
}

fn state_name(digest: &Digest) -> String {
    format!("synthesize/{digest}")
}
