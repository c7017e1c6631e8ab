//! How much memory a training needs, and how it fits into what there is: weights as floats or as the file has them,
//! activations kept or computed again. Neither changes a result.

use super::error::TrainError;
use crate::model::config::ModelConfig;
use crate::model::lora::Projection;
use crate::model::transformer::{self, Activations};
use crate::model::weights::Storage;

/// What the program, its tokenizer and its libraries take.
const PROGRAM: u64 = 40 << 20;
/// What a token of the vocabulary takes in the tokenizer.
const TOKENIZER: u64 = 600;
/// The share of the memory that is planned with: the rest is for what is not counted.
const USED: f64 = 0.95;
/// Bytes of a weight below which a file counts as quantised: what is stored in 16 bits is made floats.
const QUANTISED: f64 = 1.9;

/// What memory depends on.
#[derive(Clone, Debug)]
pub(super) struct Shape<'a> {
    /// The base model.
    pub(super) config: &'a ModelConfig,
    /// Bytes of the base's file when it is one GGUF.
    pub(super) file: Option<u64>,
    /// Parameters that are trained.
    pub(super) parameters: usize,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beside {
    pub(super) rank: usize,
    /// Features of a token that a block's adapters keep for their backward pass.
    pub(super) adapted: usize,
    /// Whether some of the adapters' inputs are dropped.
    pub(super) has_dropout: bool,
}

/// What a training needs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    weights: u64,
    activations: u64,
    trained: u64,
    rest: u64,
}

/// How a training is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) storage: Storage,
    pub(super) activations: Activations,
    /// Blocks whose intermediate results are computed again, of `layers`.
    pub(super) again: usize,
    pub(super) layers: usize,
    pub(super) needs: Needs,
}

impl Needs {
    /// Returns the sum.
    pub(super) fn total(&self) -> u64 {
        self.weights + self.activations + self.trained + self.rest
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
        let has_dropout = self.beside.is_some_and(|beside| beside.has_dropout);
        // A weight's gradient needs the projection's input turned.
        let turned = if self.beside.is_some() { 0 } else { 4 * tokens * config.intermediate as u64 };
        let backward = turned + transformer::backward_bytes(config, has_dropout, self.tokens);
        // Those of a block that is computed again take the place of those that were kept, which the backward pass is done with.
        let kept = config.layers - self.again(activations);
        let inputs = 4 * tokens * hidden * (config.layers - kept) as u64;
        let blocks = inputs + self.block_bytes() * kept.max(1) as u64;
        let logits = 4 * 128 * config.vocabulary as u64 + 3 * 4 * hidden * self.trained as u64;
        Needs {
            weights: self.weights(storage),
            // Of a GPU's: what goes there and comes back. The logits are gone when the backward pass begins.
            activations: if self.on_gpu { 16 * tokens * hidden } else { blocks + backward.max(logits) },
            // The gradient and two moments, the best parameters, and those of an adapter itself. Checkpoints go to their file
            // a piece at a time.
            trained: 4 * self.parameters as u64 * (3 + self.copies as u64 + u64::from(self.beside.is_some())),
            rest: PROGRAM + TOKENIZER * config.vocabulary as u64 + 12 * self.all_tokens as u64,
        }
    }

    fn weights(&self, storage: Storage) -> u64 {
        let dense = 4 * weights(self.config);
        match (storage, self.file.filter(|_| self.is_quantised())) {
            (Storage::AsStored, Some(bytes)) => bytes,
            _ => dense,
        }
    }

    fn is_quantised(&self) -> bool {
        self.file.is_some_and(|bytes| (bytes as f64) < QUANTISED * weights(self.config) as f64)
    }

    /// Returns the bytes that a block keeps for its backward pass.
    fn block_bytes(&self) -> u64 {
        let adapted = self.beside.map_or(0, |beside| beside.adapted);
        transformer::block_bytes(self.config, adapted, self.tokens).max(1)
    }

    /// Returns how many blocks are computed again.
    fn again(&self, activations: Activations) -> usize {
        let layers = self.config.layers;
        match activations {
            Activations::Kept => 0,
            Activations::Within(bytes) => layers - layers.min((bytes / self.block_bytes()) as usize),
            Activations::Recomputed => layers,
        }
    }

    /// Returns the ways that there are, the fastest first.
    fn all_ways(&self, memory: u64) -> Vec<(Storage, Activations)> {
        if self.on_gpu {
            // A GPU has little memory: weights are dequantised there, and graphs exist for one block at a time.
            return vec![(Storage::AsStored, Activations::Recomputed)];
        }
        let ways = |storage| {
            let within = Activations::Within(self.block_bytes() * self.kept_within(storage, memory));
            [Activations::Kept, within].map(|activations| (storage, activations))
        };
        self.storages().iter().copied().flat_map(ways).collect()
    }

    /// Returns how weights can be kept, the fastest first: those that are trained are floats.
    fn storages(&self) -> &'static [Storage] {
        if self.beside.is_some() { &[Storage::Dense, Storage::AsStored] } else { &[Storage::Dense] }
    }

    /// Returns how many blocks' intermediate results fit into `memory` beside all else. The last block's cost nothing: were
    /// they computed again, it would be at once.
    fn kept_within(&self, storage: Storage, memory: u64) -> u64 {
        let one = self.needs(storage, Activations::Within(self.block_bytes()));
        let more = self.block_bytes() - 4 * (self.tokens * self.config.hidden) as u64;
        let most = self.config.layers.saturating_sub(1).max(1) as u64;
        (1 + memory.saturating_sub(one.total()) / more.max(1)).min(most)
    }

    /// Returns the fastest way that fits into `memory` bytes.
    ///
    /// # Errors
    /// [`TrainError::Memory`] when none does, with what would.
    pub(super) fn choose(&self, memory: u64) -> Result<Choice, TrainError> {
        let usable = (memory as f64 * USED) as u64;
        let choices = self.all_ways(usable).into_iter().map(|(storage, activations)| {
            let (again, layers) = (self.again(activations), self.config.layers);
            Choice { storage, activations, again, layers, needs: self.needs(storage, activations) }
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
            ways: self.ways_out(usable),
        })
    }

    /// Says what would fit, and what it would need; all blocks but one are computed again in it.
    fn ways_out(&self, usable: u64) -> String {
        let least = |shape: &Self| {
            let storage = shape.storages().last().copied().unwrap_or(Storage::Dense);
            shape.needs(storage, Activations::Within(shape.block_bytes())).total()
        };
        let mut ways = Vec::new();
        let mut try_out = |what: String, shape: Self| {
            let total = least(&shape);
            if total <= usable {
                ways.push(format!("{what} needs {}", human(total)));
            }
        };
        let shorter = |tokens: usize| {
            let trained = self.trained * tokens / self.tokens.max(1);
            Self { tokens, trained, ..self.clone() }
        };
        if let Some(tokens) =
            [1024, 512, 256, 128].into_iter().find(|tokens| *tokens < self.tokens && least(&shorter(*tokens)) <= usable)
        {
            let what = format!("`max-tokens = {tokens}` with `micro-batch-tokens = {tokens}`");
            try_out(what, shorter(tokens));
        }
        if self.copies > 0 {
            try_out("`keep = \"last\"`".into(), Self { copies: 0, ..self.clone() });
        }
        match self.beside {
            None => try_out("an adapter (`type = \"lora\"`)".into(), self.with_adapter()),
            Some(beside) if beside.rank > 8 => {
                let parameters = self.parameters * 8 / beside.rank;
                let smaller = Beside { rank: 8, adapted: beside.adapted * 8 / beside.rank, ..beside };
                try_out("`rank = 8`".into(), Self { beside: Some(smaller), parameters, ..self.clone() });
            }
            Some(_) => {}
        }
        if self.beside.is_some() && !self.is_quantised() {
            // Q4_K_M has 4.85 bits a weight.
            let file = Some((weights(self.config) as f64 * 4.85 / 8.0) as u64);
            try_out("the base as a GGUF in Q4_K_M".into(), Self { file, ..self.clone() });
        }
        let ways =
            if ways.is_empty() { "nothing less than a smaller base model fits".to_owned() } else { ways.join("; ") };
        format!("{ways}; or give it more: `[run.node.NAME]` `memory`, where the machine has it")
    }
}

impl Shape<'_> {
    /// Returns the shape of a training of an adapter of rank 16 beside the same base.
    fn with_adapter(&self) -> Self {
        const RANK: usize = 16;
        let features = |projection: &Projection| {
            let (inputs, outputs) = projection.shape(self.config);
            inputs + outputs
        };
        let parameters = RANK * self.config.layers * Projection::ALL.iter().map(features).sum::<usize>();
        let adapted = RANK * Projection::ALL.len();
        Self { beside: Some(Beside { rank: RANK, adapted, has_dropout: false }), parameters, ..self.clone() }
    }
}

/// Returns the weights of a model: its blocks' matrices and its tables.
fn weights(config: &ModelConfig) -> u64 {
    let tables = if config.tied { 1 } else { 2 } * config.vocabulary * config.hidden;
    (config.block_weights() + tables) as u64
}

/// Writes bytes for people.
pub(super) fn human(bytes: u64) -> String {
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

    fn shape(config: &ModelConfig) -> Shape<'_> {
        Shape {
            config,
            file: Some(4_900_000_000),
            parameters: 41_943_040,
            beside: Some(Beside { rank: 16, adapted: 7 * 16, has_dropout: false }),
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
        let way = |gib: u64| shape.choose(gib << 30).map(|choice| (choice.storage, choice.again)).unwrap();
        assert_eq!([way(128), way(26)], [(Storage::Dense, 0), (Storage::AsStored, 0)]);
        let (mut storages, mut before) = (Vec::new(), None);
        for gib in (10..128).rev() {
            let choice = shape.choose(gib << 30).unwrap();
            let usable = ((gib << 30) as f64 * USED) as u64;
            assert!(choice.needs.total() <= usable, "{gib} GiB");
            assert_eq!(choice.activations == Activations::Kept, choice.again == 0);
            // One block more would not fit.
            if let Activations::Within(bytes) = choice.activations {
                let more = shape.needs(choice.storage, Activations::Within(bytes + shape.block_bytes()));
                assert!(more.total() > usable, "{gib} GiB");
            }
            let this = (choice.storage, choice.again);
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
    fn what_cannot_fit_is_refused_with_what_would() {
        let config = large();
        let dense = Shape { file: None, ..shape(&config) };
        let TrainError::Memory { needed, has, ways, .. } = dense.choose(12 << 30).unwrap_err() else { panic!() };
        assert!(needed.starts_with('3') && needed.ends_with(" GiB"), "{needed}");
        assert_eq!(has, "11.4 GiB");
        assert!(ways.starts_with("the base as a GGUF in Q4_K_M needs "), "{ways}");
        let TrainError::Memory { ways, .. } = shape(&config).choose(1 << 30).unwrap_err() else { panic!() };
        assert!(ways.contains("smaller base model"), "{ways}");
    }

    #[test]
    fn all_weights_need_sixteen_bytes_each_and_an_adapter_is_what_fits_instead() {
        let config = large();
        let all = weights(&config);
        let whole = Shape { file: None, parameters: all as usize, beside: None, ..shape(&config) };
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
