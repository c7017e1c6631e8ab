//! Measures a training for people; nothing of it enters a result.

use std::time::{Duration, Instant};

use crate::node::{Progress, Run};

/// How often the speed is taken anew: what people see follows the last while, not the whole run.
const WINDOW: Duration = Duration::from_secs(20);

/// The clock of a training.
pub(super) struct Clock {
    started: Instant,
    tokens: usize,
    steps: u64,
    window: (Instant, usize),
    shown: f64,
    /// The floating-point operations of a second that a matrix product reaches here, where that is known.
    peak: Option<f64>,
    /// The floating-point operations that training a token takes.
    flops_per_token: f64,
}

impl Clock {
    pub(super) fn start(peak: Option<f64>, flops_per_token: f64) -> Self {
        let now = Instant::now();
        Self { started: now, tokens: 0, steps: 0, window: (now, 0), shown: 0.0, peak, flops_per_token }
    }

    /// Takes in a step, and says how far the run has come.
    pub(super) fn step(&mut self, run: &Run<'_>, loss: f64, tokens: usize, (done, all): (u64, u64)) {
        self.tokens += tokens;
        self.steps += 1;
        let (since, before) = self.window;
        if self.shown == 0.0 || since.elapsed() > WINDOW {
            self.shown = (self.tokens - before) as f64 / since.elapsed().as_secs_f64().max(1e-9);
            if since.elapsed() > WINDOW {
                self.window = (Instant::now(), self.tokens);
            }
        }
        let mut detail = format!("loss {loss:.3} · {:.0} tokens/s", self.shown);
        if let Some(peak) = self.peak {
            let share = self.shown * self.flops_per_token / peak;
            detail.push_str(&format!(" · {:.0} % of peak", 100.0 * share));
        }
        if let Some(bytes) = memory() {
            detail.push_str(&format!(" · {}", super::forecast::human(bytes)));
        }
        let a_step = self.started.elapsed().as_secs_f64() / self.steps as f64;
        let left = Some((a_step * all.saturating_sub(done) as f64) as u64);
        run.say(Progress { done, total: Some(all), unit: "steps".into(), detail, left, ..Progress::default() });
    }

    /// Returns the seconds of all steps so far and their tokens.
    pub(super) fn measured(&self) -> (f64, usize) {
        (self.started.elapsed().as_secs_f64(), self.tokens)
    }
}

/// Returns the bytes of memory that this process has now, where the system tells.
pub(super) fn memory() -> Option<u64> {
    status("VmRSS:")
}

/// Returns the most bytes of memory that this process had, where the system tells.
pub(super) fn peak_memory() -> Option<u64> {
    status("VmHWM:")
}

fn status(field: &str) -> Option<u64> {
    let text = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}
