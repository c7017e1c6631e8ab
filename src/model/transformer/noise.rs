//! Noise on the embeddings against learning by heart (NEFTune; Jain et al., 2023).

use super::super::lora::random;
use super::Batch;

/// Uniform noise on every number of a token's embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// The noise lies between ± `alpha / √(tokens of the row · features)`; 5 to 15 is usual.
    pub alpha: f32,
    /// What it is drawn from, together with the token and the feature.
    pub seed: u64,
}

impl Noise {
    /// Returns the embedding of the batch's token `token` with its noise, which depends on nothing but the seed, the
    /// token's identity and its row's length.
    pub(super) fn added(&self, embedding: &[f32], batch: &Batch, token: usize) -> Vec<f32> {
        let bound = self.alpha / ((batch.row_length(token) * embedding.len()) as f32).sqrt();
        let stream = random::mix(&[self.seed, random::name("embedding"), batch.identity(token)]);
        let drawn = (0_u64..).map(|feature| 2.0 * random::unit(random::mix(&[stream, feature])) - 1.0);
        embedding.iter().zip(drawn).map(|(number, drawn)| number + drawn * bound).collect()
    }
}
