//! tunesmith turns a `pipeline.toml` into a fine-tuned model.

pub mod graph;
pub mod manifest;
pub mod node;
pub mod record;
pub mod store;
