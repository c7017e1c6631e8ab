//! How much memory a training needs, and how it fits into what there is: weights as floats or as the file has them,
//! activations kept or computed again. Neither changes a result.

use super::super::error::TrainError;
use super::ways_out::ways_out;
use crate::model::config::ModelConfig;
use crate::model::lora::{LoraConfig, LoraError, Module};
use crate::model::transformer::{self, Activations, Passes};
use crate::model::weights::{self, Storage};

/// What the program and its libraries take, and the pieces that the allocator holds back.
const PROGRAM: u64 = 80 << 20;
/// What a token of the vocabulary takes in the tokenizer.
const TOKENIZER: u64 = 600;
/// The share of the memory that is planned with: the rest is for what is not counted.
const USED: f64 = 0.95;

/// What memory depends on.
#[derive(Clone, Debug)]
pub(super) struct Shape<'a> {
    /// The base model.
    pub(super) config: &'a ModelConfig,
    /// Bytes of the base's tensors as its files have them.
    pub(super) stored: u64,
    /// The adapter, if what is trained is one beside the base; else it is all weights of it.
    pub(super) beside: Option<Beside>,
    /// Tokens of the largest micro-batch.
    pub(super) tokens: usize,
    /// Its trained tokens.
    pub(super) trained: usize,
    /// Tokens of all rows.
    pub(super) all_tokens: usize,
    /// Copies of the parameters that are held: the best beside the last.
    pub(super) copies: usize,
    /// Whether blocks are computed elsewhere: this is the host's memory alone.
    pub(super) on_gpu: bool,
}

/// What memory depends on of an adapter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Beside {
    pub(super) kind: LoraConfig,
    modules: Vec<Module>,
    /// Whether some of the adapters' inputs are dropped.
    pub(super) has_dropout: bool,
}

impl Beside {
    /// # Errors
    /// As [`LoraConfig::modules`].
    pub(super) fn new(config: &ModelConfig, kind: LoraConfig, has_dropout: bool) -> Result<Self, LoraError> {
        Ok(Self { modules: kind.modules(config)?, kind, has_dropout })
    }

    fn of_layer(&self, layer: usize) -> impl Iterator<Item = &Module> {
        self.modules.iter().filter(move |module| module.layer == layer)
    }
}

/// What a training needs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Needs {
    weights: u64,
    activations: u64,
    trained: u64,
    rest: u64,
}

/// How a training is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Choice {
    pub(in super::super) storage: Storage,
    pub(in super::super) activations: Activations,
    /// How blocks are computed.
    pub(super) passes: Passes,
    pub(in super::super) needs: Needs,
}

impl Needs {
    /// Returns the sum.
    pub(in super::super) fn total(&self) -> u64 {
        self.weights + self.activations + self.trained + self.rest
    }

    /// Returns what is filled in the first step.
    pub(super) fn beside_weights(&self) -> u64 {
        self.activations + self.trained
    }

    fn parts(&self) -> String {
        format!(
            "weights {}, activations {}, training state {}, all else {}",
            human(self.weights),
            human(self.activations),
            human(self.trained),
            human(self.rest)
        )
    }
}

impl Shape<'_> {
    /// Returns what is needed when it is done so.
    pub(super) fn needs(&self, storage: Storage, activations: Activations) -> Needs {
        let config = self.config;
        let tokens = self.tokens as u64;
        let hidden = config.hidden as u64;
        let has_dropout = self.beside.as_ref().is_some_and(|beside| beside.has_dropout);
        // A weight's gradient needs the projection's input turned.
        let turned = if self.beside.is_some() { 0 } else { 4 * tokens * config.intermediate as u64 };
        let backward = turned + transformer::backward_bytes(config, has_dropout, self.tokens);
        let kept = self.kept(activations);
        let inputs = 4 * tokens * hidden * (self.graph().len() - kept) as u64;
        // Those of a block that is computed again take the place of those that were kept, which the backward pass is done with.
        let blocks = inputs + self.last_blocks_bytes(kept.max(1));
        let logits = 4 * 128 * config.vocabulary as u64 + 3 * 4 * hidden * self.trained as u64;
        Needs {
            weights: self.weights(storage),
            // Of a GPU's: what goes there and comes back. The logits are gone when the backward pass begins.
            activations: if self.on_gpu { 16 * tokens * hidden } else { blocks + backward.max(logits) },
            // The gradient and two moments, the best parameters, and those of an adapter itself. Checkpoints go to their file
            // a piece at a time.
            trained: 4 * self.parameters() as u64 * (3 + self.copies as u64 + u64::from(self.beside.is_some())),
            rest: PROGRAM + TOKENIZER * config.vocabulary as u64 + 12 * self.all_tokens as u64,
        }
    }

    /// Returns how many parameters are trained.
    pub(super) fn parameters(&self) -> usize {
        let all = || weights::parameters(self.config);
        self.beside.as_ref().map_or_else(all, |beside| beside.modules.iter().map(Module::numbers).sum())
    }

    fn weights(&self, storage: Storage) -> u64 {
        let dense = 4 * weights::parameters(self.config) as u64;
        if storage == Storage::AsStored { dense.min(self.stored) } else { dense }
    }

    /// Returns the blocks that have a backward pass: from the first on in which something is trained.
    fn graph(&self) -> std::ops::Range<usize> {
        let first = self.beside.as_ref().and_then(|beside| beside.modules.first()).map_or(0, |module| module.layer);
        first..self.config.layers
    }

    /// Returns the bytes that a block keeps for its backward pass.
    fn block_bytes(&self, layer: usize) -> u64 {
        let adapted = self.beside.iter().flat_map(|beside| beside.of_layer(layer));
        transformer::block_bytes(self.config, adapted.map(Module::kept_features).sum(), self.tokens).max(1)
    }

    fn last_blocks_bytes(&self, count: usize) -> u64 {
        self.graph().rev().take(count).map(|layer| self.block_bytes(layer)).sum()
    }

    /// Returns how many blocks' intermediate results are kept.
    fn kept(&self, activations: Activations) -> usize {
        let most = self.graph().len();
        match activations {
            Activations::Kept => most,
            Activations::Within(bytes) => {
                (0..=most).rev().find(|kept| self.last_blocks_bytes(*kept) <= bytes).unwrap_or(0)
            }
            Activations::Recomputed => 0,
        }
    }

    /// Returns how blocks are computed.
    fn passes(&self, activations: Activations) -> Passes {
        let graph = self.graph();
        let is_trained = |layer| self.beside.as_ref().is_none_or(|beside| beside.of_layer(layer).next().is_some());
        let trained = graph.clone().filter(|layer| is_trained(*layer)).count();
        Passes {
            forward: graph.start,
            trained,
            frozen: graph.len() - trained,
            again: graph.len() - self.kept(activations),
        }
    }

    /// Returns the ways that there are, the fastest first.
    fn all_ways(&self, memory: u64) -> Vec<(Storage, Activations)> {
        if self.on_gpu {
            // A GPU has little memory: weights are dequantised there, and graphs exist for one block at a time.
            return vec![(Storage::AsStored, Activations::Recomputed)];
        }
        let ways =
            |storage| [Activations::Kept, self.within(storage, memory)].map(|activations| (storage, activations));
        self.storages().iter().copied().flat_map(ways).collect()
    }

    /// Returns how weights can be kept, the fastest first: those that are trained are floats.
    fn storages(&self) -> &'static [Storage] {
        if self.beside.is_some() { &[Storage::Dense, Storage::AsStored] } else { &[Storage::Dense] }
    }

    /// Returns the way that keeps as many blocks' intermediate results as fit into `memory` beside all else, and one at the
    /// least. The last block's cost nothing: were they computed again, it would be at once.
    fn within(&self, storage: Storage, memory: u64) -> Activations {
        let keeping = |kept: usize| Activations::Within(self.last_blocks_bytes(kept));
        let ways = (1..self.graph().len()).rev().map(keeping);
        ways.clone().find(|way| self.needs(storage, *way).total() <= memory).unwrap_or_else(|| keeping(1))
    }

    /// Returns the fastest way that fits into `memory` bytes.
    ///
    /// # Errors
    /// [`TrainError::Memory`] when none does, with what would.
    pub(super) fn choose(&self, memory: u64) -> Result<Choice, TrainError> {
        let usable = (memory as f64 * USED) as u64;
        let choices = self.all_ways(usable).into_iter().map(|(storage, activations)| {
            let (passes, needs) = (self.passes(activations), self.needs(storage, activations));
            Choice { storage, activations, passes, needs }
        });
        let choices: Vec<Choice> = choices.collect();
        if let Some(choice) = choices.iter().find(|choice| choice.needs.total() <= usable) {
            return Ok(*choice);
        }
        let needs = choices.iter().map(|choice| choice.needs).min_by_key(Needs::total).unwrap_or_default();
        Err(TrainError::Memory {
            needed: human(needs.total()),
            has: human(usable),
            parts: needs.parts(),
            ways: ways_out(self, usable),
        })
    }

    /// Returns the bytes of the way that needs least.
    pub(super) fn least(&self) -> u64 {
        let storage = self.storages().last().copied().unwrap_or(Storage::Dense);
        self.needs(storage, Activations::Within(self.last_blocks_bytes(1))).total()
    }
}

/// Writes bytes for people.
pub(in super::super) fn human(bytes: u64) -> String {
    match bytes {
        0..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{Architecture, Biases, RopeScaling, rope_frequencies};

    /// Llama 3.1 8B.
    fn large() -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Llama,
            biases: Biases::default(),
            hidden: 4096,
            intermediate: 14336,
            layers: 32,
            heads: 32,
            kv_heads: 8,
            head_dim: 128,
            vocabulary: 128_256,
            context: 131_072,
            rms_epsilon: 1e-5,
            tied: false,
            rope_frequencies: rope_frequencies(128, 500_000.0, RopeScaling::None),
        }
    }

    fn beside(config: &ModelConfig, kind: &LoraConfig) -> Beside {
        Beside::new(config, kind.clone(), false).unwrap()
    }

    fn shape(config: &ModelConfig) -> Shape<'_> {
        Shape {
            config,
            stored: 4_900_000_000,
            beside: Some(beside(config, &LoraConfig::default())),
            tokens: 2048,
            trained: 2048,
            all_tokens: 1_000_000,
            copies: 0,
            on_gpu: false,
        }
    }

    #[test]
    fn the_fastest_way_that_fits_is_taken_and_as_many_blocks_are_kept_as_fit() {
        let config = large();
        let shape = shape(&config);
        let way = |gib: u64| shape.choose(gib << 30).map(|choice| (choice.storage, choice.passes.again)).unwrap();
        assert_eq!([way(128), way(26)], [(Storage::Dense, 0), (Storage::AsStored, 0)]);
        let (mut storages, mut before) = (Vec::new(), None);
        for gib in (10..128).rev() {
            let choice = shape.choose(gib << 30).unwrap();
            let usable = ((gib << 30) as f64 * USED) as u64;
            assert!(choice.needs.total() <= usable, "{gib} GiB");
            assert_eq!(choice.activations == Activations::Kept, choice.passes.again == 0);
            // One block more would not fit.
            if let Activations::Within(bytes) = choice.activations {
                let more = shape.needs(choice.storage, Activations::Within(bytes + shape.block_bytes(0)));
                assert!(more.total() > usable, "{gib} GiB");
            }
            let this = (choice.storage, choice.passes.again);
            assert!(before.is_none_or(|(storage, again)| storage != this.0 || again <= this.1), "{gib} GiB");
            if before.is_none_or(|(storage, _)| storage != this.0) {
                storages.push(this.0);
            }
            before = Some(this);
        }
        assert_eq!(storages, [Storage::Dense, Storage::AsStored]);
    }

    #[test]
    fn a_gpu_computes_blocks_again_and_leaves_the_host_the_weights_as_stored() {
        let config = large();
        let shape = Shape { on_gpu: true, ..shape(&config) };
        let choice = shape.choose(128 << 30).unwrap();
        assert_eq!((choice.storage, choice.activations), (Storage::AsStored, Activations::Recomputed));
        assert!(choice.needs.total() < 8 << 30, "{:?}", choice.needs);
        assert!(shape.choose(4 << 30).is_err());
    }

    #[test]
    fn only_blocks_from_the_first_trained_one_on_keep_something() {
        let config = large();
        let some = LoraConfig { layers: Some(vec![20, 31]), ..LoraConfig::default() };
        let [all, some] =
            [LoraConfig::default(), some].map(|kind| Shape { beside: Some(beside(&config, &kind)), ..shape(&config) });
        assert_eq!(some.parameters() * 16, all.parameters());
        let choices = [&all, &some].map(|shape| shape.choose(128 << 30).unwrap());
        let passes = Passes { forward: 20, trained: 2, frozen: 10, again: 0 };
        assert_eq!(choices.map(|choice| choice.passes), [Passes { trained: 32, ..Passes::default() }, passes]);
        let [all, some] = choices.map(|choice| choice.needs.activations);
        assert!((0.35..0.45).contains(&(some as f64 / all as f64)), "{some} of {all}");
    }

    #[test]
    fn weights_of_sixteen_bits_are_kept_so_where_floats_do_not_fit() {
        let config = large();
        let half = Shape { stored: 2 * weights::parameters(&config) as u64, ..shape(&config) };
        let storage = |gib: u64| half.choose(gib << 30).map(|choice| (choice.storage, choice.needs.weights >> 30));
        assert_eq!([storage(64), storage(24)].map(Result::unwrap), [(Storage::Dense, 29), (Storage::AsStored, 14)]);
    }

    #[test]
    fn what_cannot_fit_is_refused_with_what_would() {
        let config = large();
        let half = Shape { stored: 2 * weights::parameters(&config) as u64, ..shape(&config) };
        let refused = |shape: &Shape<'_>, gib: u64| {
            let TrainError::Memory { needed, has, ways, .. } = shape.choose(gib << 30).unwrap_err() else { panic!() };
            (needed, has, ways)
        };
        let (needed, has, ways) = refused(&half, 12);
        assert!(needed.starts_with("17") && needed.ends_with(" GiB"), "{needed}");
        assert_eq!(has, "11.4 GiB");
        assert!(ways.starts_with("the base as a GGUF in Q4_K_M needs "), "{ways}");
        assert!(!ways.contains(" and "), "one change is enough: {ways}");
        let ways = refused(&shape(&config), 1).2;
        assert!(ways.contains("smaller base model"), "{ways}");
        // No change is enough alone.
        let long = Shape { tokens: 8192, trained: 8192, stored: half.stored, ..shape(&config) };
        let ways = refused(&long, 7).2;
        assert!(
            ways.starts_with(
                "the base as a GGUF in Q4_K_M and `max-tokens = 1024` with `micro-batch-tokens = 1024` needs 6."
            ),
            "{ways}"
        );
        let whole = Shape { beside: None, ..half };
        let ways = refused(&whole, 12).2;
        assert!(ways.starts_with("an adapter (`type = \"lora\"`) and the base as a GGUF in Q4_K_M needs "), "{ways}");
    }

    #[test]
    fn all_weights_need_sixteen_bytes_each_and_an_adapter_is_what_fits_instead() {
        let config = large();
        let all = weights::parameters(&config) as u64;
        let whole = Shape { stored: 4 * all, beside: None, ..shape(&config) };
        let choice = whole.choose(256 << 30).unwrap();
        assert_eq!((choice.storage, choice.activations), (Storage::Dense, Activations::Kept));
        let sixteen = 16 * all;
        assert!((sixteen..sixteen + (40 << 30)).contains(&choice.needs.total()), "{:?}", choice.needs);
        let best = Shape { copies: 1, ..whole.clone() };
        assert_eq!(best.choose(256 << 30).unwrap().needs.total() - choice.needs.total(), 4 * all);
        let TrainError::Memory { needed, ways, .. } = whole.choose(64 << 30).unwrap_err() else { panic!() };
        assert!(needed.starts_with("12"), "{needed}");
        assert!(ways.starts_with("an adapter (`type = \"lora\"`) needs 3"), "{ways}");
    }
}
