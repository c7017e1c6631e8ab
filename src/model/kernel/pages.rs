//! Memory in pages of its own, and in large ones where the system has them.
//!
//! A page is looked up and cleared at its first touch, and a walk over hundreds of megabytes needs 512 times fewer of
//! 2 MiB than of 4 KiB. A matrix of a small model is shorter than one such page or takes few and a half: so pieces are cut
//! from long spans of addresses, one beside the other, and large pages reach over their borders. What has pages of its own
//! gives them back when it is dropped; in the allocator's heap it would leave a hole.

#![expect(unsafe_code, reason = "pieces of one span that are written by different owners")]

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

/// Bytes from which numbers get pages of their own.
const OWN: usize = 256 << 10;
/// Bytes of addresses that are asked for at a time; they cost nothing before they are touched.
const SPAN: usize = 256 << 20;
/// Pieces begin and end with whole pages of every system: one that is given back takes nothing of its neighbours along.
const UNIT: usize = 64 << 10;

/// Floats, zeros at first.
#[derive(Debug)]
pub(in crate::model) enum Pages {
    /// In the allocator's heap.
    Heap(Vec<f32>),
    /// In pages of their own.
    Own(Piece),
}

impl Pages {
    /// Makes zeros.
    pub(in crate::model) fn zeros(len: usize) -> Self {
        let bytes = len.saturating_mul(size_of::<f32>());
        let own = (bytes >= OWN).then(|| Piece::cut(len, bytes)).flatten();
        own.map_or_else(|| Self::Heap(vec![0.0; len]), Self::Own)
    }
}

/// Addresses of which some are in use.
struct Span {
    map: Arc<MmapRaw>,
    used: usize,
}

impl Span {
    /// Asks for addresses; nothing when the system has none.
    fn new(bytes: usize) -> Option<Self> {
        let map = MmapOptions::new().len(bytes).no_reserve_swap().map_anon().ok()?;
        // A system that has no large pages leaves all as it is.
        #[cfg(target_os = "linux")]
        drop(map.advise(memmap2::Advice::HugePage));
        Some(Self { map: Arc::new(map.into()), used: 0 })
    }

    /// Cuts off a piece, if there is room for it.
    fn cut(&mut self, len: usize, bytes: usize) -> Option<Piece> {
        let (start, end) = (self.used, self.used.checked_add(bytes)?);
        if end > self.map.len() {
            return None;
        }
        self.used = end;
        Some(Piece { map: self.map.clone(), start, len })
    }
}

/// What the next pieces are cut from.
static SPAN_IN_USE: Mutex<Option<Span>> = Mutex::new(None);

/// A part of a span that no other piece has a part of.
#[derive(Debug)]
pub(in crate::model) struct Piece {
    map: Arc<MmapRaw>,
    /// Bytes of the span before it.
    start: usize,
    /// Numbers.
    len: usize,
}

impl Piece {
    /// Cuts a piece of the span in use, or of a new one.
    fn cut(len: usize, bytes: usize) -> Option<Self> {
        let bytes = bytes.checked_next_multiple_of(UNIT)?;
        if bytes > SPAN / 4 {
            return Span::new(bytes)?.cut(len, bytes);
        }
        let mut span = SPAN_IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(piece) = span.as_mut().and_then(|span| span.cut(len, bytes)) {
            return Some(piece);
        }
        span.insert(Span::new(SPAN)?).cut(len, bytes)
    }

    fn place(&self) -> *mut f32 {
        self.map.as_mut_ptr().wrapping_add(self.start).cast()
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let bytes = (self.len * size_of::<f32>()).next_multiple_of(UNIT);
        // SAFETY: no other piece has these pages, and nobody reads them again: spans are never cut twice.
        drop(unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, self.start, bytes) });
    }
}

impl Deref for Pages {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Heap(numbers) => numbers,
            // SAFETY: the span lives as long as the piece, which is a part of it that begins with a page; bytes of any kind
            // are floats, and who changes them has the piece for himself.
            Self::Own(piece) => unsafe { std::slice::from_raw_parts(piece.place(), piece.len) },
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Heap(numbers) => numbers,
            // SAFETY: as above.
            Self::Own(piece) => unsafe { std::slice::from_raw_parts_mut(piece.place(), piece.len) },
        }
    }
}

impl Default for Pages {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_zeros_of_any_number_and_can_be_written() {
        for len in [0, 1, OWN / 4 - 1, OWN / 4, 3 * OWN + 1, SPAN / 16 + 1] {
            let mut pages = Pages::zeros(len);
            assert!(pages.iter().all(|number| number.to_bits() == 0) && pages.len() == len);
            pages.fill(1.0);
            assert!(pages.iter().all(|number| number.to_bits() == 1.0_f32.to_bits()));
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "they are as they were written")]
    fn pieces_of_several_threads_and_spans_keep_what_was_written() {
        // More than a span has room for.
        let len = SPAN / 4 / 40 + 1;
        std::thread::scope(|scope| {
            for thread in 0_u8..3 {
                scope.spawn(move || {
                    let mut pieces: Vec<(f32, Pages)> = Vec::new();
                    for number in 0_u8..30 {
                        let number = f32::from(number) + f32::from(thread) * 100.0 + 1.0;
                        let mut piece = Pages::zeros(len);
                        assert!(piece.iter().all(|found| *found == 0.0));
                        piece.fill(number);
                        pieces.push((number, piece));
                        if pieces.len() > 8 {
                            pieces.remove(3);
                        }
                        assert!(pieces.iter().all(|(number, piece)| piece.iter().all(|found| found == number)));
                    }
                });
            }
        });
    }

    #[test]
    fn what_is_dropped_goes_back_to_the_system() {
        let mut pages = Pages::zeros(OWN);
        pages.fill(1.0);
        let Pages::Own(piece) = &pages else { panic!() };
        let (map, start) = (piece.map.clone(), piece.start);
        // SAFETY: the test holds the span.
        let last_byte = || unsafe { map.as_mut_ptr().wrapping_add(start + OWN - 1).read_volatile() };
        assert_eq!(last_byte(), 1.0_f32.to_le_bytes()[3]);
        drop(pages);
        if cfg!(target_os = "linux") {
            assert_eq!(last_byte(), 0, "it is a new page");
        }
    }
}
