//! Hyperparameters of a Llama-family model, and the frequencies of its rotary embedding.
//!
//! They come from a GGUF's metadata or from `config.json`; what is read is checked here, so that the transformer can
//! rely on it.

use std::f64::consts::TAU;

use super::{ModelError, Result};

/// The architectures that are trained, for messages.
pub const KNOWN_ARCHITECTURES: &str = "llama (also SmolLM2 and Mistral)";

/// Hyperparameters of a Llama-family model.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Features of the residual stream.
    pub hidden: usize,
    /// Features inside the feed-forward block.
    pub intermediate: usize,
    /// Blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Features of one head.
    pub head_dim: usize,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// The longest sequence, in tokens, that the model attends over as a whole.
    pub context: usize,
    /// Added to the mean square before its root is taken.
    pub rms_epsilon: f32,
    /// Whether the output projection is the embedding table.
    pub tied: bool,
    /// Angle in radians that a position adds, for each pair of features of a head: `head_dim / 2` numbers.
    pub rope_frequencies: Vec<f64>,
}

/// How a model stretches its rotary embedding over longer sequences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3: low frequencies divided by the factor, high ones kept, a ramp between.
    Llama3 {
        /// The factor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low` are scaled.
        low: f64,
        /// Wavelengths below `original_context / high` are kept.
        high: f64,
        /// The context that the model was first trained with, in tokens.
        original_context: f64,
    },
}

/// More layers, heads or features of a head has no model; so the number of all weights fits into 64 bits.
const LARGEST_COUNT: usize = 1 << 12;

impl LlamaConfig {
    /// Refuses sizes that cannot be a model's.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] that names the sizes.
    pub(super) fn checked(self) -> Result<Self> {
        let widths = [self.hidden, self.intermediate];
        let counts = [self.layers, self.heads, self.kv_heads, self.head_dim];
        let sane = widths.iter().all(|size| (1..=1 << 20).contains(size))
            && counts.iter().all(|size| (1..=LARGEST_COUNT).contains(size))
            && (1..=1 << 24).contains(&self.vocabulary)
            && self.context > 0
            && self.heads.is_multiple_of(self.kv_heads)
            && self.head_dim.is_multiple_of(2)
            && self.rope_frequencies.len() == self.head_dim / 2
            && self.rms_epsilon.is_finite();
        if sane {
            return Ok(self);
        }
        let what = format!(
            "impossible sizes (hidden {}, intermediate {}, layers {}, heads {}, key-value heads {}, head size {})",
            self.hidden, self.intermediate, self.layers, self.heads, self.kv_heads, self.head_dim
        );
        Err(ModelError::Unsupported { what })
    }

    /// Returns the number of weights in the blocks' matrices.
    pub fn block_weights(&self) -> usize {
        let attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads);
        self.layers * (attention + 3 * self.hidden * self.intermediate)
    }
}

/// Returns the angle that a position adds for each pair of features.
///
/// The ramp of Llama 3 is that of `convert_hf_to_gguf.py` and of the reference implementation in transformers.
///
/// Of a head that no model has, only the first are returned: [`LlamaConfig`] is refused then.
pub fn rope_frequencies(head_dim: usize, base: f64, scaling: RopeScaling) -> Vec<f64> {
    (0..head_dim.min(LARGEST_COUNT) / 2)
        .map(|pair| base.powf(-2.0 * pair as f64 / head_dim as f64))
        .map(|frequency| match scaling {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 { factor, low, high, original_context } => {
                let wavelength = TAU / frequency;
                if wavelength < original_context / high {
                    frequency
                } else if wavelength > original_context / low {
                    frequency / factor
                } else {
                    let smooth = (original_context / wavelength - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_3_keeps_high_frequencies_and_divides_low_ones() {
        let plain = rope_frequencies(64, 500_000.0, RopeScaling::None);
        let scaling = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original_context: 8192.0 };
        let scaled = rope_frequencies(64, 500_000.0, scaling);
        assert_eq!(plain[0].to_bits(), scaled[0].to_bits());
        assert!((plain[31] / scaled[31] - 8.0).abs() < 1e-12);
        assert!(plain.iter().zip(&scaled).all(|(plain, scaled)| (1.0..=8.000_001).contains(&(plain / scaled))));
    }
}
