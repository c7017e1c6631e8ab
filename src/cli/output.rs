//! The only writer to the terminal: results to standard output, all else to standard error.
//!
//! A closed pipe is no failure of a command: what comes after it is dropped quietly. Another error of writing is kept
//! and ends the program with [`Exit::Failed`](super::Exit::Failed).

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, Severity, SourceCode};
use serde::Serialize;
use serde_json::json;

use crate::manifest::{Position, Problems, Sources};

/// The width of reports where no terminal says another.
const WIDTH: usize = 100;
/// More problems are counted, not shown: reading a hundred is work for a day.
const MOST_SHOWN: usize = 100;
/// Bytes of a message or of a help text that are shown.
const LONGEST_TEXT: usize = 4_000;

/// Where a command writes.
pub struct Output {
    out: Stream,
    err: Stream,
    json: bool,
}

struct Stream {
    to: Box<dyn Write + Send>,
    terminal: bool,
    colour: bool,
    state: State,
}

enum State {
    Open,
    Closed,
    Failed(io::Error),
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On terminals, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Output {
    /// Returns the process' standard output and standard error.
    pub fn standard() -> Self {
        let out = Stream::new(Box::new(io::stdout()), io::stdout().is_terminal());
        Self { out, err: Stream::new(Box::new(io::stderr()), io::stderr().is_terminal()), json: false }
    }

    /// Returns an output that keeps what is written, and the two texts.
    pub fn captured() -> (Self, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let output = Self {
            out: Stream::new(Box::new(out.clone()), false),
            err: Stream::new(Box::new(err.clone()), false),
            json: false,
        };
        (output, out, err)
    }

    /// Sets what the command line says about the form.
    pub(super) fn configure(&mut self, json: bool, colour: Colour, no_color: bool) {
        self.json = json;
        for stream in [&mut self.out, &mut self.err] {
            stream.colour = match colour {
                Colour::Auto => stream.terminal && !no_color,
                Colour::Always => true,
                Colour::Never => false,
            };
        }
    }

    /// Returns whether results are JSON, one object a line.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Returns whether live progress can be shown: standard error is a terminal.
    pub fn is_interactive(&self) -> bool {
        self.err.terminal
    }

    /// Returns whether results may have colours.
    pub fn has_colour(&self) -> bool {
        self.out.colour
    }

    /// Writes a line of a result for people; nothing under `--json`.
    pub fn line(&mut self, text: impl fmt::Display) {
        if !self.json {
            self.out.write(format_args!("{text}\n"));
        }
    }

    /// Writes a result for programs as one line; nothing without `--json`.
    pub fn json(&mut self, value: &impl Serialize) {
        if self.json {
            match serde_json::to_string(value) {
                Ok(line) => self.out.write(format_args!("{line}\n")),
                Err(error) => self.out.state = State::Failed(error.into()),
            }
        }
    }

    /// Writes text that is the result in either form, such as a schema, as it is.
    pub fn text(&mut self, text: &str) {
        self.out.write(format_args!("{text}"));
    }

    /// Writes a piece of a result that is still coming, so that it is seen at once.
    pub fn live(&mut self, text: &str) {
        self.text(text);
        if let State::Open = self.out.state
            && let Err(error) = self.out.to.flush()
        {
            self.out.fail(error);
        }
    }

    /// Writes a line for people beside the result.
    pub fn note(&mut self, text: impl fmt::Display) {
        self.err.write(format_args!("{text}\n"));
    }

    /// Writes text for people beside the result, as it is.
    pub fn note_text(&mut self, text: &str) {
        self.err.write(format_args!("{text}"));
    }

    /// Reports an error with all that it relates to; under `--json` each problem is an object on standard output.
    pub fn error(&mut self, error: &dyn Diagnostic) {
        self.report(error, None);
    }

    /// Reports everything that is wrong with a manifest.
    pub fn problems(&mut self, problems: &Problems) {
        for problem in problems.list().iter().take(MOST_SHOWN) {
            self.report(&**problem, Some(problems.sources()));
        }
        match problems.count() {
            count if count > MOST_SHOWN => self.note(format_args!("{problems}; the first {MOST_SHOWN} are shown")),
            1 => {}
            _ => self.note(problems),
        }
    }

    fn report(&mut self, problem: &dyn Diagnostic, sources: Option<&Sources>) {
        if self.json {
            self.json(&problem_json(problem, sources));
            return;
        }
        let theme = if self.err.colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let width = if self.err.terminal { usize::from(console::Term::stderr().size().1).max(40) } else { WIDTH };
        let handler =
            GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false).with_context_lines(1);
        let labels: Vec<LabeledSpan> = problem.labels().into_iter().flatten().collect();
        let hidden = sources.filter(|sources| !labels.iter().all(|label| sources.can_show(*label.inner())));
        let mut text = String::new();
        let rendered =
            handler.render_report(&mut text, &InSources { problem, sources, without_labels: hidden.is_some() });
        match rendered {
            Ok(()) => self.err.write(format_args!("{}\n\n", text.trim_end())),
            Err(fmt::Error) => self.err.write(format_args!("error: {}\n\n", shortened(problem))),
        }
        for label in labels {
            if let Some(position) = hidden.and_then(|sources| sources.position(label.offset())) {
                let Position { name, line, column } = position;
                self.note(format_args!("  at {name}:{line}:{column}: {}", label.label().unwrap_or("here")));
            }
        }
    }

    /// Writes what is buffered; returns the first error of writing that was no closed pipe.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        for stream in [&mut self.out, &mut self.err] {
            if let State::Open = stream.state
                && let Err(error) = stream.to.flush()
            {
                stream.fail(error);
            }
            if let State::Failed(_) = stream.state
                && let State::Failed(error) = std::mem::replace(&mut stream.state, State::Closed)
            {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Stream {
    fn new(to: Box<dyn Write + Send>, terminal: bool) -> Self {
        Self { to, terminal, colour: false, state: State::Open }
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        if let State::Open = self.state
            && let Err(error) = self.to.write_fmt(text)
        {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.state = if error.kind() == io::ErrorKind::BrokenPipe { State::Closed } else { State::Failed(error) };
    }
}

/// Writes the report of a panic to standard error. It may come from any thread, so it takes no [`Output`].
pub(super) fn report_bug(panic: &std::panic::PanicHookInfo<'_>) {
    let what = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let text = format!(
        "tunesmith {} has a bug: {what} ({place})\n\
         please report it with the command line and the manifest: {}\n",
        env!("CARGO_PKG_VERSION"),
        concat!("the issue tracker of ", env!("CARGO_PKG_NAME")),
    );
    // Nothing is left to tell when standard error is closed.
    io::stderr().write_all(text.as_bytes()).ok();
}

/// A text that was written.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Returns what was written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a problem as the object that `--json` documents.
fn problem_json(problem: &dyn Diagnostic, sources: Option<&Sources>) -> serde_json::Value {
    let labels: Vec<_> = problem
        .labels()
        .into_iter()
        .flatten()
        .map(|label| {
            let position = sources.and_then(|sources| sources.position(label.offset()));
            json!({
                "file": position.as_ref().map(|position| position.name.as_str()),
                "line": position.as_ref().map(|position| position.line),
                "column": position.as_ref().map(|position| position.column),
                "label": label.label(),
            })
        })
        .collect();
    let mut causes = Vec::new();
    let mut cause = problem.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    json!({
        "problem": {
            "code": problem.code().map(|code| code.to_string()),
            "message": shortened(problem),
            "causes": causes,
            "help": problem.help().map(shortened),
            "labels": labels,
        }
    })
}

/// A problem together with the texts that it points into.
struct InSources<'a> {
    problem: &'a dyn Diagnostic,
    sources: Option<&'a Sources>,
    without_labels: bool,
}

impl fmt::Debug for InSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.problem, f)
    }
}

impl fmt::Display for InSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shortened(self.problem))
    }
}

/// Returns a text, or its beginning where it holds more than anybody reads: a name of megabytes, say.
fn shortened(text: impl fmt::Display) -> String {
    let mut text = text.to_string();
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push('…');
    }
    text
}

impl std::error::Error for InSources<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

impl Diagnostic for InSources<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.code()
    }

    fn severity(&self) -> Option<Severity> {
        self.problem.severity()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help().map(|help| Box::new(shortened(help)) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.sources.map(|sources| sources as &dyn SourceCode).or_else(|| self.problem.source_code())
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.without_labels { None } else { self.problem.labels() }
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        self.problem.related()
    }
}
