//! What several tests need: nodes that run without an engine, and upstreams played by real servers.

#[cfg(feature = "llama")]
pub(crate) mod example;
pub(crate) mod fake_endpoint;
pub(crate) mod fake_github;
#[expect(dead_code, reason = "the tests beside the kind use the rest")]
pub(crate) mod fake_hub;
#[expect(dead_code, reason = "the tests beside the kind use the rest")]
pub(crate) mod fake_ollama;
#[expect(dead_code, reason = "the tests beside the kind use the rest")]
pub(crate) mod fake_registry;
pub(crate) mod fake_repository;
pub(crate) mod fake_site;
pub(crate) mod llama_server;
pub(crate) mod node_run;
pub(crate) mod program;
#[cfg(feature = "llama")]
pub(crate) mod tiny;

/// Returns how often a test of chance is repeated: the first number, or under `make test-long` the second.
#[expect(clippy::disallowed_methods, reason = "`make test-long` says by the environment that time is no matter")]
pub(crate) fn count((short, long): (usize, usize)) -> usize {
    if std::env::var_os("TUNESMITH_LONG_TESTS").is_some() { long } else { short }
}
