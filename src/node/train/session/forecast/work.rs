//! How much a training computes, counted over the micro-batches that it has.

use super::super::evaluation::HeldOut;
use super::super::plan::Epoch;
use super::super::settings::LoopSettings;
use super::sample::Sample;
use crate::model::config::ModelConfig;
use crate::model::transformer::{Amount, Batch, Passes, Speed};

/// What a step of the optimiser takes beside the change of the parameters: the gradient is cleared, and measured.
const BESIDE_OPTIMIZER: f64 = 1.5;

/// Tokens that are computed for each token of an answer: a panel of the CPU's kernels, in the time of its weights.
const PANEL: f64 = 16.0;

/// How much a training computes.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Work {
    /// Steps of all epochs.
    pub(in super::super) steps: f64,
    /// What they compute.
    pub(in super::super) training: Amount,
    /// The micro-batch of the most tokens, which is rehearsed, and which memory depends on.
    pub(in super::super) largest: Batch,
    /// Evaluations.
    evaluations: f64,
    /// What one of them computes, and what the answers of all of them do.
    held_out: Amount,
    sampled: Amount,
}

/// The seconds of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Seconds {
    /// What comes before the first evaluation and the first step.
    pub(in super::super) before: f64,
    /// These.
    pub(in super::super) steps: f64,
}

impl Seconds {
    pub(in super::super) fn total(&self) -> f64 {
        self.before + self.steps
    }
}

impl Work {
    /// Counts the work of a training on some rows.
    pub(super) fn of(settings: &LoopSettings, training: &Sample<'_>, held_out: &Sample<'_>) -> Self {
        let mut work = Self::default();
        let (mut appearances, mut computed) = (0, Amount::default());
        for number in 0..settings.epochs {
            let epoch = Epoch::new(&training.rows, settings, number);
            appearances += epoch.appearances();
            for step in 0..epoch.steps() {
                for batch in epoch.micro_batches(&training.rows, step, settings.micro_batch_tokens) {
                    computed += Amount::from(&batch);
                    work.keep_larger(batch);
                }
            }
        }
        for row in &training.longest {
            work.keep_larger(Batch::new([(0, &row.tokens)]));
        }
        work.training = computed.times(training.times);
        let epochs = settings.epochs as f64;
        let an_epoch = appearances as f64 * training.times / epochs;
        work.steps = epochs * (an_epoch / settings.batch_size as f64).ceil();
        work.add_evaluations(settings, held_out);
        work
    }

    fn keep_larger(&mut self, batch: Batch) {
        if batch.tokens() > self.largest.tokens() {
            self.largest = batch;
        }
    }

    fn add_evaluations(&mut self, settings: &LoopSettings, held_out: &Sample<'_>) {
        self.evaluations = match (settings.eval.is_some(), settings.eval_steps) {
            (false, _) => 0.0,
            (true, None) => 1.0 + settings.epochs as f64,
            (true, Some(every)) => 1.0 + (self.steps / every as f64).floor(),
        };
        let laid = HeldOut::new(&held_out.rows, settings);
        let mut once = Amount::default();
        laid.batches().iter().for_each(|batch| once += Amount::from(batch));
        self.held_out = once.times(held_out.times);
        if self.training.batches == 0.0 {
            // Where nothing is trained, these are what takes memory.
            laid.batches().iter().cloned().for_each(|batch| self.keep_larger(batch));
        }
        let questions =
            held_out.rows.iter().map(|row| row.tokens.ids.len() - row.tokens.trained_tokens()).sum::<usize>();
        let question = questions as f64 / held_out.rows.len().max(1) as f64;
        let text = question + settings.sample_tokens as f64 / 2.0;
        let a_token = Amount { batches: 1.0, pairs: PANEL * text, ..Amount::default() };
        let mut answer = Amount { tokens: question, pairs: question * question / 2.0, ..Amount::default() };
        answer += a_token.times(settings.sample_tokens as f64);
        self.sampled = answer.times(self.evaluations * settings.samples as f64);
    }

    /// Returns the seconds of a training of so many parameters, which has so much memory beside the weights.
    pub(super) fn seconds(
        &self,
        speed: &Speed,
        (config, passes): (&ModelConfig, &Passes),
        (parameters, bytes): (usize, u64),
    ) -> Seconds {
        let layers = config.layers;
        let rehearsal = if self.steps > 0.0 { Amount::from(&self.largest) } else { Amount::default() };
        let optimizer = self.steps * parameters as f64 * speed.parameter * BESIDE_OPTIMIZER;
        let losses = speed.losses(layers, self.held_out.times(self.evaluations));
        let weights = config.block_weights() + config.vocabulary * config.hidden;
        let answers = speed.losses(layers, self.sampled) + self.sampled.batches * weights as f64 * speed.weight;
        Seconds {
            before: speed.beginning(layers, passes, bytes) + speed.gradients(passes, rehearsal),
            steps: speed.gradients(passes, self.training) + optimizer + losses + answers,
        }
    }

    /// Returns the floating-point operations of training a token, on average: two for each weight of a block forward, two
    /// backward where a block has a backward pass, two for the gradient of each weight that is trained, those of attention,
    /// and the output projection's for trained tokens. What is computed again counts once.
    pub(super) fn flops_per_token(&self, config: &ModelConfig, passes: &Passes, adapter: Option<usize>) -> f64 {
        let Amount { tokens, trained, pairs, .. } = self.training;
        if tokens == 0.0 {
            return 0.0;
        }
        let a_block = config.block_weights() as f64 / config.layers as f64;
        let head = (config.vocabulary * config.hidden) as f64;
        let with_backward = (passes.trained + passes.frozen) as f64;
        // Each product of attention has two in the backward pass.
        let attention = 4.0 * (config.heads * config.head_dim) as f64 * (config.layers as f64 + 2.0 * with_backward);
        let frozen = 2.0 * a_block * (config.layers as f64 + with_backward) * tokens + 4.0 * head * trained;
        let gradients = match adapter {
            Some(parameters) => 6.0 * parameters as f64 * tokens,
            None => 2.0 * (a_block * config.layers as f64 * tokens + head * trained),
        };
        (frozen + gradients + attention * pairs) / tokens
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::inputs::Row;
    use super::*;
    use crate::model::rows::TokenRow;

    /// Returns a row of 40 tokens, the first 32 of them those of all rows, the last four trained.
    fn row(index: u32) -> Row {
        let ids = (0..32).chain((0..8).map(|token| 100 + 8 * index + token)).collect();
        Row {
            id: String::new(),
            tokens: TokenRow { ids, trained: (0..40).map(|token| token >= 36).collect() },
            weight: 1.0,
        }
    }

    #[test]
    fn what_rows_share_counts_once_in_a_micro_batch() {
        let rows: Vec<Row> = (0..4).map(row).collect();
        let settings = LoopSettings { epochs: 2, batch_size: 4, ..LoopSettings::default() };
        let all = Sample::all(&rows);
        let work = Work::of(&settings, &all, &Sample::default());
        let expected = Amount { batches: 2.0, tokens: 2.0 * 64.0, trained: 2.0 * 16.0, pairs: work.training.pairs };
        assert_eq!((work.steps, work.training, work.largest.tokens()), (2.0, expected, 64));
        // Three times as many rows of the kind, and a longer one.
        let long = Row { tokens: TokenRow { ids: vec![1; 90], trained: vec![true; 90] }, ..row(0) };
        let sample = Sample { times: 3.0, longest: vec![long], ..all.clone() };
        let work = Work::of(&settings, &sample, &Sample::default());
        assert_eq!((work.steps, work.training, work.largest.tokens()), (6.0, expected.times(3.0), 90));
        // Each alone.
        let settings = LoopSettings { micro_batch_tokens: 40, ..settings };
        let work = Work::of(&settings, &all, &Sample::default());
        assert_eq!((work.training.batches, work.training.tokens), (2.0 * 4.0, 2.0 * 160.0));
    }

    #[test]
    fn evaluations_and_answers_count_beside_the_steps() {
        let rows: Vec<Row> = (0..20).map(row).collect();
        let settings = LoopSettings {
            epochs: 1,
            batch_size: 2,
            eval: Some("dataset:eval".into()),
            eval_steps: Some(4),
            samples: 2,
            sample_tokens: 10,
            ..LoopSettings::default()
        };
        let work = Work::of(&settings, &Sample::all(&rows), &Sample { times: 2.0, ..Sample::all(&rows[..3]) });
        // Before the first step, and after the fourth and the eighth of ten.
        let (tokens, pairs) = (3.0 * 2.0 * 36.0, 3.0 * 2.0 * (36.0 * 18.0 + 10.0 * 16.0 * 41.0));
        assert_eq!((work.evaluations, work.held_out.tokens), (3.0, 2.0 * 56.0));
        assert_eq!(work.sampled, Amount { batches: 3.0 * 2.0 * 10.0, tokens, trained: 0.0, pairs });
        // A warm start without a new row is evaluated all the same.
        let work = Work::of(&settings, &Sample::default(), &Sample::all(&rows[..3]));
        assert_eq!((work.steps, work.evaluations, work.largest.tokens()), (0.0, 1.0, 56));
    }
}
