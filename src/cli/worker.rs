//! `tunesmith worker JOB`: run one serialised job, for the driver that made it.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;

use super::{CliError, Context, Execute, Exit, interrupt};
use crate::engine::work;
use crate::node::{Cancel, Event, Events};

/// Arguments of `worker`.
#[derive(Debug, clap::Args)]
pub(super) struct Worker {
    /// The job's file
    job: PathBuf,
}

impl Execute for Worker {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let cancel = Cancel::shared();
        interrupt::cancel_on_signal(&cancel)?;
        let listening = std::sync::Arc::clone(&cancel);
        std::thread::spawn(move || listen(&listening));
        let events = Lines(Mutex::new(std::io::stdout()));
        let job = context.surroundings.folder.join(&self.job);
        let good = work(&job, &events, &cancel, &context.surroundings.environment)?;
        Ok(if good { Exit::Done } else { Exit::Failed })
    }
}

/// Cancels on the line `cancel`, and ends the process when the driver is gone.
fn listen(cancel: &Cancel) {
    for line in std::io::stdin().lock().lines() {
        match line {
            Ok(line) if line == "cancel" => cancel.cancel(),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    cancel.cancel();
}

/// Writes events as JSON lines.
struct Lines(Mutex<std::io::Stdout>);

impl Events for Lines {
    fn event(&self, event: Event) {
        let mut out = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Ok(mut line) = serde_json::to_vec(&event) {
            line.push(b'\n');
            // A driver that is gone ends this process by the end of its standard input.
            out.write_all(&line).and_then(|()| out.flush()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Space;
    use super::Exit;

    #[test]
    fn what_is_no_job_of_this_version_is_refused() {
        let space = Space::new();
        space.write("job.json", "{\"format\": 99}");
        space.refused(&["worker", "job.json"], Exit::Failed, "job.json` cannot be run");
    }
}
