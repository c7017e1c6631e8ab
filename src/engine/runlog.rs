//! `cache/runs/`: what each build did, how long it took, and what made it take that long.
//!
//! A log is JSON lines: the build, and then a line a node, so that one node is found without reading the others.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{BuildReport, EngineError, Outcome, Resolver};
use crate::store::{Artifact, Digest, Store, write_atomically};

/// The version of the log's form: 2 has a line a node, 1 had all of them in the first line and is still read.
const VERSION: u32 = 2;

/// One build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunLog {
    /// The version of this form.
    pub version: u32,
    /// Runs are counted from 1.
    pub run: u64,
    /// Seconds since 1970 when it began.
    pub began: u64,
    /// Milliseconds.
    pub duration_ms: u64,
    /// The profile, if any.
    pub profile: Option<String>,
    /// The nodes in topological order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<RunEntry>,
}

/// A node's part of a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunEntry {
    /// The node.
    pub node: String,
    /// The kind.
    pub kind: String,
    /// `fresh`, `built`, `failed`, `skipped`, `not-deployed` or `not-reached`.
    pub outcome: String,
    /// Why it ran, why it failed, or what it waited for.
    pub why: Option<String>,
    /// When and how long it ran.
    pub span: Option<RunSpan>,
    /// Its key, where it has a result.
    pub key: Option<Digest>,
    /// Its outputs.
    pub outputs: std::collections::BTreeMap<String, Artifact>,
    /// Metrics and other values.
    pub fields: std::collections::BTreeMap<String, Value>,
    /// The nodes that it read.
    pub reads: Vec<String>,
}

/// When and how long a node ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunSpan {
    /// Milliseconds from the build's start.
    pub start_ms: u64,
    /// Milliseconds.
    pub duration_ms: u64,
}

impl RunLog {
    /// Writes the log of a build and returns it with its number; of a build that found everything as it was, there is
    /// nothing to tell and no log.
    ///
    /// # Errors
    /// Errors of writing to `cache/runs/`.
    pub fn write(resolver: &Resolver<'_>, report: &BuildReport, began: u64) -> Result<Option<Self>, EngineError> {
        if !report.is_news() {
            return Ok(None);
        }
        let folder = resolver.store.root().join("runs");
        let run = Self::numbers(resolver.store)?.last().copied().unwrap_or(0) + 1;
        let mut log = Self {
            version: VERSION,
            run,
            began,
            duration_ms: report.duration.as_millis() as u64,
            profile: resolver.profile.map(str::to_owned),
            nodes: report.nodes.iter().map(|node| entry(resolver, node)).collect(),
        };
        let nodes = std::mem::take(&mut log.nodes);
        let mut text = serde_json::to_vec(&log).map_err(std::io::Error::from)?;
        for entry in &nodes {
            text.push(b'\n');
            serde_json::to_writer(&mut text, entry).map_err(std::io::Error::from)?;
        }
        text.push(b'\n');
        write_atomically(&path_of(&folder, run), &text)?;
        Ok(Some(Self { nodes, ..log }))
    }

    /// Returns the numbers of the runs that are kept, ascending.
    ///
    /// # Errors
    /// Errors of reading `cache/runs/`.
    pub fn numbers(store: &Store) -> Result<Vec<u64>, EngineError> {
        let mut numbers: Vec<u64> = Vec::new();
        for entry in fs_err::read_dir(store.root().join("runs"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            numbers.extend(name.strip_suffix(".json").and_then(|name| name.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Returns the last `count` runs, the newest first.
    ///
    /// # Errors
    /// Errors of reading `cache/runs/`.
    pub fn last(store: &Store, count: usize) -> Result<Vec<Self>, EngineError> {
        let numbers = Self::numbers(store)?;
        numbers.into_iter().rev().take(count).map(|run| Self::read(store, Some(run))).collect()
    }

    /// Returns what a node had in this run.
    pub fn node(&self, name: &str) -> Option<&RunEntry> {
        self.nodes.iter().find(|entry| entry.node == name)
    }

    /// Returns the log of run `run`, or of the last one.
    ///
    /// # Errors
    /// [`EngineError::UnknownRun`] when there is none.
    pub fn read(store: &Store, run: Option<u64>) -> Result<Self, EngineError> {
        let numbers = Self::numbers(store)?;
        let run = run.or_else(|| numbers.last().copied());
        let known = || match (numbers.first(), numbers.last()) {
            (Some(first), Some(last)) => format!("runs {first} to {last} are kept"),
            _ => "nothing was built yet: run `tunesmith build`".to_owned(),
        };
        let unknown = || EngineError::UnknownRun { run: run.unwrap_or(1), help: known() };
        let run = run.filter(|run| numbers.contains(run)).ok_or_else(unknown)?;
        let text = fs_err::read(path_of(&store.root().join("runs"), run))?;
        parse(&text).ok_or_else(unknown)
    }

    /// Returns the newest run that built a node to the result under `key`.
    ///
    /// # Errors
    /// Errors of reading `cache/runs/`.
    pub fn built_by(store: &Store, node: &str, key: Digest) -> Result<Option<u64>, EngineError> {
        let is_it = |entry: &RunEntry| entry.node == node && entry.outcome == "built" && entry.key == Some(key);
        let start = format!("{{\"node\":{},", Value::from(node));
        for run in Self::numbers(store)?.into_iter().rev() {
            let text = fs_err::read(path_of(&store.root().join("runs"), run))?;
            let built = if text.starts_with(OLD_START) {
                parse(&text).is_some_and(|log| log.nodes.iter().any(is_it))
            } else {
                let mut lines = lines(&text).filter(|line| line.starts_with(start.as_bytes()));
                lines.any(|line| serde_json::from_slice(line).is_ok_and(|entry| is_it(&entry)))
            };
            if built {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Returns the chain of runs that the build could not have been shorter than: from the node that ended last,
    /// back through the input that ended last.
    pub fn critical_path(&self) -> Vec<&RunEntry> {
        let end = |entry: &RunEntry| entry.span.map_or(0, |span| span.start_ms + span.duration_ms);
        let ran = |entry: &&RunEntry| entry.span.is_some_and(|span| span.duration_ms > 0);
        let mut path = Vec::new();
        let mut at = self.nodes.iter().filter(ran).max_by_key(|entry| end(entry));
        while let Some(entry) = at {
            path.push(entry);
            let read = self.nodes.iter().filter(|other| entry.reads.contains(&other.node));
            at = read.filter(ran).max_by_key(|entry| end(entry));
        }
        path.reverse();
        path
    }

    /// Returns the run as a Chrome trace (`chrome://tracing`, <https://ui.perfetto.dev>): complete events in
    /// microseconds, nodes that ran at the same time on rows of their own.
    pub fn chrome_trace(&self) -> Value {
        let mut row_ends: Vec<u64> = Vec::new();
        let mut events = Vec::new();
        let mut entries: Vec<(&RunEntry, RunSpan)> =
            self.nodes.iter().filter_map(|entry| entry.span.map(|span| (entry, span))).collect();
        entries.sort_by_key(|(_, span)| span.start_ms);
        for (entry, span) in entries {
            let row = row_ends.iter().position(|end| *end <= span.start_ms).unwrap_or_else(|| {
                row_ends.push(0);
                row_ends.len() - 1
            });
            row_ends[row] = span.start_ms + span.duration_ms;
            events.push(json!({
                "name": entry.node, "cat": entry.kind, "ph": "X", "pid": 1, "tid": row + 1,
                "ts": span.start_ms * 1000, "dur": span.duration_ms * 1000,
                "args": {"outcome": entry.outcome, "why": entry.why},
            }));
        }
        json!({"traceEvents": events, "displayTimeUnit": "ms"})
    }
}

/// How a log of version 1 starts.
const OLD_START: &[u8] = b"{\"version\":1,";

fn parse(text: &[u8]) -> Option<RunLog> {
    let mut lines = lines(text);
    let mut log: RunLog = serde_json::from_slice(lines.next()?).ok()?;
    for line in lines {
        log.nodes.push(serde_json::from_slice(line).ok()?);
    }
    Some(log)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn path_of(folder: &Path, run: u64) -> PathBuf {
    folder.join(format!("{run:06}.json"))
}

fn entry(resolver: &Resolver<'_>, report: &super::NodeReport) -> RunEntry {
    let graph = resolver.graph;
    let node = &graph[report.index];
    let (outcome, why, known) = match &report.outcome {
        Outcome::Fresh(known) => ("fresh", None, Some(known)),
        Outcome::Built { known, reason, .. } => ("built", Some(reason.to_string()), Some(known)),
        Outcome::Failed(error) => ("failed", Some(error.message.clone()), None),
        Outcome::Skipped(cause) => ("skipped", Some(format!("`{}` has no result", graph[*cause].name)), None),
        Outcome::NotDeployed => ("not-deployed", None, None),
        Outcome::NotReached => ("not-reached", None, None),
    };
    let ran = matches!(report.outcome, Outcome::Built { .. } | Outcome::Failed(_));
    RunEntry {
        node: node.name.clone(),
        kind: node.kind_name.clone(),
        outcome: outcome.to_owned(),
        why,
        span: ran.then_some(RunSpan {
            start_ms: report.started.as_millis() as u64,
            duration_ms: report.duration.as_millis() as u64,
        }),
        key: known.map(|known| known.key),
        outputs: known.map(|known| known.outputs.clone()).unwrap_or_default(),
        fields: known.map(|known| known.fields.clone()).unwrap_or_default(),
        reads: node.inputs.iter().map(|edge| graph[edge.from].name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_version_1_is_still_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), None).unwrap();
        let key = Digest::of(b"key");
        let old = format!(
            "{{\"version\":1,\"run\":4,\"began\":0,\"duration-ms\":7,\"profile\":null,\"nodes\":[{{\"node\":\"a\",\
             \"kind\":\"k\",\"outcome\":\"built\",\"why\":null,\"span\":null,\"key\":\"{key}\",\"outputs\":{{}},\
             \"fields\":{{}},\"reads\":[]}}]}}"
        );
        fs_err::write(path_of(&folder.path().join("runs"), 4), old).unwrap();
        assert_eq!(RunLog::read(&store, None).unwrap().nodes[0].node, "a");
        assert_eq!(RunLog::built_by(&store, "a", key).unwrap(), Some(4));
        assert_eq!(RunLog::built_by(&store, "b", key).unwrap(), None);
    }
}
