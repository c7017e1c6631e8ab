//! Products of frozen matrices with what low-rank pairs add to them, the panels shared among the threads.

use rayon::prelude::*;

use super::super::kernel::{BAND, LANES, Mode, Operand, Panels, Term, multiply, multiply_all};

/// A matrix and the panels that it is multiplied with.
pub(super) struct Summand<'a> {
    a: Operand<'a>,
    x: &'a Panels,
}

impl<'a> Summand<'a> {
    /// Returns the product with the panels whose numbers begin at a place.
    fn term(&self, from: usize) -> Term<'a> {
        Term { a: self.a, x: &self.x.data()[from..], x_stride: self.x.panel_len() }
    }

    /// Writes that product, times a factor, to as many panels as fit into `out`.
    fn write_scaled(&self, from: usize, factor: f32, (out, out_len): (&mut [f32], usize)) {
        let Term { a, x, x_stride } = self.term(from);
        multiply(a, (x, x_stride), (out, out_len), Mode::Fresh);
        scale(out, factor);
    }
}

/// Returns a matrix with panels.
pub(super) fn summand<'a>(a: Operand<'a>, x: &'a Panels) -> Summand<'a> {
    Summand { a, x }
}

/// What a low-rank pair adds to a product.
pub(super) struct Addition<'a> {
    /// What the small product is made of, if it is not there yet, and what it is multiplied with.
    pub(super) narrow: Option<(Summand<'a>, f32)>,
    pub(super) small: &'a mut Panels,
    /// What the small product is multiplied with.
    pub(super) wide: Operand<'a>,
}

/// Writes or adds a product and the additions to the features of `out` from `to` on. The panels are shared among the
/// threads: whichever has some of them makes their small products as well, so that no thread waits between the two.
pub(super) fn products(
    product: &Summand<'_>,
    mut additions: Vec<Addition<'_>>,
    out: &mut Panels,
    to: usize,
    mode: Mode,
) {
    if out.panels() == 1 {
        return of_one_panel(product, additions, &mut out.data_mut()[to * LANES..], mode);
    }
    let (group, out_len) = (group(out.panels()), out.panel_len());
    let of = |x: &Panels, task: usize| task * group * x.panel_len();
    let mut tasks: Vec<_> = out.data_mut().chunks_mut(group * out_len).map(|out| (out, Vec::new())).collect();
    for Addition { narrow, small, wide } in &mut additions {
        let small_len = small.panel_len();
        for ((_, smalls), small) in tasks.iter_mut().zip(small.data_mut().chunks_mut(group * small_len)) {
            smalls.push((narrow.as_ref(), small, small_len, *wide));
        }
    }
    // By themselves: of several in one piece nobody takes the rest from a thread that falls behind.
    tasks.into_par_iter().enumerate().with_max_len(1).for_each(|(task, (out, mut smalls))| {
        for (narrow, small, small_len, _) in &mut smalls {
            if let Some((given, factor)) = narrow {
                given.write_scaled(of(given.x, task), *factor, (small, *small_len));
            }
        }
        let first = product.term(of(product.x, task));
        let more = smalls.iter().map(|(_, small, x_stride, a)| Term { a: *a, x: small, x_stride: *x_stride });
        let terms: Vec<Term<'_>> = std::iter::once(first).chain(more).collect();
        multiply_all(&terms, (&mut out[to * LANES..], out_len), mode);
    });
}

/// As [`products`] for a single panel.
fn of_one_panel(product: &Summand<'_>, mut additions: Vec<Addition<'_>>, out: &mut [f32], mode: Mode) {
    for Addition { narrow, small, .. } in &mut additions {
        if let Some((given, factor)) = narrow {
            let small_len = small.panel_len();
            given.write_scaled(0, *factor, (small.data_mut(), small_len));
        }
    }
    let more = additions.iter().map(|Addition { small, wide, .. }| summand(*wide, small).term(0));
    let terms: Vec<Term<'_>> = std::iter::once(product.term(0)).chain(more).collect();
    multiply_one_panel(&terms, out, mode);
}

/// As [`multiply_all`] for a single panel, whose features the threads share. It changes no bits.
pub(super) fn multiply_one_panel(terms: &[Term<'_>], out: &mut [f32], mode: Mode) {
    let all = terms.first().map_or(0, |term| term.a.rows);
    // Each thread has two tasks, as with many panels.
    let rows = all.div_ceil(2 * rayon::current_num_threads()).next_multiple_of(BAND).max(BAND);
    out[..all * LANES].par_chunks_mut(rows * LANES).enumerate().for_each(|(task, out)| {
        let part = task * rows..task * rows + out.len() / LANES;
        let part = terms.iter().map(|term| Term { a: term.a.some_rows(part.clone()), ..*term });
        let out_len = out.len();
        multiply_all(&part.collect::<Vec<_>>(), (out, out_len), mode);
    });
}

/// Returns how many panels one task takes: pairs, so many that each weight that is read serves several, and that each
/// thread has two tasks: one that falls behind leaves its second to another. It changes no bits.
pub(super) fn group(panels: usize) -> usize {
    2 * panels.div_ceil(2).div_ceil(2 * rayon::current_num_threads()).clamp(1, 8)
}

/// Multiplies all numbers with a factor.
pub(super) fn scale(x: &mut [f32], factor: f32) {
    for value in x {
        *value *= factor;
    }
}
