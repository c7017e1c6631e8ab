//! The run of the program itself: its environment, its words, its end.

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::error::CommandError;
use super::log::{Log, send_lines};
use super::place::listing;
use super::settings::Settings;
use crate::node::process::{die_with_parent, end_group};
use crate::node::{NodeError, Run};
use crate::secret::environment_name;

/// How often a run looks at its cancel flag.
const TICK: Duration = Duration::from_millis(50);

/// What a program has from the first signal to the last one.
const GRACE: Duration = Duration::from_secs(5);

/// How long the words of processes are waited for that left the program's group.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs the program to its end.
pub(super) fn run(run: &Run<'_>, settings: &Settings, folder: &Path) -> Result<(), NodeError> {
    let secrets = secrets(run, settings)?;
    let log = Log::masking(secrets.values().map(String::as_str));
    let program = &settings.argv[0];
    let command = prepare(run, settings, folder, &secrets)?;
    match to_its_end(run, command, log)? {
        End::NotStarted(cause) => Err(CommandError::NotStarted { program: program.clone(), cause }.into()),
        End::Well => Ok(()),
        End::Badly { how, log } => Err(CommandError::Failed { program: program.clone(), how, log }.into()),
    }
}

/// How a program ended.
pub(in crate::node) enum End {
    /// It did not begin.
    NotStarted(std::io::Error),
    /// With code 0.
    Well,
    /// Otherwise.
    Badly {
        /// `ended with code 1` or `was ended by signal 9`.
        how: String,
        /// The last lines that it wrote, to be put behind that.
        log: String,
    },
}

/// Runs a program in a process group of its own and passes its words on, until it ends or the run is cancelled.
///
/// # Errors
/// [`NodeError::cancelled`]; the program cannot be waited for.
pub(in crate::node) fn to_its_end(run: &Run<'_>, mut command: Command, mut log: Log) -> Result<End, NodeError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    die_with_parent(&mut command);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(cause) => return Ok(End::NotStarted(cause)),
    };
    let pid = child.id();
    let (sender, lines) = channel();
    for stream in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)].into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || send_lines(stream, &sender));
    }
    drop(sender);
    let ended = wait(run, &mut child, &lines, &mut log);
    // What the program started and left behind goes with it.
    end_group(pid, libc::SIGKILL);
    let until = Instant::now() + LAST_WORDS;
    while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
        run.note(log.line(&line));
    }
    let status = ended?;
    if status.success() {
        return Ok(End::Well);
    }
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, code) => format!("ended with code {}", code.unwrap_or(-1)),
    };
    Ok(End::Badly { how, log: log.tail() })
}

/// Returns the values of the secrets that are passed on, by the name the program knows them by.
fn secrets(run: &Run<'_>, settings: &Settings) -> Result<BTreeMap<String, String>, CommandError> {
    let named = settings.env.iter().filter_map(|(name, value)| Some((name, environment_name(value)?)));
    named
        .map(|(name, variable)| match run.secrets.environment(variable) {
            Some(value) => Ok((name.clone(), value)),
            None => Err(CommandError::NoSecret { variable: variable.to_owned(), setting: name.clone() }),
        })
        .collect()
}

fn prepare(
    run: &Run<'_>,
    settings: &Settings,
    folder: &Path,
    secrets: &BTreeMap<String, String>,
) -> Result<Command, CommandError> {
    let program = &settings.argv[0];
    // A relative path means the command's folder, not the one that tunesmith was started in.
    let found = if program.contains('/') { folder.join(program) } else { program.into() };
    let mut command = Command::new(found);
    command.args(&settings.argv[1..]).current_dir(folder).env_clear();
    if let Some(path) = run.secrets.environment("PATH") {
        command.env("PATH", path);
    }
    command.env("HOME", run.scratch()).env("TMPDIR", run.scratch()).env("LANG", "C.UTF-8");
    command.envs(settings.env.iter().filter(|(_, value)| environment_name(value).is_none())).envs(secrets);
    command.stdin(standard_input(settings, folder)?);
    Ok(command)
}

fn standard_input(settings: &Settings, folder: &Path) -> Result<Stdio, CommandError> {
    let Some(path) = &settings.stdin else { return Ok(Stdio::null()) };
    match fs_err::File::open(folder.join(path)) {
        Ok(file) => Ok(file.into_parts().0.into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(CommandError::NoStdin { path: path.clone(), found: listing(folder) })
        }
        Err(error) => Err(error.into()),
    }
}

/// Passes the program's words on until it ends, and ends it when the run is cancelled.
fn wait(run: &Run<'_>, child: &mut Child, lines: &Receiver<String>, log: &mut Log) -> Result<ExitStatus, NodeError> {
    let mut asked: Option<Instant> = None;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => run.note(log.line(&line)),
            // Both streams are closed: what is left is to wait.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = child.try_wait().map_err(CommandError::Io)? {
            return if asked.is_some() { Err(NodeError::cancelled()) } else { Ok(status) };
        }
        match asked {
            None if run.cancel.is_cancelled() => {
                end_group(child.id(), libc::SIGTERM);
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > GRACE => end_group(child.id(), libc::SIGKILL),
            _ => {}
        }
    }
}

fn boxed(stream: impl std::io::Read + Send + 'static) -> Box<dyn std::io::Read + Send> {
    Box::new(stream)
}
