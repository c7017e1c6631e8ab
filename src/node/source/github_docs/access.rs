//! The client of a run, and how its failures are told.

use super::Settings;
use super::error::GithubDocsError;
use crate::net::{Client, NetError, Policy, Url};
use crate::node::{FailureClass, NodeError, Run};

/// Makes the client, with the token where there is one.
pub(super) fn client(run: &Run<'_>, settings: &Settings) -> Result<Client, GithubDocsError> {
    let access = settings.access();
    let client = Client::new(Policy { max_wait: access.max_wait(), ..Policy::default() });
    Ok(match access.token(run)? {
        Some(token) => client.with_token(&Url::parse(&settings.api)?, token),
        None => client,
    })
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
