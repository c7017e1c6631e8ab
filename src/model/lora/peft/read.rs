//! Reading: first what the files say, then what of it belongs to which module of a base model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::super::super::Result;
use super::super::super::config::ModelConfig;
use super::super::config::{ModuleKind, layout, selected};
use super::super::{Adapter, LoraError, LowRank, Projection, path};
use super::config::PeftConfig;
use super::{A, ADAPTER_CONFIG, ADAPTER_TENSORS, B, MAGNITUDE, PREFIX};

/// One module of an adapter: its weight `W` becomes `W + scale · B A`, with DoRA each row then as long as its magnitude.
#[derive(Clone, Debug, PartialEq)]
pub struct PeftModule {
    /// `rank × inputs`, by rows.
    pub a: Vec<f32>,
    /// `outputs × rank`, by rows.
    pub b: Vec<f32>,
    /// DoRA's magnitudes, one for each output.
    pub magnitude: Option<Vec<f32>>,
    /// The rank.
    pub rank: usize,
    /// What the scale is made of.
    pub alpha: f64,
    /// `alpha / rank`, or `alpha / √rank` for rsLoRA.
    pub scale: f32,
}

impl PeftModule {
    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.a.len() / self.rank
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.b.len() / self.rank
    }

    /// Returns `A` and `B` with their scale.
    pub(in crate::model) fn low_rank(&self) -> LowRank<'_> {
        LowRank { a: &self.a, b: &self.b, rank: self.rank, scale: self.scale }
    }
}

/// An adapter as PEFT's files have it, whatever its base.
#[derive(Debug)]
pub struct PeftAdapter {
    config: PeftConfig,
    /// By path in transformers, such as `model.layers.0.self_attn.q_proj`.
    pub modules: BTreeMap<String, PeftModule>,
}

impl PeftAdapter {
    /// Reads an adapter from its files by name.
    ///
    /// # Errors
    /// [`LoraError`] for files that are absent or damaged, and for what is not computed here; file system.
    pub fn read(files: &BTreeMap<String, PathBuf>) -> Result<Self> {
        let bytes = |file: &'static str| {
            let path = files.get(file).ok_or(LoraError::Incomplete { file })?;
            Ok::<_, super::super::super::ModelError>(fs_err::read(path)?)
        };
        Ok(Self::parse(&bytes(ADAPTER_CONFIG)?, &bytes(ADAPTER_TENSORS)?)?)
    }

    /// Reads an adapter from the contents of its files.
    ///
    /// # Errors
    /// [`LoraError`].
    pub fn parse(config: &[u8], tensors: &[u8]) -> Result<Self, LoraError> {
        let config = PeftConfig::parse(config)?;
        let tensors = SafeTensors::deserialize(tensors).map_err(LoraError::Tensors)?;
        let (ranks, alphas) = (config.ranks()?, config.alphas()?);
        let mut modules = BTreeMap::new();
        // Sorted, so that of several mistakes the same is told each time.
        let mut names = tensors.names();
        names.sort_unstable();
        for name in names {
            let Some(module) = name.strip_suffix(A) else {
                known(name, &tensors, config.use_dora)?;
                continue;
            };
            let (a, [rank, inputs]) = matrix(&tensors, name)?;
            let b_name = format!("{module}{B}");
            let (b, [outputs, b_rank]) = matrix(&tensors, &b_name)?;
            let path = module.strip_prefix(PREFIX).unwrap_or(module);
            let expected = ranks.of(path)?;
            if [rank, b_rank] != [expected; 2] || rank * inputs * outputs == 0 {
                let shapes = format!("{rank} × {inputs} and {outputs} × {b_rank}");
                let what = format!("`{path}` has matrices of {shapes}, its rank is {expected}");
                return Err(LoraError::Mismatch { what });
            }
            let alpha = alphas.of(path)?;
            let divisor = if config.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
            let magnitude = if config.use_dora { Some(magnitude(&tensors, module, outputs)?) } else { None };
            let module = PeftModule { a, b, magnitude, rank, alpha, scale: (alpha / divisor) as f32 };
            modules.insert(path.to_owned(), module);
        }
        if modules.is_empty() {
            return Err(LoraError::Mismatch { what: "it has no tensors".into() });
        }
        Ok(Self { config, modules })
    }
}

impl Adapter {
    /// Reads an adapter for a base model from PEFT's two files.
    ///
    /// # Errors
    /// [`LoraError`] when it was made for another model, or is of a kind that is not read; file system.
    pub fn from_peft(base: &ModelConfig, config: &Path, tensors: &Path) -> Result<Self> {
        let files = [(ADAPTER_CONFIG, config), (ADAPTER_TENSORS, tensors)]
            .map(|(name, path)| (name.to_owned(), path.to_owned()));
        Self::from_files(base, &files.into())
    }

    /// Reads an adapter for a base model from its files by name.
    ///
    /// # Errors
    /// As [`Self::from_peft`].
    pub fn from_files(base: &ModelConfig, files: &BTreeMap<String, PathBuf>) -> Result<Self> {
        Ok(Self::of_peft(base, &PeftAdapter::read(files)?)?)
    }

    /// Takes PEFT's adapter for a base model.
    fn of_peft(base: &ModelConfig, peft: &PeftAdapter) -> Result<Self, LoraError> {
        let mut kinds = Vec::new();
        let mut left: Vec<&String> = peft.modules.keys().collect();
        for (layer, projection) in (0..base.layers).flat_map(|layer| Projection::ALL.map(|part| (layer, part))) {
            let path = path(layer, projection);
            let Some(module) = peft.modules.get(&path) else { continue };
            left.retain(|left| **left != path);
            let shape = (module.inputs(), module.outputs());
            if shape != projection.shape(base) {
                let (inputs, outputs) = projection.shape(base);
                let what = format!(
                    "`{path}` turns {} numbers into {}, in the base model it turns {inputs} into {outputs}",
                    shape.0, shape.1
                );
                return Err(LoraError::Mismatch { what });
            }
            kinds.push(ModuleKind { layer, projection, rank: module.rank, alpha: module.alpha });
        }
        if let Some(path) = left.first() {
            return Err(LoraError::Mismatch { what: format!("it trains `{path}`, which is no projection of a block") });
        }
        peft.check_targets(base, &kinds)?;
        let mut adapter = Self::zeros(base, layout(base, kinds, peft.config.use_rslora, peft.config.use_dora));
        for module in adapter.modules.clone() {
            let numbers = &peft.modules[&module.name()];
            adapter.parameters[module.a()].copy_from_slice(&numbers.a);
            adapter.parameters[module.b()].copy_from_slice(&numbers.b);
            if let (Some(place), Some(magnitude)) = (module.magnitude(), &numbers.magnitude) {
                adapter.parameters[place].copy_from_slice(magnitude);
            }
        }
        Ok(adapter)
    }
}

impl PeftAdapter {
    /// Refuses an adapter that lacks a module which its settings name. A pattern that only Python reads is not checked.
    fn check_targets(&self, base: &ModelConfig, kinds: &[ModuleKind]) -> Result<(), LoraError> {
        let config = &self.config;
        let Some(targets) = &config.target_modules else { return Ok(()) };
        let Ok(selected) = selected(base, targets, config.exclude_modules.as_ref(), config.layers()) else {
            return Ok(());
        };
        let trained =
            |(layer, projection)| kinds.iter().any(|kind| (kind.layer, kind.projection) == (layer, projection));
        match selected.into_iter().find(|place| !trained(*place)) {
            None => Ok(()),
            Some((layer, projection)) => {
                let what = format!("its settings target `{}`, of which it has no tensors", path(layer, projection));
                Err(LoraError::Mismatch { what })
            }
        }
    }
}

/// Refuses a tensor that belongs to no pair, or that the settings say nothing of.
fn known(name: &str, tensors: &SafeTensors<'_>, dora: bool) -> Result<(), LoraError> {
    let paired = [Some(B), dora.then_some(MAGNITUDE)].into_iter().flatten().find_map(|end| name.strip_suffix(end));
    match paired {
        Some(module) if tensors.tensor(&format!("{module}{A}")).is_ok() => Ok(()),
        _ => Err(LoraError::Unsupported { what: format!("has a tensor `{name}`") }),
    }
}

fn magnitude(tensors: &SafeTensors<'_>, module: &str, outputs: usize) -> Result<Vec<f32>, LoraError> {
    let name = format!("{module}{MAGNITUDE}");
    let (numbers, shape) = numbers(tensors, &name)?;
    if shape != [outputs] {
        let what = format!("tensor `{name}` has the shape {shape:?}, not [{outputs}]");
        return Err(LoraError::Mismatch { what });
    }
    Ok(numbers)
}

fn matrix(tensors: &SafeTensors<'_>, name: &str) -> Result<(Vec<f32>, [usize; 2]), LoraError> {
    let (numbers, shape) = numbers(tensors, name)?;
    match *shape.as_slice() {
        [rows, columns] => Ok((numbers, [rows, columns])),
        _ => Err(LoraError::Unsupported { what: format!("has no matrix at `{name}`, but the shape {shape:?}") }),
    }
}

fn numbers(tensors: &SafeTensors<'_>, name: &str) -> Result<(Vec<f32>, Vec<usize>), LoraError> {
    let absent = |_| LoraError::Mismatch { what: format!("it has no tensor `{name}`") };
    let view = tensors.tensor(name).map_err(absent)?;
    let bytes = view.data();
    let numbers: Vec<f32> = match view.dtype() {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32()).collect(),
        other => return Err(LoraError::Unsupported { what: format!("has numbers of the type {other:?} at `{name}`") }),
    };
    if let Some(number) = numbers.iter().find(|number: &&f32| !number.is_finite()) {
        return Err(LoraError::Mismatch { what: format!("tensor `{name}` has the number {number}") });
    }
    Ok((numbers, view.shape().to_vec()))
}
