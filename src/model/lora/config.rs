//! What kind of adapter is trained: PEFT's `LoraConfig` as far as it is computed here.

use std::collections::BTreeMap;

use super::super::config::ModelConfig;
use super::targets::{Matcher, Patterns, ends_with};
use super::{LoraError, Module, Projection, TargetModules};

/// What an adapter starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// `A` uniform between ± 1/√inputs (Kaiming's with a = √5), `B` zero.
    #[default]
    Kaiming,
    /// `A` normal with the deviation 1/rank, `B` zero.
    Gaussian,
    /// The weight's own greatest singular values and vectors, which the frozen weight then lacks (PiSSA; Meng et al.,
    /// 2024).
    Pissa {
        /// How often the estimate of the singular vectors is multiplied with the weight: 16 is usual. It is not the exact
        /// decomposition where values lie close: PEFT's own two, on SmolLM2, take 0.39 of their size apart out of the base.
        iterations: u32,
    },
}

/// What kind of adapter is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// The rank: PEFT's `r`.
    pub rank: usize,
    /// What the scale is made of: PEFT's `lora_alpha`.
    pub alpha: f64,
    /// The modules that are trained.
    pub targets: TargetModules,
    /// Modules that are not, although `targets` means them.
    pub exclude: Option<TargetModules>,
    /// The blocks, if not all: PEFT's `layers_to_transform`.
    pub layers: Option<Vec<usize>>,
    /// Ranks of their own, by regular expressions over the ends of paths.
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas of their own, likewise.
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Whether the scale is `alpha / √rank` instead of `alpha / rank` (rsLoRA; Kalajdzievski, 2023).
    pub rslora: bool,
    /// Whether the length of each row of the weight is trained beside its direction (DoRA; Liu et al., 2024).
    pub dora: bool,
    /// What it starts from.
    pub init: Init,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 16.0,
            targets: TargetModules::AllLinear,
            exclude: None,
            layers: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            rslora: false,
            dora: false,
            init: Init::Kaiming,
        }
    }
}

impl LoraConfig {
    /// Returns the modules of a base model that are trained, block after block.
    ///
    /// # Errors
    /// [`LoraError`] for a target or pattern that means nothing, a block that is not there, a rank that is too large.
    pub fn modules(&self, base: &ModelConfig) -> Result<Vec<Module>, LoraError> {
        self.check_targets(base)?;
        let selected = selected(base, &self.targets, self.exclude.as_ref(), self.layers.as_deref())?;
        if selected.is_empty() {
            let what = "what `exclude` and `layers` leave of it".to_owned();
            return Err(LoraError::NoTarget { what, help: known() });
        }
        let ranks = self.rank_pattern.iter().map(|(pattern, rank)| (pattern.as_str(), *rank));
        let ranks = values("rank-pattern", ranks, &selected)?;
        let alphas = self.alpha_pattern.iter().map(|(pattern, alpha)| (pattern.as_str(), *alpha));
        let alphas = values("alpha-pattern", alphas, &selected)?;
        let kinds = selected.iter().zip(ranks).zip(alphas).map(|((place, rank), alpha)| ModuleKind {
            layer: place.0,
            projection: place.1,
            rank: rank.unwrap_or(self.rank),
            alpha: alpha.unwrap_or(self.alpha),
        });
        let modules = layout(base, kinds, self.rslora, self.dora);
        for module in &modules {
            let most = module.inputs.min(module.outputs);
            if module.rank() > most {
                return Err(LoraError::RankTooLarge {
                    rank: module.rank(),
                    module: module.name(),
                    name: module.projection.name(),
                    inputs: module.inputs,
                    outputs: module.outputs,
                    most,
                });
            }
        }
        Ok(modules)
    }

    /// Returns the kind that trains in every block what this one trains in the block where it trains most: for measurements
    /// of a part of the model.
    ///
    /// # Errors
    /// As [`LoraConfig::modules`].
    pub fn everywhere(&self, base: &ModelConfig) -> Result<Self, LoraError> {
        let modules = self.modules(base)?;
        let of = |layer| modules.iter().filter(move |module| module.layer == layer);
        let numbers = |layer: &usize| of(*layer).map(Module::numbers).sum::<usize>();
        let most = (0..base.layers).max_by_key(numbers).unwrap_or_default();
        let paths = || of(most).map(|module| module.projection.path());
        let ranks = paths().map(|path| path.replace('.', r"\.")).zip(of(most).map(Module::rank));
        Ok(Self {
            targets: TargetModules::Names(paths().map(str::to_owned).collect()),
            exclude: None,
            layers: None,
            rank_pattern: ranks.collect(),
            alpha_pattern: BTreeMap::new(),
            ..self.clone()
        })
    }

    /// Refuses names, patterns and blocks that mean nothing in the base model.
    fn check_targets(&self, base: &ModelConfig) -> Result<(), LoraError> {
        if let Some(layer) = self.layers.iter().flatten().find(|layer| **layer >= base.layers) {
            return Err(LoraError::NoSuchLayer { layer: *layer, last: base.layers - 1 });
        }
        for targets in [Some(&self.targets), self.exclude.as_ref()].into_iter().flatten() {
            match targets.matcher()? {
                Matcher::All => {}
                Matcher::Pattern(pattern, _) => {
                    if selected(base, targets, None, None)?.is_empty() {
                        return Err(LoraError::NoTarget { what: format!("`{pattern}`"), help: pattern_help(pattern) });
                    }
                }
                Matcher::Names(names) => {
                    if let Some(name) = names.iter().find(|name| !paths(base).any(|(_, path)| ends_with(&path, name))) {
                        return Err(LoraError::NoTarget { what: format!("`{name}`"), help: name_help(name) });
                    }
                }
            }
        }
        Ok(())
    }
}

/// A block's number and one of its projections.
pub(super) type Place = (usize, Projection);

/// What one module is trained with.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModuleKind {
    pub(super) layer: usize,
    pub(super) projection: Projection,
    pub(super) rank: usize,
    pub(super) alpha: f64,
}

/// Lays modules one behind the other in the vector of parameters: for each `A`, `B` and, for DoRA, the magnitudes.
pub(super) fn layout(
    base: &ModelConfig,
    kinds: impl IntoIterator<Item = ModuleKind>,
    rslora: bool,
    dora: bool,
) -> Vec<Module> {
    let mut start = 0;
    let place = |kind: ModuleKind| {
        let (inputs, outputs) = kind.projection.shape(base);
        let module = Module {
            layer: kind.layer,
            projection: kind.projection,
            inputs,
            outputs,
            rank: kind.rank,
            alpha: kind.alpha,
            rslora,
            dora,
            start,
        };
        start = module.end();
        module
    };
    kinds.into_iter().map(place).collect()
}

/// Returns all modules that can be trained, in the order of an adapter, with their paths.
fn paths(base: &ModelConfig) -> impl Iterator<Item = (Place, String)> {
    let places = (0..base.layers).flat_map(|layer| Projection::ALL.map(|projection| (layer, projection)));
    places.map(|place| (place, super::path(place.0, place.1)))
}

/// Returns the modules that are meant, in the order of an adapter.
pub(super) fn selected(
    base: &ModelConfig,
    targets: &TargetModules,
    exclude: Option<&TargetModules>,
    layers: Option<&[usize]>,
) -> Result<Vec<Place>, LoraError> {
    let matcher = targets.matcher()?;
    let exclude = exclude.map(TargetModules::matcher).transpose()?;
    let mut selected = Vec::new();
    for (place, path) in paths(base) {
        let excluded = exclude.as_ref().map_or(Ok(false), |exclude| exclude.matches(&path))?;
        let in_layers = layers.is_none_or(|layers| layers.contains(&place.0));
        if !excluded && in_layers && matcher.matches(&path)? {
            selected.push(place);
        }
    }
    Ok(selected)
}

/// Returns each module's own value, if a pattern gives one.
fn values<'a, V: Copy>(
    setting: &'static str,
    patterns: impl Iterator<Item = (&'a str, V)> + Clone,
    selected: &[Place],
) -> Result<Vec<Option<V>>, LoraError> {
    let compiled = Patterns::new(patterns.clone())?;
    let mut used = Vec::new();
    let mut values = Vec::with_capacity(selected.len());
    for (layer, projection) in selected {
        let module = super::path(*layer, *projection);
        let found = compiled.of(&module)?;
        if let [(first, _), (second, _), ..] = found[..] {
            let [first, second] = [first, second].map(str::to_owned);
            return Err(LoraError::AmbiguousPattern { setting, first, second, module });
        }
        used.extend(found.first().map(|(pattern, _)| *pattern));
        values.push(found.first().map(|(_, value)| *value));
    }
    if let Some((pattern, _)) = patterns.into_iter().find(|(pattern, _)| !used.contains(pattern)) {
        let mut trained: Vec<&str> = selected.iter().map(|(_, projection)| projection.name()).collect();
        trained.sort_unstable();
        trained.dedup();
        return Err(LoraError::UnusedPattern { setting, pattern: pattern.to_owned(), trained: trained.join(", ") });
    }
    Ok(values)
}

/// Returns the names that are known, for messages.
fn known() -> String {
    format!("known are: {}", Projection::ALL.map(Projection::name).join(", "))
}

/// Returns what is known, and which of it was likely meant by a name.
pub fn name_help(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let names = Projection::ALL.map(Projection::name);
    let scored = names.iter().map(|known| (strsim::jaro(last, known), *known));
    // `q` stands for `q_proj` in some programs.
    let begun = names.iter().find(|known| known.strip_suffix("_proj") == Some(last)).copied();
    let close = scored.filter(|(score, _)| *score > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known);
    match begun.or(close) {
        Some(meant) => format!("did you mean `{meant}`? {}", known()),
        None => known(),
    }
}

fn pattern_help(pattern: &str) -> String {
    // A bare name between quotes is a pattern that the whole path would have to be.
    let words = pattern.trim_start_matches(".*").trim_start_matches(['\\', '.']);
    let name = Projection::ALL.map(Projection::name).into_iter().find(|name| words == *name);
    let hint = match name {
        Some(name) => format!("write `targets = [\"{name}\"]`; "),
        None => String::new(),
    };
    format!("{hint}a pattern matches whole paths, such as `{}`; {}", super::path(0, Projection::Q), known())
}
