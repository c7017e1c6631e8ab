//! Rows laid end to end.

use super::super::kernel::LANES;
use super::super::rows::TokenRow;

/// Rows laid end to end, each attending only to itself, with positions from 0.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    ids: Vec<u32>,
    /// The first token of each token's row.
    starts: Vec<usize>,
    /// The end of each token's row.
    ends: Vec<usize>,
    /// The token that each token's prediction is trained on.
    targets: Vec<Option<u32>>,
    /// What tells a token from all others of the run, for dropout.
    identities: Vec<u64>,
}

impl Batch {
    /// Lays rows end to end; each comes with a number that tells its appearance in training from all others.
    pub fn new<'r>(rows: impl IntoIterator<Item = (u64, &'r TokenRow)>) -> Self {
        let mut batch = Self::default();
        for (identity, row) in rows {
            let (start, end) = (batch.ids.len(), batch.ids.len() + row.ids.len());
            batch.ids.extend_from_slice(&row.ids);
            batch.starts.resize(end, start);
            batch.ends.resize(end, end);
            let next = row.ids.iter().zip(&row.trained).skip(1);
            batch.targets.extend(next.map(|(id, trained)| trained.then_some(*id)));
            batch.targets.resize(end, None);
            batch.identities.extend((0..row.ids.len() as u64).map(|token| identity << 32 | token));
        }
        batch
    }

    /// Returns the number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Returns the number of tokens whose prediction is trained.
    pub fn trained_tokens(&self) -> usize {
        self.targets.iter().flatten().count()
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Returns the trained targets and the positions that predict them.
    pub(super) fn targets(&self) -> (Vec<u32>, Vec<usize>) {
        let found = self.targets.iter().enumerate();
        found.filter_map(|(position, target)| target.map(|target| (target, position))).unzip()
    }

    /// Returns the first token that token `token` attends to; a token behind the last attends to itself.
    pub(super) fn start(&self, token: usize) -> usize {
        self.starts.get(token).copied().unwrap_or(token)
    }

    /// Returns the token's position in its row.
    pub(super) fn position(&self, token: usize) -> usize {
        token - self.start(token)
    }

    /// Returns the number of tokens of the token's row.
    pub(super) fn row_length(&self, token: usize) -> usize {
        self.ends[token] - self.starts[token]
    }

    /// Returns what tells the token from all others.
    pub(super) fn identity(&self, token: usize) -> u64 {
        self.identities.get(token).copied().unwrap_or(u64::MAX)
    }

    /// Returns the first and the last panel that tokens of `panel` share a row with.
    pub(super) fn reach(&self, panel: usize) -> (usize, usize) {
        let last = (panel * LANES + LANES).min(self.tokens().max(1)) - 1;
        let end = self.ends.get(last).copied().unwrap_or(last + 1);
        (self.start(panel * LANES) / LANES, (end - 1) / LANES)
    }
}
