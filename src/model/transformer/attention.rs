//! Causal attention within rows, a panel of sixteen queries against panels of sixteen keys.
//!
//! Probabilities are never kept: the backward pass computes them again from queries, keys, and each query's maximum and
//! sum. The pass over queries and the pass over keys compute the same products with the factors exchanged, so that no
//! thread adds to what another one writes.

use rayon::prelude::*;

use super::super::kernel::{LANES, Mode, Operand, Panels, exp, multiply};
use super::Batch;

/// Sixteen queries × sixteen keys.
type Tile = [[f32; LANES]; LANES];

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
    /// Returns a head's features of a panel.
    fn of<'a>(&self, panel: &'a [f32], head: usize) -> &'a [f32] {
        &panel[head * self.size * LANES..][..self.size * LANES]
    }

    /// Returns the key head that serves a query head.
    fn key_head(&self, query_head: usize) -> usize {
        query_head / (self.queries / self.keys)
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }
}

/// Each query's greatest score and one over its sum of exponentials, by panel and head.
pub(super) type Statistics = Vec<Vec<[[f32; LANES]; 2]>>;

/// What attention reads.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) heads: Heads,
    pub(super) q: &'a Panels,
    pub(super) k: &'a Panels,
    pub(super) v: &'a Panels,
    pub(super) batch: &'a Batch,
}

impl Inputs<'_> {
    /// Returns the mixed values and the statistics of every query.
    pub(super) fn forward(&self) -> (Panels, Statistics) {
        let mut out = Panels::zeros(self.q.features(), self.q.panels() * LANES);
        let mut statistics = vec![vec![[[0.0; LANES]; 2]; self.heads.queries]; self.q.panels()];
        let len = out.panel_len();
        out.data_mut().par_chunks_mut(len).zip(&mut statistics).enumerate().for_each(|(panel, (out, statistics))| {
            let head_len = self.heads.size * LANES;
            for (head, (out, statistics)) in out.chunks_mut(head_len).zip(statistics).enumerate() {
                *statistics = self.forward_head(panel, head, out);
            }
        });
        (out, statistics)
    }

    /// Computes one head of one panel of queries.
    fn forward_head(&self, panel: usize, head: usize, out: &mut [f32]) -> [[f32; LANES]; 2] {
        let (first, key_head) = (self.batch.reach(panel).0, self.heads.key_head(head));
        let mut tiles: Vec<Tile> = (first..=panel).map(|keys| self.scores(panel, keys, head)).collect();
        let mut greatest = [f32::NEG_INFINITY; LANES];
        for scores in tiles.iter().flatten() {
            for (greatest, score) in greatest.iter_mut().zip(scores) {
                *greatest = greatest.max(*score);
            }
        }
        let mut sums = [0.0_f32; LANES];
        for scores in tiles.iter_mut().flatten() {
            for ((score, greatest), sum) in scores.iter_mut().zip(&greatest).zip(&mut sums) {
                *score = probability(*score, *greatest);
                *sum += *score;
            }
        }
        for (tile, keys) in tiles.iter().zip(first..) {
            let values = Operand::panel(self.heads.of(self.v.panel(keys), key_head), self.heads.size);
            let mode = if keys == first { Mode::Fresh } else { Mode::Sum };
            multiply(values, (tile.as_flattened(), LANES * LANES), (out, self.heads.size * LANES), mode);
        }
        let shares = sums.map(|sum| 1.0 / sum);
        for lanes in out.as_chunks_mut::<LANES>().0 {
            for (value, share) in lanes.iter_mut().zip(&shares) {
                *value *= share;
            }
        }
        [greatest, shares]
    }

    /// Returns the scores of sixteen keys (rows) for sixteen queries (lanes); minus infinity where they may not look.
    fn scores(&self, queries: usize, keys: usize, head: usize) -> Tile {
        let k = self.heads.of(self.k.panel(keys), self.heads.key_head(head));
        let q = self.heads.of(self.q.panel(queries), head);
        let mut tile = transposed_product(k, q, self.heads.size);
        for (key, scores) in tile.iter_mut().enumerate() {
            for (query, score) in scores.iter_mut().enumerate() {
                *score = self.masked(*score, queries * LANES + query, keys * LANES + key);
            }
        }
        tile
    }

    fn masked(&self, score: f32, query: usize, key: usize) -> f32 {
        if self.batch.start(query) <= key && key <= query { score * self.heads.scale() } else { f32::NEG_INFINITY }
    }

    /// Returns the gradients of queries, keys and values from that of the mixed values.
    pub(super) fn backward(&self, mixed: &Panels, back: &Panels, statistics: &Statistics) -> [Panels; 3] {
        let dots: Vec<Vec<[f32; LANES]>> = (0..mixed.panels())
            .into_par_iter()
            .map(|panel| {
                let heads = 0..self.heads.queries;
                heads
                    .map(|head| dot(self.heads.of(mixed.panel(panel), head), self.heads.of(back.panel(panel), head)))
                    .collect()
            })
            .collect();
        let known = Known { back, statistics, dots: &dots };
        let mut q = Panels::zeros(self.q.features(), self.q.panels() * LANES);
        let (len, head_len) = (q.panel_len(), self.heads.size * LANES);
        q.data_mut().par_chunks_mut(len).enumerate().for_each(|(panel, out)| {
            for (head, out) in out.chunks_mut(head_len).enumerate() {
                self.query_gradient(&known, panel, head, out);
            }
        });
        let mut k = Panels::zeros(self.k.features(), self.k.panels() * LANES);
        let mut v = k.clone();
        let len = k.panel_len();
        k.data_mut().par_chunks_mut(len).zip(v.data_mut().par_chunks_mut(len)).enumerate().for_each(
            |(panel, (k, v))| {
                for (head, (k, v)) in k.chunks_mut(head_len).zip(v.chunks_mut(head_len)).enumerate() {
                    self.key_gradient(&known, panel, head, (k, v));
                }
            },
        );
        [q, k, v]
    }

    /// Adds up the gradient of one head of one panel of queries.
    fn query_gradient(&self, known: &Known<'_>, panel: usize, head: usize, out: &mut [f32]) {
        let key_head = self.heads.key_head(head);
        let [greatest, shares] = known.statistics[panel][head];
        let dots = known.dots[panel][head];
        let back = self.heads.of(known.back.panel(panel), head);
        for keys in self.batch.reach(panel).0..=panel {
            let mut tile = self.scores(panel, keys, head);
            let through = transposed_product(self.heads.of(self.v.panel(keys), key_head), back, self.heads.size);
            for (scores, through) in tile.iter_mut().zip(&through) {
                for (query, score) in scores.iter_mut().enumerate() {
                    let probability = probability(*score, greatest[query]) * shares[query];
                    *score = probability * (through[query] - dots[query]) * self.heads.scale();
                }
            }
            let k = Operand::panel(self.heads.of(self.k.panel(keys), key_head), self.heads.size);
            multiply(k, (tile.as_flattened(), LANES * LANES), (out, self.heads.size * LANES), Mode::Sum);
        }
    }

    /// Adds up the gradients of one head of one panel of keys and values, over all queries that look at them.
    fn key_gradient(&self, known: &Known<'_>, panel: usize, key_head: usize, (k_out, v_out): (&mut [f32], &mut [f32])) {
        let group = self.heads.queries / self.heads.keys;
        let k = self.heads.of(self.k.panel(panel), key_head);
        let v = self.heads.of(self.v.panel(panel), key_head);
        let out_len = self.heads.size * LANES;
        for head in key_head * group..(key_head + 1) * group {
            for queries in panel..=self.batch.reach(panel).1 {
                let q = self.heads.of(self.q.panel(queries), head);
                let back = self.heads.of(known.back.panel(queries), head);
                let [greatest, shares] = known.statistics[queries][head];
                let dots = known.dots[queries][head];
                // Rows are queries here, lanes are keys.
                let mut probabilities = transposed_product(q, k, self.heads.size);
                let mut scores = transposed_product(back, v, self.heads.size);
                for query in 0..LANES {
                    for key in 0..LANES {
                        let masked =
                            self.masked(probabilities[query][key], queries * LANES + query, panel * LANES + key);
                        let probability = probability(masked, greatest[query]) * shares[query];
                        probabilities[query][key] = probability;
                        scores[query][key] = probability * (scores[query][key] - dots[query]) * self.heads.scale();
                    }
                }
                let (q, back) = (Operand::panel(q, self.heads.size), Operand::panel(back, self.heads.size));
                multiply(back, (probabilities.as_flattened(), LANES * LANES), (v_out, out_len), Mode::Sum);
                multiply(q, (scores.as_flattened(), LANES * LANES), (k_out, out_len), Mode::Sum);
            }
        }
    }
}

/// What the backward pass knows of the forward pass.
struct Known<'a> {
    back: &'a Panels,
    statistics: &'a Statistics,
    /// For each query the product of its output and that output's gradient.
    dots: &'a [Vec<[f32; LANES]>],
}

/// Returns e to the score above the greatest; 0 for a score of minus infinity.
fn probability(score: f32, greatest: f32) -> f32 {
    if score == f32::NEG_INFINITY { 0.0 } else { exp(score - greatest) }
}

/// Returns for each token of `left` (rows) and of `right` (lanes) the product over the features.
fn transposed_product(left: &[f32], right: &[f32], features: usize) -> Tile {
    let mut tile = [[0.0; LANES]; LANES];
    let out = (tile.as_flattened_mut(), LANES * LANES);
    multiply(Operand::panel_transposed(left, features), (right, features * LANES), out, Mode::Fresh);
    tile
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
