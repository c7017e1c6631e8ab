//! How a value is written in the form that stands in the file already.

use granit_parser::ScalarStyle;

/// A value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node::export::helm_values) enum Scalar {
    /// A text: it is quoted where it could be taken for anything else.
    Text(String),
    /// A number, `true` or `false`; it is a text where the value before is one in quotes.
    Plain(String),
}

impl Scalar {
    /// Returns the characters that a reader gets.
    pub(in crate::node::export::helm_values) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Plain(text) => text,
        }
    }

    /// Writes the value in one line, quoted as `style` is.
    pub(super) fn in_one_line(&self, style: ScalarStyle) -> String {
        let text = self.text();
        match (style, self) {
            (ScalarStyle::Plain, Self::Plain(_)) => text.to_owned(),
            (ScalarStyle::Plain, Self::Text(_)) if is_plain_text(text) => text.to_owned(),
            (ScalarStyle::SingleQuoted, _) if text.chars().all(is_seen) => format!("'{}'", text.replace('\'', "''")),
            _ => double_quoted(text),
        }
    }

    /// Writes the value in place of `source`, a block scalar from its `|` or `>` to its last character; nothing where a
    /// block cannot hold it.
    pub(super) fn in_block(&self, source: &str) -> Option<String> {
        let Header { sign, rest, end_of_line, indent } = Header::of(source)?;
        let text = self.text();
        let body = text.strip_suffix('\n').unwrap_or(text);
        let fits = |line: &str| line.chars().all(|character| is_seen(character) || character == '\t');
        // A first line that begins with a space, and line breaks at the end beyond one, would need other indicators.
        if body.is_empty() || body.starts_with([' ', '\t', '\n']) || body.ends_with('\n') || !body.split('\n').all(fits)
        {
            return None;
        }
        // A folded block joins lines: only one that needs no joining stays folded.
        let sign = if body.contains('\n') { '|' } else { sign };
        let chomping = if body.len() == text.len() { "-" } else { "" };
        let lines: Vec<String> = body
            .split('\n')
            .map(|line| if line.is_empty() { String::new() } else { format!("{indent}{line}") })
            .collect();
        Some(format!("{sign}{chomping}{rest}{end_of_line}{}", lines.join(end_of_line)))
    }

    /// Writes the value in quotes in place of `source`, a block scalar, and keeps the comment of its first line.
    pub(super) fn in_place_of_block(&self, source: &str) -> String {
        let first = source.lines().next().unwrap_or_default();
        let comment = first.find('#').map_or("", |at| &first[at..]);
        let space = if comment.is_empty() { "" } else { " " };
        format!("{}{space}{comment}", double_quoted(self.text()))
    }
}

/// The first line of a block scalar, and how its lines are indented.
struct Header<'s> {
    sign: char,
    /// What stands behind the indicators: spaces and a comment.
    rest: &'s str,
    end_of_line: &'s str,
    indent: &'s str,
}

impl<'s> Header<'s> {
    /// Reads it; nothing where the indentation is told by a number, or there is no line to take it from.
    fn of(source: &'s str) -> Option<Self> {
        let (first, body) = source.split_once('\n')?;
        let end_of_line = if first.ends_with('\r') { "\r\n" } else { "\n" };
        let first = first.trim_end_matches('\r');
        let sign = first.chars().next()?;
        let rest = first[1..].trim_start_matches(['+', '-']);
        let is_plain = rest.is_empty() || rest.starts_with([' ', '\t']);
        let line = body.split('\n').find(|line| !line.trim().is_empty())?;
        let indent = &line[..line.len() - line.trim_start_matches(' ').len()];
        (is_plain && !indent.is_empty()).then_some(Self { sign, rest, end_of_line, indent })
    }
}

/// Words that some reader of YAML takes for true, false or nothing.
const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];

/// Returns whether every reader takes a text without quotes for a text. Some that would be are left out: a first digit
/// could begin a number, a date or a time.
fn is_plain_text(text: &str) -> bool {
    let is_ordinary = |byte: u8| byte.is_ascii_alphanumeric() || b"._/@+-:".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !text.ends_with(':')
        && text.bytes().all(is_ordinary)
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Returns whether a character may stand in a text as it is, on one line.
fn is_seen(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            character if is_seen(character) => quoted.push(character),
            character => quoted.push_str(&format!("\\u{:04x}", character as u32)),
        }
    }
    quoted.push('"');
    quoted
}
