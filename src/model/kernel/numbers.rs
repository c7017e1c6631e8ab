//! Numbers that begin at a cache line.

use std::ops::{Deref, DerefMut};

use super::LANES;

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// Numbers whose first lies at the beginning of a cache line: a vector of sixteen then never reaches over two lines, which
/// would cost every load of a product twice.
#[derive(Debug, Default)]
pub(in crate::model) struct Numbers {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Numbers {
    /// Makes zeros.
    pub(in crate::model) fn zeros(len: usize) -> Self {
        let data = vec![0.0; len + LANES - 1];
        // Whatever is said of the address, the numbers fit.
        let start = data.as_ptr().align_offset(LINE).min(LANES - 1);
        Self { data, start, len }
    }
}

impl Clone for Numbers {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..][..self.len]
    }
}

impl DerefMut for Numbers {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_copy_begins_at_a_cache_line() {
        let numbers = Numbers::zeros(33);
        let copies: Vec<Numbers> = (0..9).map(|_| numbers.clone()).collect();
        assert!(copies.iter().all(|copy| copy.len() == 33 && copy.as_ptr().addr().is_multiple_of(LINE)));
    }
}
