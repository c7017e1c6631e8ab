//! What a program says, line by line, with the secrets masked that it was given.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::Sender;

/// Bytes of one line; what a longer one holds beyond is dropped.
const LONGEST: usize = 16 << 10;

/// Lines that a failure quotes.
const QUOTED: usize = 20;

/// Masks secrets, and keeps the last lines.
#[derive(Debug, Default)]
pub(in crate::node) struct Log {
    secrets: Vec<String>,
    last: VecDeque<String>,
}

impl Log {
    /// Makes a log that masks these values, and each line of one that has several.
    pub(super) fn masking<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let lines = secrets.flat_map(|secret| secret.lines().chain([secret]));
        let mut secrets: Vec<String> =
            lines.map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        // A value that holds another one must go first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets, last: VecDeque::new() }
    }

    /// Takes a line and returns it as it may be shown.
    pub(super) fn line(&mut self, line: &str) -> String {
        let line = self.secrets.iter().fold(line.to_owned(), |line, secret| line.replace(secret, "***"));
        if self.last.len() == QUOTED {
            self.last.pop_front();
        }
        self.last.push_back(line.clone());
        line
    }

    /// Returns the last lines for an error's message; nothing when there were none.
    pub(super) fn tail(&self) -> String {
        if self.last.is_empty() {
            return "; it wrote nothing".into();
        }
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        format!("; its last lines:\n{}", lines.join("\n"))
    }
}

/// Sends each line of a stream until it ends or nobody listens.
pub(super) fn send_lines(stream: impl Read, lines: &Sender<String>) {
    let mut stream = BufReader::new(stream);
    while let Some(line) = next_line(&mut stream) {
        if lines.send(line).is_err() {
            return;
        }
    }
}

/// Reads a line of at most [`LONGEST`] bytes; carriage returns of progress bars end one too.
fn next_line(stream: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    let mut is_any = false;
    loop {
        let buffer = stream.fill_buf().ok()?;
        if buffer.is_empty() {
            return is_any.then(|| String::from_utf8_lossy(&line).into_owned());
        }
        is_any = true;
        let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let part = &buffer[..end.unwrap_or(buffer.len())];
        line.extend_from_slice(&part[..part.len().min(LONGEST - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        stream.consume(used);
        if end.is_some() {
            return Some(String::from_utf8_lossy(&line).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_masked() {
        let (sender, lines) = std::sync::mpsc::channel();
        let long = "x".repeat(LONGEST + 9);
        send_lines(format!("one\r\ntwo\n{long}\nlast").as_bytes(), &sender);
        drop(sender);
        let lines: Vec<String> = lines.into_iter().collect();
        assert_eq!(lines, ["one", "", "two", &long[..LONGEST], "last"]);
        let mut log = Log::masking(["abc", "abcdef", "key\nbody"].into_iter());
        assert_eq!(log.line("abcdef abc body"), "*** *** ***");
        assert_eq!(log.tail(), "; its last lines:\n*** *** ***");
    }

    #[test]
    fn a_failure_quotes_the_last_lines_alone() {
        let mut log = Log::default();
        assert_eq!(log.tail(), "; it wrote nothing");
        for line in 0..50 {
            log.line(&format!("line {line}"));
        }
        assert!(log.tail().starts_with("; its last lines:\nline 30\n") && log.tail().ends_with("\nline 49"));
    }
}
