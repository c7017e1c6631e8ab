//! Hyperparameters of a decoder of the Llama family, and the frequencies of its rotary embedding.
//!
//! They come from a GGUF's metadata or from `config.json`; what is read is checked here, so that the transformer can
//! rely on it. All architectures here are Llama's with small additions: biases in Qwen2, normalised heads in Qwen3.

use std::f64::consts::TAU;

use super::{ModelError, Result};

/// The architectures that are trained, for messages.
pub const KNOWN_ARCHITECTURES: &str = "llama (also SmolLM2 and Mistral), qwen2 (also Qwen2.5), qwen3";

/// The rotary scalings that are computed, for messages.
pub const KNOWN_ROPE_SCALINGS: &str = "none (`default`; `dynamic` within the model's context), `linear`, `llama3`";

/// What a model computes beside Llama's own steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM2, Mistral.
    Llama,
    /// Qwen2 and Qwen2.5: queries, keys and values have biases.
    Qwen2,
    /// Qwen3: each head of queries and keys is normalised before it is turned.
    Qwen3,
}

/// Which projections add a frozen bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Biases {
    /// Queries, keys and values.
    pub attention_inputs: bool,
    /// Attention's output.
    pub attention_output: bool,
    /// All three of the feed-forward block.
    pub feed_forward: bool,
}

impl Architecture {
    /// Returns the architecture by `model_type` of `config.json`.
    pub fn from_model_type(name: &str) -> Option<Self> {
        match name {
            "llama" | "mistral" => Some(Self::Llama),
            "qwen2" => Some(Self::Qwen2),
            "qwen3" => Some(Self::Qwen3),
            _ => None,
        }
    }

    /// Returns the architecture by `general.architecture` of a GGUF.
    pub fn from_gguf(name: &str) -> Option<Self> {
        [Self::Llama, Self::Qwen2, Self::Qwen3].into_iter().find(|known| known.gguf_name() == name)
    }

    /// Returns the name in a GGUF, with which its keys begin, too.
    pub fn gguf_name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// Returns whether a GGUF has a head's rows of queries and keys in pairs, not half after half.
    pub fn has_paired_rows(self) -> bool {
        self == Self::Llama
    }
}

/// Hyperparameters of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// What is computed.
    pub architecture: Architecture,
    /// Which projections add a bias.
    pub biases: Biases,
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

impl ModelConfig {
    /// Returns whether the heads of queries and keys are normalised.
    pub fn has_head_norms(&self) -> bool {
        self.architecture == Architecture::Qwen3
    }

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
            && self.rope_frequencies.len() == self.head_dim / 2;
        if sane {
            return self.with_sane_numbers();
        }
        let what = format!(
            "impossible sizes (hidden {}, intermediate {}, layers {}, heads {}, key-value heads {}, head size {})",
            self.hidden, self.intermediate, self.layers, self.heads, self.kv_heads, self.head_dim
        );
        Err(ModelError::Unsupported { what })
    }

    /// Refuses numbers that would make every result infinite or none.
    fn with_sane_numbers(self) -> Result<Self> {
        let is_angle = |frequency: &f64| frequency.is_finite() && *frequency > 0.0;
        let what = if !(self.rms_epsilon.is_finite() && self.rms_epsilon >= 0.0) {
            format!("a norm's epsilon of {}", self.rms_epsilon)
        } else if let Some(frequency) = self.rope_frequencies.iter().find(|frequency| !is_angle(frequency)) {
            format!("a rotary embedding with an angle of {frequency}: its base or its scaling is no number above 0")
        } else {
            return Ok(self);
        };
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
/// Of a head that no model has, only the first are returned: [`ModelConfig`] is refused then.
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
