//! `[run]`, `[run.node.NAME]` and `[cache]`: how a build goes about its work. Nothing here shapes bytes.

use std::time::Duration;

use super::error::ManifestError;
use super::field::{self, Sink};
use super::suggest;
use super::value::{Entry, Spanned, Table};

/// `[run]`; an absent key leaves the choice to the engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunSettings {
    /// Nodes at once.
    pub jobs: Option<u32>,
    /// Whether nodes that do not depend on a failed one are still built.
    pub keep_going: Option<bool>,
    /// What holds for every node without a setting of its own.
    pub options: RunOptions,
    /// `[run.node.NAME]`, by the name that stands there.
    pub nodes: Vec<(Spanned<String>, RunOptions)>,
}

/// How one node is run; an absent key leaves the choice to the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Further tries after a transient failure.
    pub retries: Option<u32>,
    /// The longest time of one try.
    pub timeout: Option<Duration>,
    /// Threads of one node.
    pub threads: Option<u32>,
    /// Memory of one node, in bytes.
    pub memory: Option<u64>,
    /// The device that trainings compute on.
    pub device: Option<Device>,
    /// Whether what follows from a training is rehearsed before it; the engine decides by its length when absent.
    pub rehearse: Option<bool>,
}

/// A device that trainings compute on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// `cpu`.
    Cpu,
    /// `cuda:N`, the NVIDIA GPU with this number; `cuda` is the first, 0.
    Cuda(u16),
}

/// `[cache]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheSettings {
    /// The shared folder that is read through and written back.
    pub remote: Option<Spanned<String>>,
    /// The store's folder; `cache` beside the manifest when absent.
    pub dir: Option<Spanned<String>>,
}

impl RunOptions {
    /// Returns these options, with `general` where they leave a choice.
    pub(crate) fn or(&self, general: &Self) -> Self {
        Self {
            retries: self.retries.or(general.retries),
            timeout: self.timeout.or(general.timeout),
            threads: self.threads.or(general.threads),
            memory: self.memory.or(general.memory),
            device: self.device.or(general.device),
            rehearse: self.rehearse.or(general.rehearse),
        }
    }
}

const OPTION_KEYS: [&str; 6] = ["retries", "timeout", "threads", "memory", "device", "rehearse"];

/// Reads `[run]`.
pub(super) fn read_run(table: &Table, problems: &mut Sink) -> RunSettings {
    let mut run = RunSettings::default();
    for Entry { key, value } in table.entries() {
        match key.value.as_str() {
            "jobs" => run.jobs = field::count("jobs", value, 1, problems),
            "keep-going" => run.keep_going = field::boolean("keep-going", value, problems),
            "node" => {
                let nodes = field::table("node", value, problems).map(Table::entries).unwrap_or_default();
                for Entry { key, value } in nodes {
                    let Some(table) = field::table(&key.value, value, problems) else { continue };
                    let mut options = RunOptions::default();
                    let name = format!("run.node.{}", key.value);
                    for Entry { key, value } in table.entries() {
                        if !read_option(&mut options, &key.value, value, problems) {
                            problems.push(unknown_key(key, &name, OPTION_KEYS));
                        }
                    }
                    run.nodes.push((key.clone(), options));
                }
            }
            name if read_option(&mut run.options, name, value, problems) => {}
            _ => problems.push(unknown_key(key, "run", OPTION_KEYS.into_iter().chain(["jobs", "keep-going", "node"]))),
        }
    }
    run
}

/// Reads one of [`OPTION_KEYS`]; `false` when the key is none of them.
fn read_option(options: &mut RunOptions, key: &str, value: &super::Value, problems: &mut Sink) -> bool {
    match key {
        "retries" => options.retries = field::count(key, value, 0, problems),
        "timeout" => options.timeout = field::duration(key, value, problems),
        "threads" => options.threads = field::count(key, value, 1, problems),
        "memory" => options.memory = field::bytes(key, value, problems),
        "device" => options.device = field::device(key, value, problems),
        "rehearse" => options.rehearse = field::boolean(key, value, problems),
        _ => return false,
    }
    true
}

/// Reads `[cache]`.
pub(super) fn read_cache(table: &Table, problems: &mut Sink) -> CacheSettings {
    let mut cache = CacheSettings::default();
    for Entry { key, value } in table.entries() {
        match key.value.as_str() {
            "remote" => {
                cache.remote = field::plain_string("remote", value, problems).filter(|remote| {
                    let is_folder = !remote.value.contains("://");
                    if !is_folder {
                        problems.push(ManifestError::RemoteIsNoFolder { at: value.span });
                    }
                    is_folder
                });
            }
            "dir" => cache.dir = field::plain_string("dir", value, problems),
            _ => problems.push(unknown_key(key, "cache", ["remote", "dir"])),
        }
    }
    cache
}

/// Makes the problem of a key that `[table]` does not have.
pub(super) fn unknown_key<'a>(
    key: &Spanned<String>,
    table: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> ManifestError {
    ManifestError::UnknownKey {
        key: key.value.escape_debug().to_string(),
        table: table.to_owned(),
        at: key.span,
        help: suggest::help(&key.value, known, "keys here"),
    }
}
