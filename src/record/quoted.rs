//! Text as JSON has it, written fast: most of a record is text, and most of a text needs no escapes.

use memchr::{memchr2_iter, memchr3_iter};

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
            prop_assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }
}
