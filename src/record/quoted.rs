//! Text as JSON has it, written and read fast: most of a record is text, and most of a text needs no escapes.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr2_iter, memchr3_iter};

/// Writes a text in quotes, as serde does.
pub(super) fn write(text: &str, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let bytes = text.as_bytes();
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

/// Reads a text from its JSON, which is one whole value. The text is written once into memory that suffices; serde, which
/// does not know how long a string will be, moves it while it grows, and copies it in the end. Without escapes it stays
/// where it is.
///
/// # Errors
/// Serde's, for what is no string.
pub(super) fn read(json: &str) -> serde_json::Result<Cow<'_, str>> {
    let Some(quoted) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return serde_json::from_str(json).map(Cow::Owned);
    };
    let mut escapes = memchr_iter(b'\\', quoted.as_bytes()).peekable();
    if escapes.peek().is_none() {
        return Ok(Cow::Borrowed(quoted));
    }
    let mut text = String::with_capacity(quoted.len());
    let mut from = 0;
    for at in escapes {
        // The second of two backslashes is what the first one stands before.
        if at < from {
            continue;
        }
        text.push_str(&quoted[from..at]);
        text.push(match quoted.as_bytes().get(at + 1) {
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            // Characters by their numbers are few, and may stand in pairs.
            _ => return serde_json::from_str(json).map(Cow::Owned),
        });
        from = at + 2;
    }
    text.push_str(&quoted[from..]);
    Ok(Cow::Owned(text))
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

    proptest! {
        #[test]
        fn a_text_is_written_as_serde_writes_it(text in "([a-z \u{7f}é\"\\\\\n\r\t]{0,99}|\\PC|[\0-\u{1f}]?){0,5}") {
            let mut written = Vec::new();
            write(&text, &mut written).unwrap();
            prop_assert_eq!(std::str::from_utf8(&written).unwrap(), serde_json::to_string(&text).unwrap());
            prop_assert_eq!(read(std::str::from_utf8(&written).unwrap()).unwrap(), text);
        }

        #[test]
        fn a_text_is_read_as_serde_reads_it(json in r#"([a-zé]{0,9}|\\[nrtbf/"\\]|\\u00e9|\\ud83d\\ude00){0,9}"#) {
            let json = format!("\"{json}\"");
            prop_assert_eq!(read(&json).unwrap(), serde_json::from_str::<String>(&json).unwrap());
        }
    }
}
