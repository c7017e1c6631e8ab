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
    said: Instant,
    bar: Option<ProgressBar>,
    pace: Pace,
}

/// How fast a run goes, by what it did itself since it first told: what an earlier run kept took it no time.
#[derive(Default)]
struct Pace {
    /// When the run first told how far it had come, and what it had done itself by then.
    first: Option<(Instant, u64)>,
    /// How far it had come when it last told.
    last: u64,
    unit: String,
}

impl Pace {
    /// Returns how many milliseconds are left; nothing where that cannot be told.
    fn left(&mut self, progress: &node::Progress, now: Instant) -> Option<u64> {
        let node::Progress { done, kept, total, unit, left, .. } = progress;
        // What starts anew has a pace of its own.
        if *done < self.last || *unit != self.unit {
            *self = Self { unit: unit.clone(), ..Self::default() };
        }
        self.last = *done;
        let own = done.saturating_sub(*kept);
        let (since, from) = *self.first.get_or_insert((now, own));
        let rest = total.and_then(|total| total.checked_sub(*done)).filter(|rest| *rest > 0)?;
        let by_pace = || {
            let elapsed = now.duration_since(since).as_secs_f64();
            (own > from).then(|| (elapsed / (own - from) as f64 * rest as f64 * 1000.0) as u64)
        };
        left.map(|left| left * 1000).or_else(by_pace)
    }
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
        self.running.insert(node.to_owned(), Running { said: Instant::now(), bar, pace: Pace::default() });
        let kind = self.graph.find(node).map_or("", |index| self.graph[index].kind_name.as_str());
        self.line(&format!("▶ {node} ({kind}): {reason}"));
    }

    fn progress(&mut self, node: &str, progress: &node::Progress) {
        let Some(running) = self.running.get_mut(node) else { return };
        let left = running.pace.left(progress, Instant::now());
        if let Some(bar) = &running.bar {
            show(bar, progress, left);
            return;
        }
        if running.said.elapsed() < PLAIN_PERIOD {
            return;
        }
        running.said = Instant::now();
        let text = plain(progress, left);
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

fn show(bar: &ProgressBar, progress: &node::Progress, left: Option<u64>) {
    if let Some(total) = progress.total {
        if bar.length() != Some(total) {
            bar.set_length(total);
            let template = match progress.unit.as_str() {
                "bytes" => "  {prefix} [{bar:24}] {bytes}/{total_bytes} {msg}",
                _ => "  {prefix} [{bar:24}] {pos}/{len} {msg}",
            };
            // The template is a constant; should indicatif refuse it, the plain style does.
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("━╸ "),
            );
        }
        bar.set_position(progress.done);
        let left = left.map(|left| format!(" · {} left", seconds(left))).unwrap_or_default();
        bar.set_message(format!("{} {}{left}", progress.unit, progress.detail).trim().to_owned());
    } else {
        bar.set_message(format!("{} {} {}", progress.done, progress.unit, progress.detail).trim().to_owned());
    }
}

fn plain(progress: &node::Progress, left: Option<u64>) -> String {
    let node::Progress { done, total, unit, detail, .. } = progress;
    let mut text = match total {
        Some(total) => format!("{done} of {total} {unit}"),
        None => format!("{done} {unit}"),
    };
    if !detail.is_empty() {
        text.push_str(&format!(", {detail}"));
    }
    if let Some(left) = left {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(done: u64) -> node::Progress {
        node::Progress { done, total: Some(1_000), unit: "entries".into(), ..node::Progress::default() }
    }

    #[test]
    fn what_an_earlier_run_kept_makes_a_run_no_faster() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pace.left(&entries(800), start), None);
        // 20 entries in 10 s, 180 to go.
        let left = pace.left(&entries(820), after(10));
        assert_eq!(plain(&entries(820), left), "820 of 1000 entries, about 1 min 30 s left");
        assert_eq!(pace.left(&entries(1_000), after(100)), None);
        // A listing that goes on brings what it kept in the middle of the run.
        let more = node::Progress { done: 950, kept: 800, ..entries(0) };
        let mut pace = Pace::default();
        pace.left(&entries(100), start);
        assert_eq!(pace.left(&more, after(10)), Some(10_000));
        // What starts anew has a pace of its own.
        let mut pace = Pace::default();
        pace.left(&entries(1_000), after(90));
        assert_eq!(pace.left(&entries(0), after(100)), None);
        assert_eq!(pace.left(&entries(500), after(110)), Some(10_000));
    }

    #[test]
    fn what_a_run_says_is_left_comes_before_its_pace() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let progress = node::Progress { left: Some(7), ..entries(1) };
        assert_eq!(pace.left(&progress, start), Some(7_000));
        assert_eq!(plain(&node::Progress { total: None, ..entries(3) }, None), "3 entries");
    }
}
