//! Heavy nodes run in a child process: it can be ended, and an abort in C++ is a failed node, never a dead build.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::node::process::{die_with_parent, end_group};
use crate::node::{Cancel, Event, Events, FailureClass, Job, NodeError, Outcome};

/// How long a cancelled worker may take to save what it resumes from.
const GRACE: Duration = Duration::from_secs(10);
/// How much of a worker's standard error is kept for the message when it dies.
const LOG_BYTES: usize = 8 << 10;

/// The worker ended without a result.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum WorkerError {
    /// It could not be started.
    #[error("the worker `{program}` could not be started")]
    #[diagnostic(code(engine::worker_not_started), help("is the tunesmith binary still where it was?"))]
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It died.
    #[error("the worker {how} without a result{log}")]
    #[diagnostic(
        code(engine::worker_died),
        help("signal 9 mostly means that memory ran out: lower `memory` needs, or close other programs")
    )]
    Died {
        /// `ended with code 1` or `was ended by signal 9`.
        how: String,
        /// The last lines that it wrote.
        log: String,
    },
}

/// Runs `job` in a child and passes its events on.
pub(super) fn run(program: &Path, job: &Job, events: &dyn Events, cancel: &Cancel) -> Result<Outcome, NodeError> {
    let path = job.scratch.join("job.json");
    let text = serde_json::to_vec(job).map_err(std::io::Error::from).and_then(|text| fs_err::write(&path, text));
    text.map_err(|cause| not_started(program, cause))?;
    let mut child = spawn(program, &path).map_err(|cause| not_started(program, cause))?;
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pid = child.id();
        let ended = &ended;
        scope.spawn(move || watch(pid, stdin, cancel, ended));
        let log = scope.spawn(move || stderr.map(last_bytes).unwrap_or_default());
        let result = stdout.and_then(|stdout| read_events(stdout, events));
        let status = child.wait();
        ended.store(true, Ordering::SeqCst);
        // Whatever the worker started goes with it.
        end_group(pid, libc::SIGKILL);
        let log = log.join().unwrap_or_default();
        match (result, status) {
            (Some(result), _) => result,
            (None, _) if cancel.is_cancelled() => Err(NodeError::cancelled()),
            (None, Ok(status)) => {
                let how = match (status.signal(), status.code()) {
                    (Some(signal), _) => format!("was ended by signal {signal}"),
                    (None, code) => format!("ended with code {}", code.unwrap_or(-1)),
                };
                let log = if log.trim().is_empty() { String::new() } else { format!("; it wrote: {}", log.trim()) };
                Err(WorkerError::Died { how, log }.into())
            }
            (None, Err(cause)) => Err(not_started(program, cause)),
        }
    })
}

fn not_started(program: &Path, cause: std::io::Error) -> NodeError {
    WorkerError::NotStarted { program: program.display().to_string(), cause }.into()
}

fn spawn(program: &Path, job: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("worker").arg(job).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    die_with_parent(&mut command);
    command.spawn()
}

/// Waits for the end or for a cancel, and then sees to it that the worker ends.
fn watch(pid: u32, mut stdin: Option<std::process::ChildStdin>, cancel: &Cancel, ended: &AtomicBool) {
    let mut asked: Option<Instant> = None;
    while !ended.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(20));
        match asked {
            None if cancel.is_cancelled() => {
                if let Some(stdin) = &mut stdin {
                    // A worker that is gone already needs no message.
                    stdin.write_all(b"cancel\n").ok();
                }
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > GRACE => {
                end_group(pid, libc::SIGKILL);
                return;
            }
            _ => {}
        }
    }
}

/// Passes events on until the last one, which is the result. `None` when the stream ends without one.
fn read_events(stdout: impl std::io::Read, events: &dyn Events) -> Option<Result<Outcome, NodeError>> {
    let mut result = None;
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Event::Done { outcome }) => result = Some(Ok(outcome)),
            Ok(Event::Failed { error }) => result = Some(Err(error)),
            Ok(event) => events.event(event),
            // A library printed something of its own.
            Err(_) => events.event(Event::Note { text: line }),
        }
    }
    result
}

fn last_bytes(mut stderr: std::process::ChildStderr) -> String {
    let mut log = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut buffer) {
        log.extend_from_slice(&buffer[..read]);
        let surplus = log.len().saturating_sub(LOG_BYTES);
        log.drain(..surplus);
    }
    String::from_utf8_lossy(&log).into_owned()
}

impl FailureClass {
    /// Returns whether another try may succeed.
    pub(super) fn is_transient(self) -> bool {
        self == Self::Transient
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Ears(Mutex<Vec<Event>>);

    impl Events for Ears {
        fn event(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[test]
    fn events_are_passed_on_and_the_last_one_is_the_result() {
        let outcome = Outcome { fields: [("loss".to_owned(), 1.into())].into(), ..Outcome::default() };
        let progress = Event::Note { text: "half way".into() };
        let lines = [
            serde_json::to_string(&progress).unwrap(),
            "a library prints, \u{fffd} and all".to_owned(),
            serde_json::to_string(&Event::Done { outcome: outcome.clone() }).unwrap(),
        ];
        let ears = Ears::default();
        let result = read_events(lines.join("\n").as_bytes(), &ears);
        assert_eq!(result.unwrap().unwrap(), outcome);
        let printed = Event::Note { text: lines[1].clone() };
        assert_eq!(*ears.0.lock().unwrap(), [progress, printed]);
    }

    #[test]
    fn a_stream_that_breaks_off_has_no_result() {
        let line = serde_json::to_string(&Event::Done { outcome: Outcome::default() }).unwrap();
        let ears = Ears::default();
        assert!(read_events(&line.as_bytes()[..line.len() - 2], &ears).is_none());
        assert!(read_events(&b""[..], &ears).is_none());
        let failed = serde_json::to_string(&Event::Failed { error: NodeError::cancelled() }).unwrap();
        assert_eq!(read_events(failed.as_bytes(), &ears).unwrap().unwrap_err(), NodeError::cancelled());
    }
}
