//! What several tests need: nodes that run without an engine, and upstreams played by real servers.

pub(crate) mod fake_github;
pub(crate) mod node_run;
pub(crate) mod program;
