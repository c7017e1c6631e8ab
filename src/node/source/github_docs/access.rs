//! How the API is reached: token, address, patience.

use std::time::Duration;

use super::error::GithubDocsError;
use super::{Settings, problem};
use crate::net::{Client, NetError, Policy, Secret, Url, Watch};
use crate::node::{FailureClass, NodeError, Run, SettingProblem};

/// Returns what is wrong with `token`, `api` and `max-wait`.
pub(super) fn problems(settings: &Settings) -> Vec<SettingProblem> {
    let mut problems = Vec::new();
    if settings.token.as_ref().is_some_and(|token| environment_name(token).is_none()) {
        // The value may be a real token: it must not enter a message.
        let help = "write `token = \"env:GITHUB_TOKEN\"` and set that variable; revoke a token that was committed";
        let message = "the token is no reference to an environment variable".to_owned();
        problems.push(problem(&["token"], "settings::literal_secret", message, help));
    }
    if let Err(error) = Url::parse(&settings.api) {
        let help = "write it as `https://HOST/PATH`; credentials go into `token`";
        problems.push(problem(&["api"], "settings::wrong_value", error.to_string(), help));
    }
    if humantime::parse_duration(&settings.max_wait).is_err() {
        let message = format!("`{}` is no length of time", settings.max_wait);
        problems.push(problem(&["max-wait"], "settings::wrong_value", message, "write it as `90s` or `10m`"));
    }
    problems
}

fn environment_name(token: &str) -> Option<&str> {
    token
        .strip_prefix("env:")
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// Makes the client, with the token where there is one.
pub(super) fn client(run: &Run<'_>, settings: &Settings) -> Result<Client, GithubDocsError> {
    let max_wait = humantime::parse_duration(&settings.max_wait).unwrap_or(Policy::default().max_wait);
    let client = Client::new(Policy { max_wait, ..Policy::default() });
    let Some(name) = settings.token.as_deref().and_then(environment_name) else { return Ok(client) };
    let Some(token) = run.secrets.environment(name) else {
        run.warn(format!(
            "environment variable `{name}` is not set: GitHub answers 60 requests an hour without a token"
        ));
        return Ok(client);
    };
    Ok(client.with_token(&Url::parse(&settings.api)?, Secret::new(&token)?))
}

/// Returns where people read what an API serves; nothing for another form of address than those of GitHub and of GitHub
/// Enterprise.
pub(super) fn website(api: &str) -> Option<String> {
    match api.trim_end_matches('/') {
        "https://api.github.com" => Some("https://github.com".to_owned()),
        other => other.strip_suffix("/api/v3").map(str::to_owned),
    }
}

/// Makes the node's failure of an error, which another try may mend when it lies in the network.
pub(super) fn failure(error: impl Into<GithubDocsError>) -> NodeError {
    let error = error.into();
    match &error {
        GithubDocsError::Net(NetError::Cancelled) => NodeError::cancelled(),
        GithubDocsError::Net(net) if net.is_transient() => NodeError::new(FailureClass::Transient, &error),
        _ => NodeError::new(FailureClass::Permanent, &error),
    }
}

/// Passes the run's cancel flag on, and tells its user about pauses.
pub(super) struct Watcher<'a, 'r>(pub(super) &'a Run<'r>);

impl Watch for Watcher<'_, '_> {
    fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    fn waits(&self, wait: Duration, why: &str) {
        let wait = Duration::from_secs(wait.as_secs().max(1));
        self.0.note(format!("{why}: waiting {}", humantime::format_duration(wait)));
    }
}
