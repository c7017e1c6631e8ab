//! Writing.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::super::{Adapter, LoraError, Module, Projection};
use super::{A, ADAPTER_CONFIG, ADAPTER_TENSORS, B, MAGNITUDE, PREFIX};

/// A tensor's name, shape and numbers.
type Named = (String, Vec<usize>, Vec<f32>);

impl Adapter {
    /// Returns the two files that PEFT, llama.cpp's converter and others read, by name. `dropout` is only noted.
    ///
    /// An adapter that started with PiSSA is written as one of the double rank that changes the original base as the
    /// trained one changes the base without its greatest singular values: `A` over the initial `A`, `B` beside the
    /// initial `−B`, as PEFT's `path_initial_model_for_weight_conversion` makes it.
    ///
    /// # Errors
    /// [`LoraError::Tensors`] when the tensors cannot be put together, which is a bug.
    pub fn to_peft(&self, dropout: f64) -> Result<BTreeMap<&'static str, Vec<u8>>, LoraError> {
        let tensors: Vec<Named> = self.modules.iter().flat_map(|module| self.tensors(module)).collect();
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, numbers)| numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
            .collect();
        let views = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, shape, _), bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(LoraError::Tensors)?;
        let metadata = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
        let tensors = safetensors::serialize(views, Some(metadata)).map_err(LoraError::Tensors)?;
        let mut config = serde_json::to_vec_pretty(&self.config(dropout)).map_err(LoraError::Config)?;
        config.push(b'\n');
        Ok([(ADAPTER_CONFIG, config), (ADAPTER_TENSORS, tensors)].into())
    }

    /// Returns `adapter_config.json`. Targets are written as the modules that they came to.
    fn config(&self, dropout: f64) -> Value {
        let rank = usual(self.modules.iter().map(|module| self.written_rank(module)));
        let alpha = usual(self.modules.iter().map(|module| self.written_alpha(module)));
        let (targets, layers) = self.targets();
        json!({
            "alpha_pattern": self.pattern(alpha, |module| self.written_alpha(module)),
            "base_model_name_or_path": null,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": layers,
            "lora_alpha": alpha,
            "lora_dropout": dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": rank,
            "rank_pattern": self.pattern(rank, |module| self.written_rank(module)),
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "use_dora": self.modules.iter().any(|module| module.dora),
            "use_rslora": self.modules.iter().any(|module| module.rslora),
        })
    }

    fn written_rank(&self, module: &Module) -> usize {
        if self.initial.is_some() { 2 * module.rank } else { module.rank }
    }

    /// Returns the alpha that gives the scale with the rank that is written.
    fn written_alpha(&self, module: &Module) -> f64 {
        match (self.initial.is_some(), module.rslora) {
            (false, _) => module.alpha,
            (true, false) => 2.0 * module.alpha,
            (true, true) => std::f64::consts::SQRT_2 * module.alpha,
        }
    }

    /// Returns names, and the blocks if not all are trained; or all paths, where blocks are trained differently.
    fn targets(&self) -> (Vec<String>, Option<Vec<usize>>) {
        let of_layer = |layer: usize| -> Vec<Projection> {
            self.modules.iter().filter(|module| module.layer == layer).map(|module| module.projection).collect()
        };
        let mut layers: Vec<usize> = self.modules.iter().map(|module| module.layer).collect();
        layers.dedup();
        let first = of_layer(layers.first().copied().unwrap_or(0));
        if layers.iter().any(|layer| of_layer(*layer) != first) {
            return (self.modules.iter().map(Module::name).collect(), None);
        }
        let mut names: Vec<String> = first.into_iter().map(|projection| projection.name().to_owned()).collect();
        names.sort_unstable();
        (names, (layers.len() < self.layers).then_some(layers))
    }

    /// Returns the values that are not `usual`: by name where all modules of the name share it, else by path.
    fn pattern<V: PartialEq + Copy + Into<Value>>(&self, usual: V, value: impl Fn(&Module) -> V) -> Value {
        let mut pattern = serde_json::Map::new();
        for module in self.modules.iter().filter(|module| value(module) != usual) {
            let own = value(module);
            let mut alike = self.modules.iter().filter(|other| other.projection == module.projection);
            let key = if alike.all(|other| value(other) == own) {
                module.projection.name().to_owned()
            } else {
                module.name().replace('.', r"\.")
            };
            pattern.insert(key, own.into());
        }
        Value::Object(pattern)
    }

    /// Returns a module's tensors.
    fn tensors(&self, module: &Module) -> Vec<Named> {
        let (mut a, mut b) = (self.parameters[module.a()].to_vec(), self.parameters[module.b()].to_vec());
        if let Some(initial) = &self.initial {
            a.extend(&initial[module.a()]);
            let rows = b.chunks(module.rank).zip(initial[module.b()].chunks(module.rank));
            b = rows
                .flat_map(|(row, initial)| row.iter().copied().chain(initial.iter().map(|number| -number)))
                .collect();
        }
        let rank = self.written_rank(module);
        let name = |end: &str| format!("{PREFIX}{}{end}", module.name());
        let mut tensors = vec![(name(A), vec![rank, module.inputs], a), (name(B), vec![module.outputs, rank], b)];
        if let Some(place) = module.magnitude() {
            tensors.push((name(MAGNITUDE), vec![module.outputs], self.parameters[place].to_vec()));
        }
        tensors
    }
}

/// Returns the value that most have; of several the first.
fn usual<V: PartialEq + Copy + Default>(values: impl Iterator<Item = V>) -> V {
    let mut counts: Vec<(V, usize)> = Vec::new();
    for value in values {
        match counts.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(value, _)| value).unwrap_or_default()
}
