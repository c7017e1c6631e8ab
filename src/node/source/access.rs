//! How an API of GitHub's kind is reached: by which token, at which address, and with how much patience.

use std::time::Duration;

use crate::net::{NetError, Policy, Secret, Url};
use crate::node::settings::{environment_name, literal_secret};
use crate::node::{Run, Secrets, SettingProblem};

/// Requests that GitHub answers in an hour without a token.
pub(super) const AN_HOUR: u64 = 60;
/// How a token is written in a manifest.
pub(super) const EXAMPLE: &str = "env:GITHUB_TOKEN";

/// The settings of that.
pub(super) struct Access<'s> {
    /// `env:NAME`, where a token is.
    pub(super) token: Option<&'s str>,
    /// The API's address.
    pub(super) api: &'s str,
    /// How long one request may wait for limits, such as `10m`.
    pub(super) max_wait: &'s str,
}

/// GitHub's own API.
pub(super) fn github() -> String {
    "https://api.github.com".into()
}

/// A little more than the time that GitHub's limits last.
pub(super) fn an_hour() -> String {
    "65m".into()
}

impl<'s> Access<'s> {
    /// Returns what is wrong with `token`, `api` and `max-wait`.
    pub(super) fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        if self.token.is_some() && self.token_name().is_none() {
            problems.push(literal_secret(EXAMPLE));
        }
        if let Err(error) = Url::parse(self.api) {
            let help = "write it as `https://HOST/PATH`; credentials go into `token`";
            problems.push(SettingProblem::new(&["api"], "settings::wrong_value", error.to_string(), help));
        }
        if humantime::parse_duration(self.max_wait).is_err() {
            let message = format!("`{}` is no length of time", self.max_wait);
            let help = "write it as `90s` or `10m`";
            problems.push(SettingProblem::new(&["max-wait"], "settings::wrong_value", message, help));
        }
        problems
    }

    /// Returns the name of the environment variable that holds the token.
    pub(super) fn token_name(&self) -> Option<&'s str> {
        environment_name(self.token?)
    }

    /// Says what a token would change, where there is none; nothing where there is one.
    pub(super) fn advice(&self, secrets: &dyn Secrets) -> Option<String> {
        match self.token_name() {
            Some(name) if secrets.environment(name).is_some() => None,
            Some(name) => {
                Some(format!("`{name}` is not set, and without a token GitHub answers {AN_HOUR} requests an hour"))
            }
            None => Some(format!(
                "without a token GitHub answers {AN_HOUR} requests an hour, with `token = \"{EXAMPLE}\"` 5,000"
            )),
        }
    }

    /// Returns the token, where there is one; a variable that is not set is told.
    ///
    /// # Errors
    /// The variable's value can be no token.
    pub(super) fn token(&self, run: &Run<'_>) -> Result<Option<Secret>, NetError> {
        let Some(name) = self.token_name() else { return Ok(None) };
        let Some(token) = run.secrets.environment(name) else {
            run.warn(format!(
                "environment variable `{name}` is not set: GitHub answers {AN_HOUR} requests an hour without a token"
            ));
            return Ok(None);
        };
        Secret::new(&token).map(Some)
    }

    /// Returns how long one request may wait for limits.
    pub(super) fn max_wait(&self) -> Duration {
        humantime::parse_duration(self.max_wait).unwrap_or(Policy::default().max_wait)
    }
}
