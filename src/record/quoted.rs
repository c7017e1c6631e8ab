//! Text as JSON has it, written and read fast: most of a record is text, and most of a text needs no escapes.

use memchr::{memchr, memchr_iter, memchr2_iter, memchr3_iter};

/// Texts of up to so many bytes, such as names and times, seldom have escapes, and are looked through in no time.
const SHORT: usize = 64;

/// Writes a text in quotes, as serde does.
pub(super) fn write(text: &str, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let bytes = text.as_bytes();
    if bytes.len() <= SHORT && !needs_escapes(bytes) {
        out.extend_from_slice(b"\"");
        out.extend_from_slice(bytes);
        out.push(b'"');
        return Ok(());
    }
    if has_rare_controls(bytes) {
        return serde_json::to_writer(out, text);
    }
    out.push(b'"');
    let mut from = 0;
    let (mut common, mut others) = (memchr3_iter(b'"', b'\\', b'\n', bytes), memchr2_iter(b'\t', b'\r', bytes));
    let (mut next, mut other) = (common.next(), others.next());
    loop {
        let at = match (next, other) {
            (Some(at), other) if other.is_none_or(|other| at < other) => {
                next = common.next();
                at
            }
            (_, Some(at)) => {
                other = others.next();
                at
            }
            _ => break,
        };
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(match bytes[at] {
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            b'"' => b"\\\"",
            _ => b"\\\\",
        });
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
    Ok(())
}

/// A text in quotes with escapes in it, each as [`write()`] has it: written again, it is the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Escaped<'j>(&'j str);

impl<'j> Escaped<'j> {
    /// Returns its JSON.
    pub(super) const fn json(self) -> &'j str {
        self.0
    }

    /// Returns the text. It is written once into memory that suffices; serde, which does not know how long a string will
    /// be, moves it while it grows, and copies it in the end.
    pub(super) fn text(self) -> String {
        let quoted = &self.0[1..self.0.len() - 1];
        let mut text = String::with_capacity(quoted.len());
        let mut from = 0;
        for at in escapes(quoted) {
            text.push_str(&quoted[from..at]);
            text.push(match quoted.as_bytes()[at + 1] {
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                other => other.into(),
            });
            from = at + 2;
        }
        text.push_str(&quoted[from..]);
        text
    }
}

/// A text that was read from its JSON.
#[derive(Debug)]
pub(super) enum Quoted<'j> {
    /// It has no escapes.
    Plain(&'j str),
    /// It need not be read before somebody looks at it.
    Escaped(Escaped<'j>),
    /// It has other escapes, such as characters by their numbers.
    Read(String),
}

/// Reads a text from its JSON, which is one whole value.
///
/// # Errors
/// Serde's, for what is no string.
pub(super) fn read(json: &str) -> serde_json::Result<Quoted<'_>> {
    let by_serde = || serde_json::from_str(json).map(Quoted::Read);
    let Some(quoted) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return by_serde() };
    let is_known = |at: usize| matches!(quoted.as_bytes().get(at + 1), Some(b'n' | b'r' | b't' | b'"' | b'\\'));
    if memchr(b'\\', quoted.as_bytes()).is_none() {
        return Ok(Quoted::Plain(quoted));
    }
    if may_have_other_escapes(quoted.as_bytes()) && !escapes(quoted).all(is_known) {
        return by_serde();
    }
    Ok(Quoted::Escaped(Escaped(json)))
}

/// Returns whether a backslash stands before something else than what [`write()`] escapes. It may be the second of two, and
/// no escape: to know, one would have to go from escape to escape, where the compiler makes vectors of this.
fn may_have_other_escapes(quoted: &[u8]) -> bool {
    let is_other = |(byte, next): (&u8, &u8)| (*byte == b'\\') & !matches!(*next, b'n' | b'r' | b't' | b'"' | b'\\');
    let after = quoted.get(1..).unwrap_or_default();
    let mut pieces = quoted.chunks(128).zip(after.chunks(128));
    quoted.ends_with(b"\\")
        || pieces.any(|(piece, after)| piece.iter().zip(after).fold(false, |any, pair| any | is_other(pair)))
}

/// Returns where the escapes of a text are. The second of two backslashes is what the first one stands before.
fn escapes(quoted: &str) -> impl Iterator<Item = usize> {
    let mut from = 0;
    memchr_iter(b'\\', quoted.as_bytes()).filter(move |at| {
        let is_escape = *at >= from;
        if is_escape {
            from = at + 2;
        }
        is_escape
    })
}

/// Returns whether a text has something to escape.
fn needs_escapes(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |any, byte| any | matches!(*byte, 0..=31 | b'"' | b'\\'))
}

/// Returns whether there are control characters beside line ends and tabs: of each piece all bytes are looked at, which the
/// compiler makes vectors of.
fn has_rare_controls(bytes: &[u8]) -> bool {
    let is_rare = |byte: &u8| matches!(*byte, 0..=8 | 11 | 12 | 14..=31);
    bytes.chunks(128).any(|piece| piece.iter().fold(false, |any, byte| any | is_rare(byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(json: &str) -> String {
        match read(json).unwrap() {
            Quoted::Plain(text) => text.to_owned(),
            Quoted::Escaped(escaped) => escaped.text(),
            Quoted::Read(text) => text,
        }
    }

    proptest! {
        #[test]
        fn a_text_is_written_as_serde_writes_it(text in "([a-z \u{7f}é\"\\\\\n\r\t]{0,99}|\\PC|[\0-\u{1f}]?){0,5}") {
            let mut written = Vec::new();
            write(&text, &mut written).unwrap();
            prop_assert_eq!(std::str::from_utf8(&written).unwrap(), serde_json::to_string(&text).unwrap());
            prop_assert_eq!(said(std::str::from_utf8(&written).unwrap()), text);
        }

        #[test]
        fn a_text_is_read_as_serde_reads_it(json in r#"([a-zé]{0,9}|\\[nrtbf/"\\]|\\u00e9|\\ud83d\\ude00){0,9}"#) {
            let json = format!("\"{json}\"");
            let text: String = serde_json::from_str(&json).unwrap();
            if let Quoted::Escaped(escaped) = read(&json).unwrap() {
                prop_assert_eq!(escaped.json(), serde_json::to_string(&text).unwrap());
            }
            prop_assert_eq!(said(&json), text);
        }
    }
}
