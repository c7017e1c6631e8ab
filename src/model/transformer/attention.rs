//! Causal attention within rows, two panels of sixteen queries against all keys that they see.
//!
//! Probabilities are never kept: the backward pass computes them again from queries, keys, and each query's maximum and
//! sum. The pass over queries and the pass over keys compute the same products with the factors exchanged, so that no
//! thread adds to what another one writes.

#![expect(clippy::needless_bitwise_bool, reason = "comparisons without branches become vectors")]

use std::ops::Range;

use rayon::prelude::*;

use super::super::kernel::{LANES, Mode, Numbers, Operand, Panels, Workspace, exp, greatest, multiply, turn, widest};
use super::Batch;

/// Panels that are computed together: what a micro-kernel takes.
const TOGETHER: usize = 2;

/// The least score above the greatest that counts: what is less has no place in a sum of 32 bits, and times a gradient it
/// would be a number so small that a processor computes with it many times as slowly.
const LEAST: f32 = -50.0;

/// How heads are laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    /// Query heads.
    pub(super) queries: usize,
    /// Key and value heads.
    pub(super) keys: usize,
    /// Features of one head.
    pub(super) size: usize,
}

impl Heads {
    /// Returns the numbers of a head of a panel.
    fn len(&self) -> usize {
        self.size * LANES
    }

    /// Returns the numbers of panels from a head of one of them on: that panel's length tells the next one's place.
    fn from<'a>(&self, x: &'a Panels, panel: usize, head: usize) -> (&'a [f32], usize) {
        (&x.data()[panel * x.panel_len() + head * self.len()..], x.panel_len())
    }

    /// Returns the heads of keys alone.
    pub(super) fn of_keys(self) -> Self {
        Self { queries: self.keys, ..self }
    }

    /// Returns the key head that serves a query head.
    fn key_head(&self, query_head: usize) -> usize {
        query_head / (self.queries / self.keys)
    }

    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }
}

/// Each query's greatest score and one over its sum of exponentials, by panel and head.
pub(super) type Statistics = Vec<[[f32; LANES]; 2]>;

/// Heads one after the other, in each token after token, the head's features side by side: what is broadcast.
struct ByTokens {
    size: usize,
    tokens: usize,
    data: Numbers,
}

impl ByTokens {
    fn new(x: &Panels, heads: Heads) -> Self {
        let tokens = x.panels() * LANES;
        let mut data = Numbers::unset(x.workspace(), tokens * x.features());
        data.par_chunks_mut(heads.len()).enumerate().for_each(|(place, data)| {
            let (head, panel) = (place / x.panels(), place % x.panels());
            turn((heads.from(x, panel, head).0, LANES), (heads.size, LANES), (data, heads.size));
        });
        Self { size: heads.size, tokens, data }
    }

    fn panels(&self, head: usize, panels: &Range<usize>) -> (&[f32], usize) {
        let start = (head * self.tokens + panels.start * LANES) * self.size;
        (&self.data[start..], panels.len() * LANES)
    }

    /// Returns the tokens of some panels as rows.
    fn rows(&self, head: usize, panels: &Range<usize>) -> Operand<'_> {
        let (data, tokens) = self.panels(head, panels);
        Operand::by_rows(data, tokens, self.size)
    }

    /// Returns the tokens of some panels as columns.
    fn columns(&self, head: usize, panels: &Range<usize>) -> Operand<'_> {
        let (data, tokens) = self.panels(head, panels);
        Operand::transposed(data, tokens, self.size)
    }
}

/// What attention reads.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) heads: Heads,
    pub(super) q: &'a Panels,
    pub(super) k: &'a Panels,
    pub(super) v: &'a Panels,
    pub(super) batch: &'a Batch,
    /// The panel of the batch that is the queries' first; 0 for all of them, as the backward pass needs.
    pub(super) first: usize,
}

impl Inputs<'_> {
    /// Returns the mixed values and the statistics of every query.
    pub(super) fn forward(&self) -> (Panels, Statistics) {
        let mut out = self.q.like(self.q.features());
        let mut statistics = vec![[[0.0; LANES]; 2]; self.heads.queries * self.q.panels()];
        let (k, v) = (self.by_tokens(self.k), self.by_tokens(self.v));
        let len = out.panel_len();
        let parts = out.data_mut().par_chunks_mut(TOGETHER * len);
        let parts = parts.zip(statistics.par_chunks_mut(TOGETHER * self.heads.queries)).enumerate();
        // Later queries see more keys: tasks of one pair each leave no thread the last half.
        parts.with_max_len(1).for_each(|(index, (out, statistics))| {
            let start = self.first + TOGETHER * index;
            let queries = start..start + out.len() / len;
            let mut scores = Scores::new(self, queries, &k);
            for head in 0..self.heads.queries {
                scores.compute(head);
                for (panel, found) in statistics.chunks_mut(self.heads.queries).enumerate() {
                    found[head] = scores.exponentials(panel);
                }
                let out = &mut out[head * self.heads.len()..];
                scores.mix(&v, head, (out, len));
                for (out, found) in out.chunks_mut(len).zip(statistics.chunks(self.heads.queries)) {
                    let [_, shares] = &found[head];
                    for lanes in out[..self.heads.len()].as_chunks_mut::<LANES>().0 {
                        for (value, share) in lanes.iter_mut().zip(shares) {
                            *value *= share;
                        }
                    }
                }
            }
        });
        (out, statistics)
    }

    fn workspace(&self) -> &Workspace {
        self.q.workspace()
    }

    fn by_tokens(&self, x: &Panels) -> ByTokens {
        ByTokens::new(x, self.heads)
    }

    /// Returns the gradients of queries, keys and values from that of the mixed values.
    pub(super) fn backward(&self, mixed: &Panels, back: &Panels, statistics: &Statistics) -> [Panels; 3] {
        let queries = self.heads.queries;
        let dots = (0..mixed.panels() * queries).into_par_iter().map(|place| {
            let of = |x| &self.heads.from(x, place / queries, place % queries).0[..self.heads.len()];
            dot(of(mixed), of(back))
        });
        let known = Known { back, statistics, dots: &dots.collect::<Vec<_>>() };
        let (k, v) = (self.by_tokens(self.k), self.by_tokens(self.v));
        let mut q_back = self.q.like(self.q.features());
        let len = q_back.panel_len();
        q_back.data_mut().par_chunks_mut(TOGETHER * len).enumerate().with_max_len(1).for_each(|(index, out)| {
            let panels = TOGETHER * index..TOGETHER * index + out.len() / len;
            self.query_gradients(&known, panels, (&k, &v), out);
        });
        let (q, by_query) = (self.by_tokens(self.q), self.by_tokens(back));
        let (mut k_back, mut v_back) = (self.k.like(self.k.features()), self.k.like(self.k.features()));
        let len = k_back.panel_len();
        let parts = k_back.data_mut().par_chunks_mut(TOGETHER * len);
        let parts = parts.zip(v_back.data_mut().par_chunks_mut(TOGETHER * len)).enumerate();
        parts.with_max_len(1).for_each(|(index, (k, v))| {
            let panels = TOGETHER * index..TOGETHER * index + k.len() / len;
            self.key_gradients(&known, panels, (&q, &by_query), (k, v));
        });
        [q_back, k_back, v_back]
    }

    /// Writes the gradients of some panels of queries.
    fn query_gradients(
        &self,
        known: &Known<'_>,
        panels: Range<usize>,
        (k, v): (&ByTokens, &ByTokens),
        out: &mut [f32],
    ) {
        let mut scores = Scores::new(self, panels.clone(), k);
        let mut through = Numbers::unset(self.workspace(), scores.numbers.len());
        let (len, scale) = (scores.len, self.heads.scale());
        for head in 0..self.heads.queries {
            scores.compute(head);
            let back = self.heads.from(known.back, panels.start, head);
            scores.against(v, head, back, &mut through);
            for (panel, (scores, through)) in scores.numbers.chunks_mut(len).zip(through.chunks(len)).enumerate() {
                let place = (panels.start + panel) * self.heads.queries + head;
                let ([greatest, shares], dots) = (&known.statistics[place], &known.dots[place]);
                let keys = scores.as_chunks_mut::<LANES>().0.iter_mut().zip(through.as_chunks::<LANES>().0);
                widest(|| {
                    for (scores, through) in keys {
                        for query in 0..LANES {
                            let probability = probability(scores[query], greatest[query]) * shares[query];
                            scores[query] = probability * (through[query] - dots[query]) * scale;
                        }
                    }
                });
            }
            scores.mix(k, head, (&mut out[head * self.heads.len()..], self.heads.len() * self.heads.queries));
        }
    }

    /// Adds up the gradients of some panels of keys and values, over all queries that see them. Rows are queries here,
    /// lanes are keys.
    fn key_gradients(
        &self,
        known: &Known<'_>,
        panels: Range<usize>,
        (q, back): (&ByTokens, &ByTokens),
        (k_out, v_out): (&mut [f32], &mut [f32]),
    ) {
        let heads = &self.heads;
        let (group, out_len) = (heads.queries / heads.keys, heads.len() * heads.keys);
        let scale = heads.scale();
        let queries = panels.start..self.batch.queries_of(panels.clone());
        let len = queries.len() * LANES * LANES;
        let mut probabilities = Numbers::unset(self.workspace(), panels.len() * len);
        let mut scores = Numbers::unset(self.workspace(), panels.len() * len);
        for head in 0..heads.queries {
            let key_head = heads.key_head(head);
            let (k, v) = (heads.from(self.k, panels.start, key_head), heads.from(self.v, panels.start, key_head));
            multiply(q.rows(head, &queries), k, (&mut probabilities, len), Mode::Fresh);
            multiply(back.rows(head, &queries), v, (&mut scores, len), Mode::Fresh);
            for (panel, (probabilities, scores)) in
                panels.clone().zip(probabilities.chunks_mut(len).zip(scores.chunks_mut(len)))
            {
                let rows = probabilities.as_chunks_mut::<LANES>().0.iter_mut().zip(scores.as_chunks_mut::<LANES>().0);
                // In 32 bits, so that the comparisons are as wide as the numbers.
                let firsts: [u32; LANES] = std::array::from_fn(|key| (panel * LANES + key) as u32);
                let ends = self.batch.ends(panel).map(|end| end as u32);
                widest(|| {
                    for (query, (probabilities, scores)) in (queries.start * LANES..).zip(rows) {
                        let place = query / LANES * heads.queries + head;
                        let [greatest, shares] = &known.statistics[place];
                        let lane = query % LANES;
                        let (greatest, share, dot) = (greatest[lane], shares[lane], known.dots[place][lane]);
                        let query = query as u32;
                        for key in 0..LANES {
                            let seen = (firsts[key] <= query) & (query < ends[key]);
                            let score = if seen { probabilities[key] * scale } else { f32::NEG_INFINITY };
                            let probability = probability(score, greatest) * share;
                            probabilities[key] = probability;
                            scores[key] = probability * (scores[key] - dot) * scale;
                        }
                    }
                });
            }
            let mode = if head % group == 0 { Mode::Fresh } else { Mode::Sum };
            let place = key_head * heads.len();
            multiply(back.columns(head, &queries), (&probabilities, len), (&mut v_out[place..], out_len), mode);
            multiply(q.columns(head, &queries), (&scores, len), (&mut k_out[place..], out_len), mode);
        }
    }
}

/// What some panels of queries have to do with all keys that they see: rows are keys, lanes are queries.
struct Scores<'a> {
    inputs: &'a Inputs<'a>,
    queries: Range<usize>,
    /// The runs of panels of keys.
    keys: Vec<Range<usize>>,
    k: &'a ByTokens,
    /// Panel after panel.
    numbers: Numbers,
    /// Numbers of one panel of queries.
    len: usize,
}

impl<'a> Scores<'a> {
    fn new(inputs: &'a Inputs<'a>, queries: Range<usize>, k: &'a ByTokens) -> Self {
        let keys = inputs.batch.keys_of(queries.clone());
        let len = keys.iter().map(ExactSizeIterator::len).sum::<usize>() * LANES * LANES;
        let numbers = Numbers::unset(inputs.workspace(), queries.len() * len);
        Self { inputs, queries, keys, k, numbers, len }
    }

    /// Computes the scores of a head; minus infinity where a query may not look.
    fn compute(&mut self, head: usize) {
        let mut numbers = std::mem::take(&mut self.numbers);
        let place = self.queries.start - self.inputs.first;
        self.against(self.k, head, self.inputs.heads.from(self.inputs.q, place, head), &mut numbers);
        let scale = self.inputs.heads.scale();
        let lanes: [u32; LANES] = std::array::from_fn(|lane| lane as u32);
        for (panel, scores) in self.queries.clone().zip(numbers.chunks_mut(self.len)) {
            let first = panel * LANES;
            let keys = self.keys.iter().cloned().flatten().zip(scores.as_chunks_mut::<{ LANES }>().0.chunks_mut(LANES));
            for (key_panel, scores) in keys {
                let ends = self.inputs.batch.ends(key_panel);
                widest(|| {
                    for ((key, end), scores) in (key_panel * LANES..).zip(ends).zip(scores) {
                        // The lanes of the queries that see the key.
                        let from = key.saturating_sub(first).min(LANES) as u32;
                        let to = end.saturating_sub(first).min(LANES) as u32;
                        for (lane, score) in lanes.iter().zip(scores) {
                            let seen = (from <= *lane) & (*lane < to);
                            // Scaled in any case: for a product with a condition the compiler gathers.
                            let scaled = *score * scale;
                            *score = if seen { scaled } else { f32::NEG_INFINITY };
                        }
                    }
                });
            }
        }
        self.numbers = numbers;
    }

    /// Multiplies the heads of all keys, `by_tokens`, with some panels.
    fn against(&self, by_tokens: &ByTokens, head: usize, panels: (&[f32], usize), out: &mut [f32]) {
        let mut place = 0;
        for run in &self.keys {
            let rows = by_tokens.rows(self.inputs.heads.key_head(head), run);
            multiply(rows, panels, (&mut out[place..], self.len), Mode::Fresh);
            place += run.len() * LANES * LANES;
        }
    }

    /// Replaces the scores of a panel of queries by their exponentials above the greatest, and returns the greatest and one
    /// over the sum.
    fn exponentials(&mut self, panel: usize) -> [[f32; LANES]; 2] {
        let scores = self.numbers[panel * self.len..][..self.len].as_chunks_mut::<LANES>().0;
        let greatest = greatest(scores);
        widest(|| {
            let mut sums = [0.0_f32; LANES];
            for scores in scores {
                for ((score, greatest), sum) in scores.iter_mut().zip(&greatest).zip(&mut sums) {
                    *score = probability(*score, *greatest);
                    *sum += *score;
                }
            }
            [greatest, sums.map(|sum| 1.0 / sum)]
        })
    }

    /// Writes the sum of the keys' heads in `by_tokens`, each times its number.
    fn mix(&self, by_tokens: &ByTokens, head: usize, (out, stride): (&mut [f32], usize)) {
        let mut place = 0;
        for run in &self.keys {
            let columns = by_tokens.columns(self.inputs.heads.key_head(head), run);
            let mode = if place == 0 { Mode::Fresh } else { Mode::Sum };
            multiply(columns, (&self.numbers[place..], self.len), (&mut *out, stride), mode);
            place += run.len() * LANES * LANES;
        }
    }
}

/// What the backward pass knows of the forward pass.
struct Known<'a> {
    back: &'a Panels,
    statistics: &'a Statistics,
    /// For each query the product of its output and that output's gradient, by panel and head.
    dots: &'a [[f32; LANES]],
}

/// Returns e to the score above the greatest; 0 for less than [`LEAST`], and so for a score of minus infinity.
#[inline]
fn probability(score: f32, greatest: f32) -> f32 {
    let above = score - greatest;
    if above < LEAST { 0.0 } else { exp(above) }
}

/// Returns for each token the product over the features.
fn dot(left: &[f32], right: &[f32]) -> [f32; LANES] {
    let mut sums = [0.0_f32; LANES];
    for (left, right) in left.as_chunks::<LANES>().0.iter().zip(right.as_chunks::<LANES>().0) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum = left.mul_add(*right, *sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_far_below_the_greatest_score_has_no_share_and_a_score_that_is_no_number_stays_none() {
        assert!(probability(-40.0, 9.0) > 0.0);
        for score in [-42.0, -1e9, f32::NEG_INFINITY] {
            assert_eq!(probability(score, 9.0).to_bits(), 0);
        }
        assert!(probability(f32::NAN, 9.0).is_nan());
    }
}
