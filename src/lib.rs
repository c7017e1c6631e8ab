//! tunesmith turns a `pipeline.toml` into a fine-tuned model.

pub mod llama;
pub mod model;
pub mod net;
pub mod node;
pub mod record;
pub mod store;
