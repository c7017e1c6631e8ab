//! The pieces of SentencePiece's `tokenizer.model`: field 1 of its message, read out of protocol buffers' wire form.
//!
//! The file is not trusted: every length is held against what is left of it.

use crate::model::{ModelError, Result};

/// A piece of the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// What a piece is (`SentencePiece.Type` of `sentencepiece_model.proto`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// Reads all pieces.
///
/// # Errors
/// [`ModelError::Unsupported`] for bytes that are no such file.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Piece>> {
    let pieces = fields(bytes).and_then(|fields| {
        let messages = fields.into_iter().filter(|(number, _)| *number == 1);
        messages.map(|(_, value)| piece(value)).collect::<Option<Vec<Piece>>>()
    });
    let what = "a `tokenizer.model` that is not SentencePiece's";
    pieces.filter(|pieces| !pieces.is_empty()).ok_or_else(|| ModelError::Unsupported { what: what.into() })
}

/// The value of a field, as the wire has it.
#[derive(Clone, Copy)]
enum Wire<'b> {
    Number(u64),
    Four([u8; 4]),
    Bytes(&'b [u8]),
    /// Eight bytes, of which no field here is made.
    Eight,
}

fn piece(value: Wire<'_>) -> Option<Piece> {
    let Wire::Bytes(bytes) = value else { return None };
    let mut piece = Piece { text: String::new(), score: 0.0, kind: Kind::Normal };
    for (number, value) in fields(bytes)? {
        match (number, value) {
            (1, Wire::Bytes(text)) => std::str::from_utf8(text).ok()?.clone_into(&mut piece.text),
            (2, Wire::Four(bytes)) => piece.score = f32::from_le_bytes(bytes),
            (3, Wire::Number(kind)) => {
                piece.kind = match kind {
                    1 => Kind::Normal,
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    4 => Kind::UserDefined,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    _ => return None,
                }
            }
            _ => {}
        }
    }
    Some(piece)
}

/// Takes a message apart into its fields.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            1 => take(&mut bytes, 8).map(|_| Wire::Eight)?,
            2 => {
                let length = varint(&mut bytes)?;
                Wire::Bytes(take(&mut bytes, usize::try_from(length).ok()?)?)
            }
            5 => Wire::Four(take(&mut bytes, 4)?.try_into().ok()?),
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_and_any_cut_or_bend_is_an_error_or_another_list() {
        let path = "tests/fixtures/architectures/mistral/tokenizer.model";
        let whole = fs_err::read(path).unwrap();
        let pieces = read(&whole).unwrap();
        assert_eq!((pieces.len(), pieces[0].text.as_str(), pieces[0].kind), (340, "<unk>", Kind::Unknown));
        assert_eq!((pieces[3].text.as_str(), pieces[3].kind), ("<0x00>", Kind::Byte));
        for length in 0..whole.len().min(3_000) {
            read(&whole[..length]).ok();
        }
        for at in 0..whole.len().min(3_000) {
            let mut bent = whole.clone();
            bent[at] ^= 0xff;
            read(&bent).ok();
        }
        assert!(read(b"").is_err() && read(b"{\"json\": 1}").is_err());
        // A length of 2^63 bytes.
        assert!(read(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }
}
