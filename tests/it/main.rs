//! The one integration-test binary: each further one would link candle and llama.cpp again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

#[cfg(feature = "llama")]
mod at_once;
#[cfg(feature = "llama")]
mod chat;
mod command;
#[cfg(feature = "train")]
mod corpora;
mod deepwiki;
#[cfg(feature = "llama")]
mod doctor;
#[cfg(feature = "llama")]
mod examples;
mod github;
mod github_docs;
#[cfg(feature = "llama")]
mod golden;
mod hostile;
#[cfg(feature = "llama")]
mod interruption;
#[cfg(feature = "llama")]
mod judge;
mod layers;
#[cfg(feature = "llama")]
mod mistakes;
#[cfg(feature = "llama")]
mod ollama_clients;
#[cfg(feature = "llama")]
mod proofs;
#[cfg(feature = "llama")]
mod publish;
mod purge;
#[cfg(feature = "llama")]
mod rehearsal;
mod secrets;
#[cfg(feature = "llama")]
mod serve;
#[cfg(feature = "llama")]
mod ship;
mod space;
mod support;
mod synthesize;
mod system_packages;
#[cfg(feature = "llama")]
mod training;
mod website;
