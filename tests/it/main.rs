//! The one integration-test binary: each further one would link candle and llama.cpp again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod command;
#[cfg(feature = "llama")]
mod examples;
mod github_issues;
#[cfg(feature = "llama")]
mod interruption;
mod layers;
#[cfg(feature = "llama")]
mod mistakes;
mod secrets;
mod support;
mod system_packages;
