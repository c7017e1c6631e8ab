//! The form in which packed objects lie in the index: records are text, and text takes a third of its space as LZ4.
//!
//! ```text
//! 0 bytes                        as they are
//! 1 length (LE 32) LZ4 block     compressed
//! ```
//!
//! An object's digest is that of its bytes, so how well they were compressed is nobody's matter.

use std::cell::RefCell;

use lz4_flex::block::{compress_into, decompress, get_maximum_output_size};

/// Marks bytes as they are.
const PLAIN: u8 = 0;
/// Marks an LZ4 block behind the length of its bytes.
const LZ4: u8 = 1;
/// Objects below this size gain less than a page of the index by it.
const LEAST: usize = 1 << 10;
/// The most bytes that one of an LZ4 block can stand for: a longer claim is damage, and no reason to ask for memory.
const MOST_RATIO: usize = 255;
/// The mark and the length.
const HEAD: usize = 5;

thread_local! {
    /// The memory that a thread's blocks are made in: the most that one could take is much more than it takes, and new
    /// memory has to be zeroed.
    static BLOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Returns the stored form of an object.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    match u32::try_from(bytes.len()) {
        Ok(length) if bytes.len() >= LEAST => BLOCK.with_borrow_mut(|block| {
            block.resize(block.len().max(get_maximum_output_size(bytes.len())), 0);
            match compress_into(bytes, block) {
                Ok(size) if HEAD + size < bytes.len() => {
                    [&[LZ4], length.to_le_bytes().as_slice(), &block[..size]].concat()
                }
                _ => plain(bytes),
            }
        }),
        _ => plain(bytes),
    }
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    [&[PLAIN], bytes].concat()
}

/// Returns the bytes of an object from their stored form; nothing when it is none.
pub(super) fn read(stored: &[u8]) -> Option<Vec<u8>> {
    let (mark, rest) = stored.split_first()?;
    match *mark {
        PLAIN => Some(rest.to_vec()),
        LZ4 => {
            let (length, block) = rest.split_first_chunk()?;
            let length = u32::from_le_bytes(*length) as usize;
            let is_possible = length / MOST_RATIO <= block.len();
            decompress(block, if is_possible { length } else { return None }).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_stored_is_read(text in "[a-z ]{0,40}", times in 0_usize..200, noise in any::<Vec<u8>>()) {
            let bytes = [text.repeat(times).into_bytes(), noise].concat();
            prop_assert_eq!(read(&stored(&bytes)), Some(bytes));
        }

        #[test]
        fn damage_is_no_reason_to_panic(bytes in any::<Vec<u8>>(), mark in 0_u8..3) {
            read(&[vec![mark], bytes].concat());
        }
    }

    #[test]
    fn text_takes_less_and_what_cannot_be_compressed_hardly_more() {
        let text = "linkerd check says that the proxy is not ready\n".repeat(1_000).into_bytes();
        assert!(stored(&text).len() < text.len() / 20);
        let noise: Vec<u8> = (0..100_u32).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
        assert_eq!(stored(&noise).len(), noise.len() + 1);
        assert_eq!(stored(b"").len(), 1);
    }

    #[test]
    fn a_length_that_no_block_can_have_asks_for_no_memory() {
        assert_eq!(read(&[&[LZ4], u32::MAX.to_le_bytes().as_slice(), &[0; 64]].concat()), None);
        assert_eq!(read(b""), None);
        assert_eq!(read(&[2, 0]), None);
    }
}
