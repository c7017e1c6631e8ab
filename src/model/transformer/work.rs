//! How many floating-point operations a gradient takes, and how fast the products alone are: for measurements.

use super::super::kernel::{Mode, Panels, Workspace};
use super::super::lora::Adapter;
use super::super::weights::Matrix;
use super::products::{products, summand};
use super::{Activations, Batch, Transformer};

impl Transformer {
    /// Returns the floating-point operations of [`Transformer::loss_and_gradient`], as they are done: a multiplication and an
    /// addition are two; attention counts pairs of tokens that see each other; blocks that are computed again count
    /// again; the output projection counts trained tokens only.
    pub fn operations(&self, adapter: &Adapter, batch: &Batch, activations: Activations) -> f64 {
        let tokens = batch.tokens() as f64;
        let first = adapter.modules().first().map_or(self.blocks.len(), |module| module.layer);
        let again =
            self.blocks.len().saturating_sub(first.max(self.kept_blocks(Some(adapter), activations, batch.tokens())));
        let mut sum = 4.0 * (self.head().rows() * self.head().columns() * batch.trained_tokens()) as f64;
        for (layer, block) in self.blocks.iter().enumerate() {
            let (weights, heads) = block.work();
            // Two products of a query head with a key head and a value head.
            let attention = 4.0 * (heads.queries * heads.size * batch.pairs()) as f64;
            let low: usize = adapter
                .modules()
                .iter()
                .filter(|module| module.layer == layer)
                .map(|m| m.a().len() + m.b().len())
                .sum();
            let forward = tokens * 2.0 * (weights + low) as f64 + attention;
            // Each product of attention has two in the backward pass, and each small matrix a gradient of its own.
            let backward = tokens * 2.0 * (weights + 2 * low) as f64 + 2.0 * attention;
            sum += forward + if layer >= first { backward } else { 0.0 };
        }
        sum + again as f64 * self.blocks.last().map_or(0.0, |block| tokens * 2.0 * block.work().0 as f64)
    }

    /// Multiplies so many tokens with each frozen matrix of the first `layers` blocks, there and back, and, for `trained` of
    /// them, with the output projection: the products of a gradient and nothing else. Returns the floating-point
    /// operations.
    pub fn products(&self, layers: usize, tokens: usize, trained: usize) -> f64 {
        let mut sum = 0.0;
        for matrix in self.blocks.iter().take(layers).flat_map(super::block::Block::matrices) {
            sum += there_and_back(&self.workspace, matrix, tokens);
        }
        sum + there_and_back(&self.workspace, self.head(), trained)
    }
}

/// The memory comes from a workspace and is written once, so that next to nothing but the products takes time.
fn there_and_back(workspace: &Workspace, matrix: &Matrix, tokens: usize) -> f64 {
    let mut x = Panels::zeros_in(workspace, matrix.columns(), tokens);
    let mut out = x.like(matrix.rows());
    matrix.for_each_rows(workspace, |tile| {
        products(&summand(tile.operand(), &x), Vec::new(), &mut out, tile.first, Mode::Fresh);
    });
    matrix.for_each_columns(workspace, |tile| {
        products(&summand(tile.transposed(), &out), Vec::new(), &mut x, tile.first, Mode::Fresh);
    });
    4.0 * (matrix.rows() * matrix.columns() * tokens) as f64
}
