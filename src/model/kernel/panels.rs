//! Activations by panels of sixteen tokens.

use rayon::prelude::*;

use super::{Numbers, Workspace};

/// Tokens of a panel, side by side in vector registers.
pub(in crate::model) const LANES: usize = 16;

/// A matrix of features × tokens: panel after panel, in each feature after feature, in each sixteen tokens.
///
/// Tokens beyond the last are zero and stay without meaning.
#[derive(Clone, Debug, Default)]
pub(in crate::model) struct Panels {
    features: usize,
    data: Numbers,
}

impl Panels {
    /// Makes zeros for so many tokens, in a workspace of their own.
    pub(in crate::model) fn zeros(features: usize, tokens: usize) -> Self {
        Self::zeros_in(&Workspace::default(), features, tokens)
    }

    /// Makes zeros for so many tokens.
    pub(in crate::model) fn zeros_in(workspace: &Workspace, features: usize, tokens: usize) -> Self {
        Self { features, data: Numbers::zeros(workspace, features * tokens.next_multiple_of(LANES)) }
    }

    /// Takes panels for as many tokens, from the same workspace. The numbers mean nothing: who takes them writes them all
    /// before one is read.
    pub(in crate::model) fn like(&self, features: usize) -> Self {
        Self { features, data: Numbers::unset(self.workspace(), self.panels() * features * LANES) }
    }

    /// Returns the first panels.
    pub(in crate::model) fn first(&self, panels: usize) -> Self {
        let mut data = Numbers::unset(self.workspace(), panels * self.panel_len());
        data.copy_from_slice(&self.data[..panels * self.panel_len()]);
        Self { features: self.features, data }
    }

    /// Returns these panels with others of as many features behind them.
    pub(in crate::model) fn followed_by(&self, others: &Self) -> Self {
        let mut data = Numbers::unset(self.workspace(), self.data.len() + others.data.len());
        data[..self.data.len()].copy_from_slice(&self.data);
        data[self.data.len()..].copy_from_slice(&others.data);
        Self { features: self.features, data }
    }

    /// Returns where the numbers came from.
    pub(in crate::model) fn workspace(&self) -> &Workspace {
        self.data.workspace()
    }

    /// Returns the number of features.
    pub(in crate::model) fn features(&self) -> usize {
        self.features
    }

    /// Returns the number of panels.
    pub(in crate::model) fn panels(&self) -> usize {
        self.data.len() / self.panel_len()
    }

    /// Returns the numbers of a panel.
    pub(in crate::model) fn panel_len(&self) -> usize {
        self.features * LANES
    }

    /// Returns one panel.
    pub(in crate::model) fn panel(&self, panel: usize) -> &[f32] {
        &self.data[panel * self.panel_len()..][..self.panel_len()]
    }

    /// Returns all numbers.
    pub(in crate::model) fn data(&self) -> &[f32] {
        &self.data
    }

    /// Returns all numbers, to be written.
    pub(in crate::model) fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Writes one token's features.
    pub(in crate::model) fn set_token(&mut self, token: usize, values: &[f32]) {
        let start = token / LANES * self.panel_len() + token % LANES;
        for (feature, value) in values.iter().enumerate() {
            self.data[start + feature * LANES] = *value;
        }
    }

    /// Writes one token's features to `values`.
    pub(in crate::model) fn token(&self, token: usize, values: &mut [f32]) {
        let start = token / LANES * self.panel_len() + token % LANES;
        for (feature, value) in values.iter_mut().enumerate() {
            *value = self.data[start + feature * LANES];
        }
    }

    /// Returns the tokens of `indices` side by side, in their order.
    pub(in crate::model) fn gather(&self, indices: &[usize]) -> Self {
        let mut gathered = Self::zeros_in(self.workspace(), self.features, indices.len());
        let panel_len = self.panel_len();
        for (to, from) in indices.iter().enumerate() {
            for feature in 0..self.features {
                gathered.data[to / LANES * panel_len + feature * LANES + to % LANES] =
                    self.data[from / LANES * panel_len + feature * LANES + from % LANES];
            }
        }
        gathered
    }

    /// Returns panels of `tokens` tokens, zero but for those of `indices`, which add up: the reverse of
    /// [`Panels::gather`].
    pub(in crate::model) fn scatter(&self, indices: &[usize], tokens: usize) -> Self {
        let mut scattered = Self::zeros_in(self.workspace(), self.features, tokens);
        let panel_len = self.panel_len();
        for (from, to) in indices.iter().enumerate() {
            for feature in 0..self.features {
                scattered.data[to / LANES * panel_len + feature * LANES + to % LANES] +=
                    self.data[from / LANES * panel_len + feature * LANES + from % LANES];
            }
        }
        scattered
    }

    /// Adds other panels of the same shape.
    pub(in crate::model) fn add(&mut self, other: &Self) {
        let len = self.panel_len();
        self.data.par_chunks_mut(len).zip(other.data.par_chunks(len)).for_each(|(sums, values)| {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        });
    }
}
