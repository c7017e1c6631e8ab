//! A text that grows by a token at a time, as an answer does.
//!
//! The keys and values of its whole panels of tokens are kept; only the last panel is computed again for each token, since
//! a panel takes the time of one token. The numbers are those of the whole text, bit by bit.

use super::super::kernel::{LANES, Panels};
use super::super::lora::Adapter;
use super::super::rows::TokenRow;
use super::super::{ModelError, Result};
use super::{Batch, Pass, Portable, Transformer, head, norm, rope};

/// A text on the CPU.
#[derive(Debug)]
pub struct Text<'a> {
    model: &'a Transformer,
    adapter: Option<&'a Adapter>,
    /// The lengths of rows that DoRA divides by, module by module.
    norms: Vec<Vec<f32>>,
    row: TokenRow,
    /// Block by block.
    earlier: Vec<Earlier>,
}

/// A block's keys and values of the panels that are not computed again.
#[derive(Debug, Default)]
pub(super) struct Earlier(Option<[Panels; 2]>);

impl Earlier {
    /// Returns how many panels there are.
    pub(super) fn panels(&self) -> usize {
        self.0.as_ref().map_or(0, |[keys, _]| keys.panels())
    }

    /// Returns these keys and values with later ones behind them.
    pub(super) fn with(&self, later: [&Panels; 2]) -> [Panels; 2] {
        match &self.0 {
            None => later.map(Panels::clone),
            Some([keys, values]) => [keys.followed_by(later[0]), values.followed_by(later[1])],
        }
    }

    /// Keeps all panels but the last: a token may join it, and the token before is asked for what follows.
    pub(super) fn keep(&mut self, all: &[Panels; 2]) {
        let whole = all[0].panels() - 1;
        if whole > self.panels() {
            self.0 = Some([all[0].first(whole), all[1].first(whole)]);
        }
    }
}

impl<'a> Text<'a> {
    pub(super) fn new(model: &'a Transformer, adapter: Option<&'a Adapter>, ids: &[u32]) -> Self {
        let norms = adapter.map(|adapter| model.norms(adapter)).unwrap_or_default();
        let earlier = model.blocks.iter().map(|_| Earlier::default()).collect();
        Self { model, adapter, norms, row: untrained(ids), earlier }
    }

    fn logits(&mut self) -> Result<Vec<f32>> {
        let batch = Batch::new([(0, &self.row)]);
        let first = self.earlier.first().map_or(0, Earlier::panels) * LANES;
        let tokens = first..batch.tokens();
        let Some(last) = tokens.len().checked_sub(1) else { return Ok(Vec::new()) };
        let mut x = self.model.embed(&batch, tokens.clone(), None)?;
        let pass = Pass {
            adapter: self.adapter,
            places: None,
            norms: std::mem::take(&mut self.norms),
            batch: &batch,
            dropout: None,
            rotation: rope::Rotation::new(&self.model.frequencies, &batch, tokens),
            epsilon: self.model.epsilon,
        };
        for (block, earlier) in self.model.blocks.iter().zip(&mut self.earlier) {
            x = block.forward_after(&pass, x, Some(earlier)).1;
        }
        self.norms = pass.norms;
        let last = norm::forward(&x.gather(&[last]), &self.model.norm, self.model.epsilon).0;
        let mut found = Vec::new();
        head::each_logits(self.model.head(), &last, 1, |_, logits| {
            found = logits.to_vec();
            Ok::<_, ModelError>(())
        })?;
        Ok(found)
    }
}

/// A text where its model is computed.
#[derive(Debug)]
pub enum GrowingText<'a> {
    /// On the CPU.
    Fused(Text<'a>),
    /// On a GPU, which computes a few hundred tokens in the time of one: the whole text each time.
    Portable {
        /// The model.
        model: &'a Portable,
        /// What is added to it.
        adapter: Option<&'a Adapter>,
        /// The text's tokens.
        row: TokenRow,
    },
}

impl<'a> GrowingText<'a> {
    pub(super) fn portable(model: &'a Portable, adapter: Option<&'a Adapter>, ids: &[u32]) -> Self {
        Self::Portable { model, adapter, row: untrained(ids) }
    }

    /// Returns the logits after the last token; none for a text without tokens.
    ///
    /// # Errors
    /// A token outside the vocabulary; a device that fails.
    pub fn logits(&mut self) -> Result<Vec<f32>> {
        match self {
            Self::Fused(text) => text.logits(),
            Self::Portable { model, adapter, row } => model.last_logits(*adapter, &Batch::new([(0, &*row)])),
        }
    }

    /// Adds a token.
    pub fn push(&mut self, id: u32) {
        let row = match self {
            Self::Fused(text) => &mut text.row,
            Self::Portable { row, .. } => row,
        };
        row.ids.push(id);
        row.trained.push(false);
    }
}

fn untrained(ids: &[u32]) -> TokenRow {
    TokenRow { ids: ids.to_vec(), trained: vec![false; ids.len()] }
}
