//! The texts of a correction: from the command line, or typed in.

use std::io::{self, BufRead, IsTerminal as _};

use crate::cli::{CliError, Output};

/// The line that ends a text which is typed in.
const END: &str = ".";

/// Returns a text of the command line, or asks for it.
pub(super) fn text(given: Option<&String>, what: &'static str, output: &mut Output) -> Result<String, CliError> {
    match given {
        Some(text) => Ok(text.clone()),
        None if io::stdin().is_terminal() => ask(what, &mut io::stdin().lock(), output),
        None => Err(CliError::HalfCorrection { what }),
    }
}

/// Asks for a text of one or more lines.
pub(super) fn ask(what: &'static str, input: &mut impl BufRead, output: &mut Output) -> Result<String, CliError> {
    output.note(format_args!("the {what}, and then a line with only `{END}`:"));
    let mut lines = Vec::new();
    for line in input.lines() {
        match line? {
            line if line.trim_end() == END => break,
            line => lines.push(line),
        }
    }
    let text = lines.join("\n").trim().to_owned();
    if text.is_empty() { Err(CliError::HalfCorrection { what }) } else { Ok(text) }
}
