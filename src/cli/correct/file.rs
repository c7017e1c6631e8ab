//! One more line in a file of corrections.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::cli::CliError;
use crate::node::source::parse_corrections;
use crate::record::Correction;

/// What adding a line came to.
pub(super) struct Added {
    pub(super) correction: Correction,
    /// The number of its line.
    pub(super) line: usize,
    /// Whether the file did not have it already.
    pub(super) is_new: bool,
}

/// Adds a line to a file of corrections, which is made when it is not there. All of the line is written or nothing, and
/// nothing when the file would not be right with it.
pub(super) fn add(path: &Path, line: &str) -> Result<Added, CliError> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut file = fs_err::OpenOptions::new().read(true).append(true).create(true).open(path)?;
    // Another `correct` waits here until this one has written its line.
    file.file().lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let (_, repeated) = parse_corrections(path, &text)?;
    let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let addition = format!("{start}{line}\n");
    let number = text.lines().count() + 1;
    let (all, repetitions) = parse_corrections(path, &format!("{text}{addition}"))?;
    let is_new = repetitions == repeated;
    let (mut own, _) = parse_corrections(path, line)?;
    let Some(correction) = own.pop().filter(|own| all.contains(own)) else {
        return Err(io::Error::other("a line of JSON was not read as one correction").into());
    };
    if !is_new {
        let number = line_of(path, &text, &correction)?;
        return Ok(Added { correction, line: number, is_new });
    }
    let before = file.metadata()?.len();
    let written = file.write_all(addition.as_bytes()).and_then(|()| file.file().sync_data());
    if let Err(error) = written {
        file.set_len(before)?;
        return Err(error.into());
    }
    Ok(Added { correction, line: number, is_new })
}

/// Returns the number of the line that holds a correction.
fn line_of(path: &Path, text: &str, correction: &Correction) -> Result<usize, CliError> {
    for (number, line) in text.lines().enumerate() {
        if parse_corrections(path, line)?.0.contains(correction) {
            return Ok(number + 1);
        }
    }
    Ok(0)
}
