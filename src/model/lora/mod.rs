//! A LoRA adapter: for each trained projection two small matrices `A` and `B`, whose product is added to the frozen one
//! (Hu et al., 2021), as `scale · B A` with `scale = alpha / rank`.
//!
//! All parameters are one flat vector, so that clipping, the optimiser and checkpoints are loops over numbers. On disk
//! an adapter has PEFT's form.
//!
//! ```text
//! LoraConfig ─→ modules of the base ─→ Adapter (init: Kaiming, Gaussian, PiSSA) ─→ training ─→ PEFT's two files
//! PEFT's two files ─→ PeftAdapter ─┬─→ Adapter
//!                                  └─→ merge into the base
//! ```

mod config;
mod error;
mod init;
mod magnitude;
mod peft;
pub(crate) mod random;
mod svd;
mod targets;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::config::ModelConfig;
use super::optimizer::Part;

pub use config::{Init, LoraConfig, name_help};
pub use error::LoraError;
pub(super) use magnitude::{LowRank, length, row_norms};
pub use peft::{ADAPTER_CONFIG, ADAPTER_TENSORS, PeftAdapter, PeftModule};
pub use targets::TargetModules;

/// A projection of a block that an adapter can be trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Projection {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Attention's output.
    O,
    /// The feed-forward block's gate.
    Gate,
    /// The feed-forward block's way up.
    Up,
    /// The feed-forward block's way down.
    Down,
}

impl Projection {
    /// All, in the order in which a block applies them.
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// Returns the module's name below its block in transformers.
    pub fn path(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// Returns the module's own name, as PEFT's `target_modules` has it.
    pub fn name(self) -> &'static str {
        self.path().rsplit('.').next().unwrap_or_default()
    }

    /// Returns the numbers of its inputs and of its outputs.
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        match self {
            Self::Q => (config.hidden, queries),
            Self::K | Self::V => (config.hidden, keys),
            Self::O => (queries, config.hidden),
            Self::Gate | Self::Up => (config.hidden, config.intermediate),
            Self::Down => (config.intermediate, config.hidden),
        }
    }

    /// Returns whether the frozen projection adds a bias.
    pub fn has_bias(self, config: &ModelConfig) -> bool {
        match self {
            Self::Q | Self::K | Self::V => config.biases.attention_inputs,
            Self::O => config.biases.attention_output,
            Self::Gate | Self::Up | Self::Down => config.biases.feed_forward,
        }
    }
}

/// Returns a module's path in transformers, such as `model.layers.0.self_attn.q_proj`.
fn path(layer: usize, projection: Projection) -> String {
    format!("model.layers.{layer}.{}", projection.path())
}

/// One trained module and the place of its numbers among the adapter's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Module {
    /// The block.
    pub layer: usize,
    /// Which of its projections.
    pub projection: Projection,
    /// Numbers that go in.
    pub inputs: usize,
    /// Numbers that come out.
    pub outputs: usize,
    rank: usize,
    alpha: f64,
    rslora: bool,
    dora: bool,
    start: usize,
}

impl Module {
    /// Returns the rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns what `B A` is multiplied with.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f64;
        (self.alpha / if self.rslora { rank.sqrt() } else { rank }) as f32
    }

    /// Returns the place of `A`, `rank × inputs` by rows.
    pub fn a(&self) -> Range<usize> {
        self.start..self.start + self.rank * self.inputs
    }

    /// Returns the place of `B`, `outputs × rank` by rows.
    pub fn b(&self) -> Range<usize> {
        let start = self.a().end;
        start..start + self.rank * self.outputs
    }

    /// Returns the place of DoRA's magnitudes, one for each output.
    pub fn magnitude(&self) -> Option<Range<usize>> {
        let start = self.b().end;
        self.dora.then_some(start..start + self.outputs)
    }

    /// Returns the features of a token that training keeps of the module for its backward pass: what `A` gives, and with
    /// DoRA the output before it is scaled.
    pub fn kept_features(&self) -> usize {
        self.rank + self.magnitude().map_or(0, |magnitude| magnitude.len())
    }

    /// Returns how many numbers are trained.
    pub fn numbers(&self) -> usize {
        self.end() - self.start
    }

    /// Returns the end of the module's numbers.
    fn end(&self) -> usize {
        self.magnitude().map_or(self.b().end, |magnitude| magnitude.end)
    }

    /// Returns the module's path in transformers, such as `model.layers.0.self_attn.q_proj`.
    pub fn name(&self) -> String {
        path(self.layer, self.projection)
    }
}

/// A LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    modules: Vec<Module>,
    parameters: Vec<f32>,
    /// PiSSA: what the parameters started from. The frozen weights lack `scale · B A` of it.
    initial: Option<Vec<f32>>,
    /// Blocks of the base model.
    layers: usize,
}

impl Adapter {
    /// Makes an adapter of zeros, which changes nothing; not of DoRA, whose magnitudes are no zeros.
    ///
    /// # Errors
    /// As [`LoraConfig::modules`].
    pub fn zero(base: &ModelConfig, config: &LoraConfig) -> Result<Self, LoraError> {
        Ok(Self::zeros(base, config.modules(base)?))
    }

    /// Makes an adapter of zeros.
    fn zeros(base: &ModelConfig, modules: Vec<Module>) -> Self {
        let parameters = vec![0.0; modules.last().map_or(0, Module::end)];
        Self { modules, parameters, initial: None, layers: base.layers }
    }

    /// Returns the trained modules, block after block.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Returns the index of a module among [`Adapter::modules`], if it is trained.
    pub fn index(&self, layer: usize, projection: Projection) -> Option<usize> {
        self.modules.binary_search_by_key(&(layer, projection), |module| (module.layer, module.projection)).ok()
    }

    /// Returns whether what is written holds what the adapter began with, as PiSSA's does.
    pub fn holds_its_start(&self) -> bool {
        self.initial.is_some()
    }

    /// Returns all parameters.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Returns all parameters, to be changed.
    pub fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }

    /// Returns a module's `A` and `B` with their scale.
    pub(super) fn low_rank(&self, module: &Module) -> LowRank<'_> {
        LowRank::new(module, &self.parameters)
    }

    /// Returns the pair that the frozen weight of a module lacks, if it does.
    pub(super) fn removed(&self, module: &Module) -> Option<LowRank<'_>> {
        Some(LowRank::new(module, self.initial.as_ref()?))
    }

    /// Returns the parameters in parts, to be changed by a step: the learning rate of `B` and of DoRA's magnitudes counts
    /// `ratio` times that of `A` (LoRA+; Hayou et al., 2024; grouped as PEFT's `create_loraplus_optimizer` does). All decay,
    /// the magnitudes as well.
    pub fn parts(&mut self, ratio: f64) -> Vec<Part<'_>> {
        let lengths = self.modules.iter().map(|module| [(module.a(), 1.0), (module.b().start..module.end(), ratio)]);
        let mut rest = &mut self.parameters[..];
        let mut parts = Vec::with_capacity(2 * self.modules.len());
        for (place, rate) in lengths.flatten() {
            let (numbers, more) = rest.split_at_mut(place.len());
            rest = more;
            parts.push(Part { numbers, rate, decays: true });
        }
        parts
    }
}

#[cfg(test)]
mod tests;
