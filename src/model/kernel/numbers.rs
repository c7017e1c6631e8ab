//! Numbers that begin at a cache line.

use std::ops::{Deref, DerefMut};

use rayon::prelude::*;

use super::{LANES, Pages, Workspace};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;
/// Numbers that one task copies.
const TASK: usize = 1 << 16;

/// Numbers whose first lies at the beginning of a cache line: a vector of sixteen then never reaches over two lines, which
/// would cost every load of a product twice. They go back to their workspace.
#[derive(Debug, Default)]
pub(in crate::model) struct Numbers {
    data: Pages,
    start: usize,
    len: usize,
    workspace: Workspace,
}

impl Numbers {
    /// Makes zeros.
    pub(in crate::model) fn zeros(workspace: &Workspace, len: usize) -> Self {
        let (mut numbers, is_zero) = Self::take(workspace, len);
        if !is_zero {
            numbers.par_chunks_mut(TASK).for_each(|part| part.fill(0.0));
        }
        numbers
    }

    /// Takes numbers that mean nothing: who takes them writes them all before one is read.
    pub(in crate::model) fn unset(workspace: &Workspace, len: usize) -> Self {
        Self::take(workspace, len).0
    }

    /// Returns where they came from.
    pub(in crate::model) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    fn take(workspace: &Workspace, len: usize) -> (Self, bool) {
        let (data, is_zero) = workspace.take(len + LANES - 1);
        // Whatever is said of the address, the numbers fit.
        let start = data.as_ptr().align_offset(LINE).min(LANES - 1);
        (Self { data, start, len, workspace: workspace.clone() }, is_zero)
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.workspace.give(std::mem::take(&mut self.data));
    }
}

impl Clone for Numbers {
    fn clone(&self) -> Self {
        let mut copy = Self::unset(&self.workspace, self.len);
        copy.par_chunks_mut(TASK).zip(self.par_chunks(TASK)).for_each(|(to, from)| to.copy_from_slice(from));
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
        let numbers = Numbers::zeros(&Workspace::default(), 33);
        let copies: Vec<Numbers> = (0..9).map(|_| numbers.clone()).collect();
        assert!(copies.iter().all(|copy| copy.len() == 33 && copy.as_ptr().addr().is_multiple_of(LINE)));
    }

    #[test]
    fn zeros_are_zeros_also_where_others_wrote() {
        let workspace = Workspace::default();
        Numbers::zeros(&workspace, 1 << 17).fill(3.0);
        assert!(Numbers::zeros(&workspace, 1 << 17).iter().all(|number| *number == 0.0));
    }
}
