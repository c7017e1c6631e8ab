//! tunesmith turns a `pipeline.toml` into a fine-tuned, quantised model, and reruns only what is stale.
//!
//! # Map
//!
//! | module | duty |
//! | --- | --- |
//! | [`cli`] | one file a command; the only place that prints, reads the environment, or exits |
//! | [`manifest`] | text of `pipeline.toml` → spanned declarations, every problem at once; knows TOML, not kinds |
//! | [`graph`] | declarations → a checked graph of nodes: matrices expanded, references resolved, no cycles |
//! | [`engine`] | what must run and why, running it, the lock, `out` files, the log of runs |
//! | [`store`] | content by digest, keys that explain themselves, action records, the stat memo, the shared folder |
//! | [`record`] | records, id-sorted sets of them as chunk trees, work in the size of a change |
//! | [`node`] | the trait of a kind, the serialised job, and all kinds: a folder a family, a file a kind |
//! | [`model`] | tensors: GGUF and safetensors, tokenizer, chat template, transformer, LoRA, optimiser, conversion |
//! | [`llama`] | llama.cpp behind one small API: load, tokenize, log-probabilities, generate, quantise |
//! | [`field`] | how a text names a field of a node, for placeholders and gates |
//! | [`serve`] | built models that are asked: conversations rendered as training did, and an HTTP server of OpenAI's API |
//! | [`secret`] | what secrets look like, for the manifest and for rows |
//! | [`net`] | the only user of the HTTP client: retries, limits, conditional requests, caps |
//!
//! # From a manifest to a model
//!
//! ```text
//! pipeline.toml ─ manifest ─ graph ─┬─ engine: decide (key → store) ─ fresh ───────────────┐
//!                                   └─ stale: job ─ worker ─ kind ─ scratch ─ publish ─ store ─ out
//! ```
//!
//! 1. [`manifest`] reads the text and the overlays (`--profile`, `--set`) and reports every problem with its place.
//! 2. [`graph`] asks each kind for its settings in canonical form, checks every reference, and orders the nodes.
//! 3. [`engine::Resolver::decide`] gathers a node's settings, input digests and files into a [`store::Key`]; one traversal
//!    gives its hash and its explanation. A record under that hash whose bytes are there is a hit.
//! 4. A stale node gets a [`node::Job`]: light kinds run in the driver's process, heavy ones in a `tunesmith worker`.
//! 5. What it yields is in the store before its record is, and the record before anybody reads it.
//!
//! # Files on disk
//!
//! | file | owner |
//! | --- | --- |
//! | `pipeline.toml` | the user; only `tunesmith init` ever writes one |
//! | `pipeline.lock`, `pipeline.PROFILE.lock` | [`engine::Lockfile`]: pinned snapshots of remote sources |
//! | `pipeline.excluded.jsonl` | [`engine::Exclusions`]: records that no output has; `tunesmith purge` writes it |
//! | `cache/` | [`store`]: see there for what lies in it |
//! | `cache/runs/` | [`engine::RunLog`]: one file a build |
//! | what deployments replaced | a named state in `cache/index.sqlite` for each node: [`engine::roll_back`] |
//! | what `out` names | [`engine::OutState`]: written by a rename, never over a person's edit |
//!
//! # Invariants
//!
//! - No time, path of the machine, host, device or number of threads enters a key.
//! - Only [`net`] opens sockets, and [`serve`] takes connections (kinds that call `pip`, Chromium or a user's command
//!   start processes that may).
//! - Only [`cli`] prints, reads environment variables and exits.
//! - A kind never sees the manifest, the graph, the engine or another kind.
//! - A node writes only in its scratch folder and into the store; the engine publishes.
//! - `plan` and `build` decide by the same code.
//! - A rehearsal runs in a store of its own: nothing that it gives is published, pinned or deployed.
//! - An error of the manifest always has a place in it.
//! - What a node changes outside of the project it notes before, durably; only what was asked for changes anything there.
//!
//! The direction of dependencies is a test: `tests/it/layers.rs`.
//!
//! # Where this differs from common practice, and why
//!
//! - One SQLite file holds packed objects, action records, stat memo and memo of record-wise work: it is crash-safe,
//!   shared by several processes, and open to inspection. The shared folder has no database: immutable files only.
//! - What fetches is synchronous (`ureq`): nodes run in threads of their own, so an async runtime would serve nothing.
//!   What serves is not (`hyper`): only so is a client that goes away seen while the model computes.

#![cfg_attr(
    all(feature = "train", not(feature = "llama")),
    allow(
        dead_code,
        unused_imports,
        reason = "conversion and export, which need llama.cpp's quantiser, use what is read"
    )
)]

pub mod cli;
pub mod engine;
pub mod field;
pub mod graph;
pub mod llama;
pub mod manifest;
pub mod model;
pub mod net;
pub mod node;
pub mod record;
pub mod secret;
#[cfg(feature = "llama")]
pub mod serve;
pub mod store;
mod suggest;

/// Every program with this library, the benchmarks too, has the allocator that suits records.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
