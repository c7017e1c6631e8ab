//! The one integration-test binary: each further one would link candle and llama.cpp again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

#[cfg(feature = "llama")]
mod at_once;
mod command;
#[cfg(feature = "train")]
mod corpora;
#[cfg(feature = "llama")]
mod examples;
mod github_docs;
mod github_issues;
#[cfg(feature = "llama")]
mod golden;
mod hostile;
#[cfg(feature = "llama")]
mod interruption;
mod layers;
#[cfg(feature = "llama")]
mod mistakes;
mod secrets;
mod space;
mod support;
mod system_packages;
