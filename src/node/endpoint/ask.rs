//! Requests and their answers, each asked for once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EndpointSettings;
use super::error::EndpointError;
use crate::net::{Client, NetError, Policy, Request as Message, Secret, Url, shown};
use crate::node::{Run, settings};
use crate::store::{Digest, FileRef};

/// A request.
pub(crate) struct Request {
    /// What is sent.
    pub(crate) body: Value,
    /// The digest of it, which its answer is kept under.
    pub(crate) digest: Digest,
}

impl Request {
    /// Makes the request of a body.
    pub(crate) fn new(body: Value) -> Self {
        let digest = Digest::of(body.to_string().as_bytes());
        Self { body, digest }
    }
}

/// An endpoint, and the answers that are kept of it.
pub(crate) struct Endpoint<'a, 'r> {
    run: &'a Run<'r>,
    client: Client,
    url: Url,
    memo: &'static str,
    /// The state that says that the model ever answered here.
    answered: String,
}

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kept {
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
struct Answer {
    kept: Kept,
    is_new: bool,
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
    /// Makes the endpoint of a run; `memo` is what the states are named by that keep answers, such as `synthesize`.
    pub(crate) fn new(run: &'a Run<'r>, reached: &EndpointSettings, memo: &'static str) -> Result<Self, EndpointError> {
        let base = reached.address.trim_end_matches('/');
        let url = Url::parse(&format!("{base}/chat/completions"))?;
        let deadline = humantime::parse_duration(&reached.timeout).unwrap_or(Duration::from_mins(10));
        let mut client = Client::new(Policy { deadline, ..Policy::default() });
        if let Some(name) = reached.token.as_deref().and_then(settings::environment_name) {
            match run.secrets.environment(name) {
                Some(token) => client = client.with_token(&url, Secret::new(&token)?),
                None => {
                    run.warn(format!(
                        "environment variable `{name}` is not set: the endpoint is asked without a token"
                    ));
                }
            }
        }
        let answered = Digest::of(format!("{url} {}", reached.model).as_bytes());
        Ok(Self { run, client, url, memo, answered: format!("{memo}-answered/{answered}") })
    }

    /// Sees to it that every request has an answer that is kept; `step` is told of each, with how many were asked just
    /// now. Returns how many were.
    ///
    /// # Errors
    /// Also a refusal of requests by an endpoint that never took one: it refuses the settings, not a request.
    pub(crate) fn ask_all(
        &self,
        pool: &rayon::ThreadPool,
        requests: &[Request],
        step: impl Fn(u64) + Sync,
    ) -> Result<u64, EndpointError> {
        let asked = AtomicU64::new(0);
        let one = |request| -> Result<Option<&Request>, EndpointError> {
            let refused = match self.answer(request) {
                Ok(answer) => {
                    asked.fetch_add(u64::from(answer.is_new), Ordering::Relaxed);
                    None
                }
                Err(EndpointError::Net(error)) if refusal(&error).is_some() => Some(request),
                Err(error) => return Err(error),
            };
            step(asked.load(Ordering::Relaxed));
            Ok(refused)
        };
        let refused = pool.install(|| requests.par_iter().map(one).collect::<Result<Vec<_>, _>>())?;
        // What was refused before anything was answered is asked again: by now it is told from wrong settings.
        for request in refused.into_iter().flatten() {
            self.answer(request)?;
        }
        Ok(asked.into_inner())
    }

    /// Returns the answer to a request: the kept one, or a new one.
    pub(crate) fn get(&self, request: &Request) -> Result<Kept, EndpointError> {
        Ok(self.answer(request)?.kept)
    }

    /// Returns the kept answer to a request, or asks. The endpoint's refusal of a request is an answer, too, once the
    /// endpoint has answered any; before that it may refuse them all, and is an error.
    fn answer(&self, request: &Request) -> Result<Answer, EndpointError> {
        if let Some(kept) = self.kept(&request.digest)? {
            return Ok(Answer { kept, is_new: false });
        }
        let kept = match self.ask(request) {
            Err(EndpointError::Net(error)) => match refusal(&error) {
                Some(status) if self.has_answered()? => Kept::Refused { status },
                _ => return Err(error.into()),
            },
            kept => kept?,
        };
        self.keep(&request.digest, &kept)?;
        Ok(Answer { kept, is_new: true })
    }

    fn ask(&self, request: &Request) -> Result<Kept, EndpointError> {
        if self.run.job.offline {
            return Err(EndpointError::Offline { url: shown(&self.url.to_string()) });
        }
        let message = Message::post_json(self.url.clone(), &request.body).json();
        let response = self.client.send(&message, self.run)?;
        let completion: Completion = response.json()?;
        let Some(choice) = completion.choices.into_iter().next() else {
            let excerpt: String = String::from_utf8_lossy(&response.body).chars().take(200).collect();
            return Err(EndpointError::NoChoice { url: shown(&self.url.to_string()), excerpt });
        };
        let is_cut = choice.finish_reason.as_deref() == Some("length");
        Ok(Kept::Text { text: choice.message.content.unwrap_or_default(), is_cut })
    }

    /// Returns the answer that is kept under a request's digest.
    fn kept(&self, digest: &Digest) -> Result<Option<Kept>, EndpointError> {
        let Some(file) = self.run.store.state::<FileRef>(&self.state_name(digest))? else { return Ok(None) };
        if !self.run.store.has(&file.digest)? {
            return Ok(None);
        }
        // An answer of another form is asked for anew.
        Ok(serde_json::from_slice(&self.run.store.get(&file.digest)?).ok())
    }

    /// Keeps an answer by a named state, which a collection of the store leaves alone: answers cost hours.
    fn keep(&self, digest: &Digest, kept: &Kept) -> Result<(), EndpointError> {
        let bytes = serde_json::to_vec(kept).map_err(EndpointError::Unwritable)?;
        let file = FileRef { digest: self.run.store.put(&bytes)?, size: bytes.len() as u64 };
        self.run.store.put_state(&self.state_name(digest), &file)?;
        if matches!(kept, Kept::Text { .. }) {
            self.run.store.put_state(&self.answered, &true)?;
        }
        Ok(())
    }

    fn state_name(&self, digest: &Digest) -> String {
        format!("{}/{digest}", self.memo)
    }

    /// Returns whether the endpoint ever took a request: one that takes none refuses the settings, not a record.
    fn has_answered(&self) -> Result<bool, EndpointError> {
        Ok(self.run.store.state::<bool>(&self.answered)?.unwrap_or_default())
    }
}

/// Returns the status by which an endpoint refuses a request as such, and not whoever asks or where.
fn refusal(error: &NetError) -> Option<u16> {
    match error {
        NetError::Refused { status: status @ (400 | 413 | 422), .. } => Some(*status),
        _ => None,
    }
}
