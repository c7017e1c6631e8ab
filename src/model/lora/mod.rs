//! A LoRA adapter: for each trained projection two small matrices `A` and `B`, whose product is added to the frozen one
//! (Hu et al., 2021), as `scale · B A` with `scale = alpha / rank`.
//!
//! All parameters are one flat vector, so that clipping, the optimiser and checkpoints are loops over numbers. On disk
//! an adapter has PEFT's form.

mod peft;
pub(crate) mod random;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::config::ModelConfig;

/// A projection of a block that an adapter can be trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
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

/// One trained module and the place of its matrices among the adapter's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// The block.
    pub layer: usize,
    /// Which of its projections.
    pub projection: Projection,
    /// Numbers that go in.
    pub inputs: usize,
    /// Numbers that come out.
    pub outputs: usize,
    start: usize,
    rank: usize,
}

impl Module {
    /// Returns the place of `A`, `rank × inputs` by rows.
    pub fn a(&self) -> Range<usize> {
        self.start..self.start + self.rank * self.inputs
    }

    /// Returns the place of `B`, `outputs × rank` by rows.
    pub fn b(&self) -> Range<usize> {
        let start = self.start + self.rank * self.inputs;
        start..start + self.rank * self.outputs
    }

    /// Returns the module's name in transformers, such as `model.layers.0.self_attn.q_proj`.
    pub fn name(&self) -> String {
        format!("model.layers.{}.{}", self.layer, self.projection.path())
    }
}

/// A LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    rank: usize,
    alpha: f64,
    modules: Vec<Module>,
    parameters: Vec<f32>,
}

impl Adapter {
    /// Makes a new adapter as PEFT does: `A` uniform between ± 1/√inputs, `B` zero, so that it changes nothing yet.
    ///
    /// Each number of `A` is drawn from `seed`, the module's name and its place alone.
    pub fn new(config: &ModelConfig, targets: &[Projection], rank: usize, alpha: f64, seed: u64) -> Self {
        let mut adapter = Self::zeros(config, targets, rank, alpha);
        for module in adapter.modules.clone() {
            let stream = random::mix(&[seed, random::name(&module.name())]);
            // Kaiming's uniform with a = √5 has the bound √(6 / ((1 + 5) · inputs)).
            let bound = 1.0 / (module.inputs as f32).sqrt();
            for (place, parameter) in (0_u64..).zip(&mut adapter.parameters[module.a()]) {
                *parameter = (2.0 * random::unit(random::mix(&[stream, place])) - 1.0) * bound;
            }
        }
        adapter
    }

    /// Makes an adapter of zeros.
    fn zeros(config: &ModelConfig, targets: &[Projection], rank: usize, alpha: f64) -> Self {
        let mut modules = Vec::new();
        let mut start = 0;
        for layer in 0..config.layers {
            for projection in Projection::ALL {
                if targets.contains(&projection) {
                    let (inputs, outputs) = projection.shape(config);
                    modules.push(Module { layer, projection, inputs, outputs, start, rank });
                    start += rank * (inputs + outputs);
                }
            }
        }
        Self { rank, alpha, modules, parameters: vec![0.0; start] }
    }

    /// Returns the rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns what `B A` is multiplied with.
    pub fn scale(&self) -> f32 {
        (self.alpha / self.rank as f64) as f32
    }

    /// Returns the trained modules, block after block.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Returns a module, if it is trained.
    pub fn module(&self, layer: usize, projection: Projection) -> Option<&Module> {
        let place = self.modules.binary_search_by_key(&(layer, projection), |module| (module.layer, module.projection));
        place.ok().map(|place| &self.modules[place])
    }

    /// Returns all parameters.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Returns all parameters, to be changed.
    pub fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }
}

#[cfg(test)]
mod tests;
