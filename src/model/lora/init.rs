//! What an adapter starts from.

use rayon::prelude::*;

use super::super::config::ModelConfig;
use super::super::weights::Matrix;
use super::svd::Truncated;
use super::{Adapter, Init, LoraConfig, LoraError, Module, Projection, random, row_norms};

impl Adapter {
    /// Makes a new adapter as PEFT does, which changes nothing yet. `weight` returns the frozen weight of a block's
    /// projection; it is asked by PiSSA and DoRA alone.
    ///
    /// Each number is drawn from `seed`, the module's name and its place alone.
    ///
    /// # Errors
    /// As [`LoraConfig::modules`].
    pub fn new<'w>(
        base: &ModelConfig,
        config: &LoraConfig,
        seed: u64,
        weight: impl Fn(usize, Projection) -> &'w Matrix + Sync,
    ) -> Result<Self, LoraError> {
        let mut adapter = Self::zeros(base, config.modules(base)?);
        let modules = adapter.modules.clone();
        let weight = |module: &Module| weight(module.layer, module.projection);
        match config.init {
            Init::Kaiming => adapter.draw(seed, |module, place| {
                // Kaiming's uniform with a = √5 has the bound √(6 / ((1 + 5) · inputs)).
                (2.0 * random::unit(place) - 1.0) / (module.inputs as f32).sqrt()
            }),
            Init::Gaussian => {
                adapter.draw(seed, |module, place| random::normal(place) / module.rank as f32);
            }
            Init::Pissa { iterations } => {
                let pairs: Vec<_> =
                    modules.par_iter().map(|module| principal(module, weight(module), iterations, seed)).collect();
                for (module, (a, b)) in modules.iter().zip(pairs) {
                    adapter.parameters[module.a()].copy_from_slice(&a);
                    adapter.parameters[module.b()].copy_from_slice(&b);
                }
                adapter = adapter.out_of_base();
            }
        }
        for module in &modules {
            let Some(place) = module.magnitude() else { continue };
            let removed = adapter.removed(module);
            let norms = row_norms(weight(module), removed.as_ref(), &adapter.low_rank(module));
            adapter.parameters[place].copy_from_slice(&norms);
        }
        Ok(adapter)
    }

    /// Takes what it adds out of the frozen weights, as PiSSA does, so that it changes nothing yet.
    #[must_use]
    pub fn out_of_base(self) -> Self {
        Self { initial: Some(self.parameters.clone()), ..self }
    }

    /// Draws every `A`: `number` makes one of a module and of random bits.
    fn draw(&mut self, seed: u64, number: impl Fn(&Module, u64) -> f32) {
        for module in &self.modules {
            let stream = random::mix(&[seed, random::name(&module.name())]);
            for (place, parameter) in (0_u64..).zip(&mut self.parameters[module.a()]) {
                *parameter = number(module, random::mix(&[stream, place]));
            }
        }
    }
}

/// Returns `A` and `B` of the greatest singular values: `A = √(S / scale) Vᵀ` and `B = U √(S / scale)`.
fn principal(module: &Module, weight: &Matrix, iterations: u32, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let seed = random::mix(&[seed, random::name(&module.name())]);
    let Truncated { left, values, right } = Truncated::of(weight, module.rank, iterations, seed);
    let roots: Vec<f64> = values.iter().map(|value| (value / f64::from(module.scale())).sqrt()).collect();
    let a = right.iter().zip(&roots).flat_map(|(vector, root)| vector.iter().map(move |x| (x * root) as f32)).collect();
    let row = |row: usize| left.iter().zip(&roots).map(move |(vector, root)| (vector[row] * root) as f32);
    (a, (0..module.outputs).flat_map(row).collect())
}
