//! Text that strangers wrote, made fit for a record, and the one question that reading Markdown line by line needs:
//! is this line inside a code fence?

use crate::record::is_useless;

/// Returns text with line feeds alone as line ends, and without what no reader sees: control characters, marks that
/// turn the direction of writing round, byte order marks.
pub(super) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                characters.next_if_eq(&'\n');
                visible.push('\n');
            }
            '\u{2028}' | '\u{2029}' => visible.push('\n'),
            '\n' | '\t' => visible.push(character),
            _ if character.is_control() || is_useless(character) => {}
            _ => visible.push(character),
        }
    }
    visible
}

/// Follows the lines of Markdown into code fences and out of them.
#[derive(Default)]
pub(super) struct Fences {
    /// Character, length and language of the fence that is open.
    open: Option<(u8, usize, String)>,
}

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Outside fences.
    Text,
    /// It begins a fence.
    Opens,
    /// Within a fence.
    Code,
    /// It ends a fence.
    Closes,
}

impl Fences {
    /// Takes the next line and says where it is.
    pub(super) fn place(&mut self, line: &str) -> Place {
        let line = line.trim();
        let mark = line.bytes().next().unwrap_or_default();
        let length = line.bytes().take_while(|byte| *byte == mark).count();
        let rest = &line[if matches!(mark, b'`' | b'~') { length } else { 0 }..];
        match &self.open {
            Some((open, least, _)) if mark == *open && length >= *least && rest.is_empty() => {
                self.open = None;
                Place::Closes
            }
            Some(_) => Place::Code,
            None if matches!(mark, b'`' | b'~') && length >= 3 && !(mark == b'`' && rest.contains('`')) => {
                let language = rest.split_whitespace().next().unwrap_or_default();
                self.open = Some((mark, length, language.to_ascii_lowercase()));
                Place::Opens
            }
            None => Place::Text,
        }
    }

    /// Returns the language of the open fence; nothing outside fences.
    pub(super) fn language(&self) -> Option<&str> {
        self.open.as_ref().map(|(_, _, language)| language.as_str())
    }

    /// Takes the open fence for closed, where it is known that its end is missing.
    pub(super) fn close(&mut self) {
        self.open = None;
    }
}

/// Returns text with runs of empty lines outside fences as one, and none at its ends.
pub(super) fn tidy(markdown: &str) -> String {
    let mut fences = Fences::default();
    let mut tidy = String::with_capacity(markdown.len());
    let mut gap = false;
    for line in markdown.lines() {
        if fences.place(line) == Place::Text && line.trim().is_empty() {
            gap = !tidy.is_empty();
            continue;
        }
        if std::mem::take(&mut gap) {
            tidy.push('\n');
        }
        tidy.push_str(line.trim_end());
        tidy.push('\n');
    }
    tidy.truncate(tidy.trim_end().len());
    tidy
}

#[cfg(test)]
mod tests {
    use super::Place::{Closes, Code, Opens, Text};
    use super::*;

    #[test]
    fn what_no_reader_sees_is_taken_out() {
        assert_eq!(
            visible("a\r\nb\rc\u{0}\u{1b}[31m\u{202e}d\u{200b}\u{feff}\u{7f}\u{85}\u{2028}é\tx"),
            "a\nb\nc[31md\né\tx"
        );
    }

    #[test]
    fn fences_end_where_markdown_ends_them() {
        let places = |text: &str| {
            let mut fences = Fences::default();
            text.lines().map(|line| fences.place(line)).collect::<Vec<_>>()
        };
        assert_eq!(places("a\n```sh\n~~~\n``\n````\nb"), [Text, Opens, Code, Code, Closes, Text]);
        assert_eq!(places("~~~~\n~~~\n```\n~~~~ x\n  ~~~~\n"), [Opens, Code, Code, Code, Closes]);
        assert_eq!(places("``` a`b ```\n# x"), [Text, Text]);
    }

    #[test]
    fn empty_lines_are_joined_outside_code_alone() {
        assert_eq!(tidy("\n\na  \n\n\n\nb\n```\n\n\nc\n```\n\n"), "a\n\nb\n```\n\n\nc\n```");
    }
}
