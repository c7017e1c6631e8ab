//! What a build shows while it runs: bars on a terminal, plain lines elsewhere, JSON events on request.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::Output;
use crate::engine::{Observer, OutWrite, Said};
use crate::graph::Graph;
use crate::node;

/// Without a terminal, a running node gives a sign of life this often.
const PLAIN_PERIOD: Duration = Duration::from_secs(10);

/// Shows a build.
pub(super) struct Progress<'a> {
    state: Mutex<State<'a>>,
}

struct State<'a> {
    output: &'a mut Output,
    graph: &'a Graph,
    bars: Option<MultiProgress>,
    running: BTreeMap<String, Running>,
}

struct Running {
    started: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    /// Shows a build on `output`.
    pub(super) fn new(output: &'a mut Output, graph: &'a Graph) -> Self {
        let bars = (output.is_interactive() && !output.is_json()).then(MultiProgress::new);
        Self { state: Mutex::new(State { output, graph, bars, running: BTreeMap::new() }) }
    }
}

impl Observer for Progress<'_> {
    fn said(&self, node: &str, said: &Said) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.output.is_json() {
            // What is fresh is counted at the end; ten thousand lines that nothing happened help nobody.
            if !matches!(said, Said::Fresh) {
                state.output.json(&json!({"node": node, "said": said}));
            }
            return;
        }
        state.said(node, said);
    }
}

impl State<'_> {
    fn said(&mut self, node: &str, said: &Said) {
        match said {
            Said::Started { reason } => self.started(node, &reason.to_string()),
            Said::Progress(progress) => self.progress(node, progress),
            Said::Note { text } => self.line(&format!("  {node}: {text}")),
            Said::Warning { text } => self.line(&format!("  {node}: warning: {text}")),
            Said::Retry { attempt, error } => self.line(&format!("  {node}: {error}; try {attempt} follows")),
            Said::Built { duration_ms, unchanged } => {
                self.ended(node);
                let same = if *unchanged { ", the same as before" } else { "" };
                self.line(&format!("✓ {node} ({}{same})", seconds(*duration_ms)));
            }
            Said::Failed { .. } => {
                self.ended(node);
                self.line(&format!("✗ {node}"));
            }
            Said::Skipped { because } => self.line(&format!("- {node}: not run, `{because}` has no result")),
            Said::Out { path, what: OutWrite::Written } => self.line(&format!("  {node} → {path}")),
            Said::Fresh | Said::NotDeployed | Said::Out { .. } => {}
        }
    }

    fn started(&mut self, node: &str, reason: &str) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner().with_prefix(node.to_owned()));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let now = Instant::now();
        self.running.insert(node.to_owned(), Running { started: now, said: now, bar });
        let kind = self.graph.find(node).map_or("", |index| self.graph[index].kind_name.as_str());
        self.line(&format!("▶ {node} ({kind}): {reason}"));
    }

    fn progress(&mut self, node: &str, progress: &node::Progress) {
        let Some(running) = self.running.get_mut(node) else { return };
        if let Some(bar) = &running.bar {
            show(bar, progress);
            return;
        }
        if running.said.elapsed() < PLAIN_PERIOD {
            return;
        }
        running.said = Instant::now();
        let elapsed = running.started.elapsed();
        let text = plain(progress, elapsed);
        self.line(&format!("  {node}: {text}"));
    }

    fn ended(&mut self, node: &str) {
        if let Some(Running { bar: Some(bar), .. }) = self.running.remove(node) {
            bar.finish_and_clear();
        }
    }

    fn line(&mut self, text: &str) {
        match &self.bars {
            // A broken terminal is no reason to end a build.
            Some(bars) => bars.println(text).unwrap_or(()),
            None => self.output.note(text),
        }
    }
}

fn show(bar: &ProgressBar, progress: &node::Progress) {
    if let Some(total) = progress.total {
        if bar.length() != Some(total) {
            bar.set_length(total);
            let template = match progress.left {
                _ if progress.unit == "bytes" => "  {prefix} [{bar:24}] {bytes}/{total_bytes} {msg} (ETA {eta})",
                Some(_) => "  {prefix} [{bar:24}] {pos}/{len} {msg}",
                None => "  {prefix} [{bar:24}] {pos}/{len} {msg} (ETA {eta})",
            };
            // The template is a constant; should indicatif refuse it, the plain style does.
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("━╸ "),
            );
        }
        bar.set_position(progress.done);
        let left = progress.left.map(|left| format!(" · {} left", seconds(left * 1000))).unwrap_or_default();
        bar.set_message(format!("{} {}{left}", progress.unit, progress.detail).trim().to_owned());
    } else {
        bar.set_message(format!("{} {} {}", progress.done, progress.unit, progress.detail).trim().to_owned());
    }
}

fn plain(progress: &node::Progress, elapsed: Duration) -> String {
    let node::Progress { done, total, unit, detail, left } = progress;
    let mut text = match total {
        Some(total) => format!("{done} of {total} {unit}"),
        None => format!("{done} {unit}"),
    };
    if !detail.is_empty() {
        text.push_str(&format!(", {detail}"));
    }
    if let Some(total) = total.filter(|total| *done > 0 && *done < *total) {
        let by_pace = elapsed.as_secs_f64() / *done as f64 * (total - done) as f64;
        let left = left.map_or((by_pace * 1000.0) as u64, |left| left * 1000);
        text.push_str(&format!(", about {} left", seconds(left)));
    }
    text
}

/// Writes milliseconds as a person says them.
pub(super) fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        60_000..3_600_000 => format!("{} min {} s", milliseconds / 60_000, milliseconds / 1000 % 60),
        _ => format!("{} h {} min", milliseconds / 3_600_000, milliseconds / 60_000 % 60),
    }
}
