//! Memory in pages of its own, and in large ones where the system has them.
//!
//! A page is looked up and cleared at its first touch, and a walk over hundreds of megabytes needs 512 times fewer of
//! 2 MiB than of 4 KiB. What has pages of its own gives them back when it is dropped; in the allocator's heap it would
//! leave a hole.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Bytes from which numbers get pages of their own.
const OWN: usize = 256 << 10;

/// Floats, zeros at first.
#[derive(Debug)]
pub(in crate::model) enum Pages {
    /// In the allocator's heap.
    Heap(Vec<f32>),
    /// In pages of their own.
    Own(MmapMut),
}

impl Pages {
    /// Makes zeros.
    pub(in crate::model) fn zeros(len: usize) -> Self {
        let bytes = len.saturating_mul(size_of::<f32>());
        let own = (bytes >= OWN).then(|| MmapMut::map_anon(bytes).ok()).flatten();
        own.map_or_else(|| Self::Heap(vec![0.0; len]), Self::large)
    }

    /// Asks for large pages; a system that has none leaves all as it is.
    fn large(map: MmapMut) -> Self {
        #[cfg(target_os = "linux")]
        drop(map.advise(memmap2::Advice::HugePage));
        Self::Own(map)
    }
}

impl Default for Pages {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Deref for Pages {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Heap(numbers) => numbers,
            Self::Own(map) => bytemuck::cast_slice(map),
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Heap(numbers) => numbers,
            Self::Own(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_zeros_of_any_number_and_can_be_written() {
        for len in [0, 1, OWN / 4 - 1, OWN / 4, 3 * OWN + 1] {
            let mut pages = Pages::zeros(len);
            assert!(pages.iter().all(|number| number.to_bits() == 0) && pages.len() == len);
            pages.fill(1.0);
            assert!(pages.iter().all(|number| number.to_bits() == 1.0_f32.to_bits()));
        }
    }
}
