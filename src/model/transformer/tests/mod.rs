use std::path::Path;

use super::super::optimizer::{AdamW, clip};
use super::super::rows::{OverLength, RowMaker, TokenRow};
use super::super::weights::tests::{tiny_base, tiny_gguf};
use super::*;
use crate::record::{Conversation, Role, Turn};

struct Tiny {
    model: Transformer,
    adapter: Adapter,
    rows: Vec<TokenRow>,
    losses: serde_json::Value,
}

/// Opens everything in `tests/fixtures/tiny-llama`.
fn tiny() -> Tiny {
    let base = tiny_base();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
    let adapter = folder.join("adapter");
    let (tokenizer, template) = (base.tokenizer().unwrap(), base.template().unwrap());
    let maker = RowMaker { tokenizer: &tokenizer, template: &template, max_tokens: 512, over_length: OverLength::Drop };
    let rows = fs_err::read_to_string(folder.join("rows.jsonl")).unwrap();
    let rows = rows.lines().map(|line| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |turn: usize| json["conversations"][turn]["value"].as_str().unwrap().to_owned();
        let turns = vec![Turn { role: Role::User, text: text(0) }, Turn { role: Role::Assistant, text: text(1) }];
        maker.row(&Conversation { turns, ..Conversation::default() }).unwrap().0.unwrap()
    });
    Tiny {
        model: Transformer::load(&base, Storage::Dense, |_| ()).unwrap(),
        adapter: Adapter::from_peft(
            base.config(),
            &adapter.join("adapter_config.json"),
            &adapter.join("adapter_model.safetensors"),
        )
        .unwrap(),
        rows: rows.collect(),
        losses: serde_json::from_slice(&fs_err::read(folder.join("losses.json")).unwrap()).unwrap(),
    }
}

impl Tiny {
    /// Returns rows laid end to end.
    fn batch(&self, rows: impl IntoIterator<Item = usize>) -> Batch {
        Batch::new(rows.into_iter().map(|row| row % self.rows.len()).map(|row| (row as u64, &self.rows[row])))
    }

    /// Gives `B` numbers, so that every gradient has something to be.
    fn stir(&mut self) {
        for (place, parameter) in self.adapter.parameters_mut().iter_mut().enumerate() {
            *parameter += ((place * 7919 % 1009) as f32 / 504.5 - 1.0) * 0.1;
        }
    }

    fn gradient(&self, batch: &Batch, activations: Activations, dropout: Option<Dropout>) -> (f64, Vec<f32>) {
        let mut gradient = vec![0.0; self.adapter.parameters().len()];
        let weight = 1.0 / batch.trained_tokens() as f32;
        let step = GradientStep { dropout, ..GradientStep::new(weight, activations) };
        let loss = self.model.loss_and_gradient(&self.adapter, batch, &step, &mut gradient).unwrap();
        (loss * f64::from(weight), gradient)
    }
}

#[test]
fn ten_steps_lose_what_pefts_ten_steps_lose() {
    let mut tiny = tiny();
    let ids: Vec<u32> = serde_json::from_value(tiny.losses["ids-of-row-3"].clone()).unwrap();
    assert_eq!(tiny.rows[3].ids, ids);
    let mut optimizer = AdamW::new(tiny.adapter.parameters().len(), 0.0);
    let rate = tiny.losses["learning-rate"].as_f64().unwrap();
    let steps = tiny.losses["steps"].as_array().unwrap().clone();
    assert_eq!(steps.len(), 10);
    for (step, expected) in steps.iter().enumerate() {
        let batch = tiny.batch([2 * step, 2 * step + 1]);
        let (loss, mut gradient) = tiny.gradient(&batch, Activations::Kept, None);
        let norm = clip(&mut gradient, 1.0);
        optimizer.step(tiny.adapter.parts(1.0), &gradient, rate);
        for (found, name) in [(loss, "loss"), (norm, "grad-norm")] {
            let expected = expected[name].as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < 1e-4, "step {step}: {name} {found}, PEFT has {expected}");
        }
    }
}

#[test]
fn a_row_loses_the_same_alone_and_beside_others() {
    let mut tiny = tiny();
    tiny.stir();
    let loss = |rows: &[usize]| tiny.model.loss(Some(&tiny.adapter), &tiny.batch(rows.iter().copied())).unwrap();
    let alone: f64 = [0, 1, 2, 3].map(|row| loss(&[row])).iter().sum();
    let together = loss(&[0, 1, 2, 3]);
    // Beside others a row's keys are summed in other parts: to rounding it is the same.
    assert!((alone - together).abs() < 1e-7 * alone, "{alone} is not {together}");
}

/// Returns a row of the fixture's tokens that begins with `shared` tokens of row 0 and goes on with row `own`.
fn with_prefix(tiny: &Tiny, shared: usize, own: usize) -> TokenRow {
    let mut row = TokenRow { ids: tiny.rows[0].ids[..shared].to_vec(), trained: vec![false; shared] };
    row.ids.extend(&tiny.rows[own].ids);
    row.trained.extend(&tiny.rows[own].trained);
    row
}

#[test]
fn shared_beginnings_are_computed_once_and_have_the_loss_and_the_gradient_of_separate_rows() {
    let mut tiny = tiny();
    tiny.stir();
    // A tree of two levels, a row that is wholly the beginning of others, one twice, one of a single token, one empty.
    let whole = TokenRow { ids: tiny.rows[0].ids[..21].to_vec(), trained: (0..21).map(|token| token > 17).collect() };
    let single = TokenRow { ids: vec![5], trained: vec![false] };
    let rows = [
        with_prefix(&tiny, 21, 3),
        with_prefix(&tiny, 21, 5),
        single,
        tiny.rows[7].clone(),
        with_prefix(&tiny, 37, 2),
        TokenRow::default(),
        with_prefix(&tiny, 37, 4),
        whole,
        with_prefix(&tiny, 21, 5),
    ];
    let together = Batch::new((0..).zip(&rows));
    let all: usize = rows.iter().map(|row| row.ids.len()).sum();
    assert!(together.tokens() < all - 100, "{} of {all} tokens are computed", together.tokens());
    let mut separate = vec![0.0; tiny.adapter.parameters().len()];
    let mut loss = 0.0;
    let weight = 1.0 / together.trained_tokens() as f32;
    for row in rows.iter().filter(|row| row.trained_tokens() > 0) {
        let step = GradientStep::new(weight, Activations::Kept);
        let batch = Batch::new([(0, row)]);
        loss += tiny.model.loss_and_gradient(&tiny.adapter, &batch, &step, &mut separate).unwrap();
    }
    let (found, gradient) = tiny.gradient(&together, Activations::Kept, None);
    assert!((found / (loss * f64::from(weight)) - 1.0).abs() < 1e-6, "{found} is not {loss}");
    let size = separate.iter().fold(0.0_f32, |size, number| size.max(number.abs()));
    for (place, (found, expected)) in gradient.iter().zip(&separate).enumerate() {
        assert!((found - expected).abs() < 1e-5 * size, "{place}: {found} is not {expected}");
    }
    same_bits_everywhere(&tiny, &together);
}

#[test]
fn a_batch_of_nothing_loses_nothing() {
    let tiny = tiny();
    for rows in [vec![], vec![TokenRow::default()], vec![TokenRow { ids: vec![7], trained: vec![false] }]] {
        let step = GradientStep::new(1.0, Activations::Kept);
        let mut gradient = vec![0.0; tiny.adapter.parameters().len()];
        let batch = Batch::new((0..).zip(&rows));
        let loss = tiny.model.loss_and_gradient(&tiny.adapter, &batch, &step, &mut gradient).unwrap();
        assert!(loss == 0.0 && gradient.iter().all(|number| *number == 0.0));
        assert_eq!(tiny.model.logits(None, &batch).unwrap().len(), batch.tokens());
        assert!(tiny.model.loss(None, &batch).unwrap() == 0.0);
    }
}

#[test]
fn threads_and_recomputed_activations_change_no_bit() {
    let mut tiny = tiny();
    tiny.stir();
    let batch = tiny.batch(0..8);
    same_bits_everywhere(&tiny, &batch);
}

/// Checks that neither threads nor recomputed activations change a bit.
fn same_bits_everywhere(tiny: &Tiny, batch: &Batch) {
    let dropout = Some(Dropout { rate: 0.1, seed: 5 });
    let bits = |threads: usize, activations| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (loss, gradient) = pool.install(|| tiny.gradient(batch, activations, dropout));
        (loss.to_bits(), gradient.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    let one = bits(1, Activations::Kept);
    assert!(bits(2, Activations::Kept) == one);
    assert!(bits(3, Activations::Recomputed) == one);
    assert!(bits(8, Activations::Recomputed) == one);
    let (blocks, tokens) = (tiny.model.blocks.len(), batch.tokens());
    let kept = |bytes| tiny.model.kept_blocks(Some(&tiny.adapter), Activations::Within(bytes), tokens);
    let adapted = |layer| tiny.adapter.modules().iter().filter(move |module| module.layer == layer);
    let mut bytes = 0;
    for layer in (0..blocks).rev() {
        let adapted = adapted(layer).map(Module::kept_features).sum();
        bytes += block_bytes(tiny_base().config(), adapted, tokens);
        assert_eq!([kept(bytes - 1), kept(bytes)], [blocks - layer - 1, blocks - layer]);
        assert!(bits(2, Activations::Within(bytes)) == one, "{layer}");
    }
    assert!(bits(2, Activations::Within(0)) == one);
}

#[test]
fn dropout_is_drawn_anew_with_each_seed_and_has_the_gradient_that_differences_show() {
    let mut tiny = tiny();
    tiny.stir();
    let batch = tiny.batch([1, 2]);
    let dropout = |seed| Some(Dropout { rate: 0.3, seed });
    let (loss, gradient) = tiny.gradient(&batch, Activations::Kept, dropout(1));
    assert_ne!(tiny.gradient(&batch, Activations::Kept, dropout(2)).0.to_bits(), loss.to_bits());
    let norm: f64 = gradient.iter().map(|number| f64::from(number * number)).sum();
    let size = 1e-2 / norm.sqrt();
    let mut at = |sign: f64| {
        let before = tiny.adapter.clone();
        for (parameter, slope) in tiny.adapter.parameters_mut().iter_mut().zip(&gradient) {
            *parameter += (sign * size) as f32 * slope;
        }
        let loss = tiny.gradient(&batch, Activations::Kept, dropout(1)).0;
        tiny.adapter = before;
        loss
    };
    let found = (at(1.0) - at(-1.0)) / (2.0 * size);
    assert!((found / norm - 1.0).abs() < 0.01, "{found} is not {norm}");
}

#[test]
fn noise_moves_each_embedding_within_its_bound_and_is_the_same_for_any_threads() {
    let mut tiny = tiny();
    tiny.stir();
    let batch = tiny.batch([0, 3, 6]);
    let noise = Noise { alpha: 5.0, seed: 1 };
    let mut longest = 0.0_f32;
    for token in 0..batch.tokens() {
        let bound = 5.0 / (batch.row_length(token) as f32 * 32.0).sqrt();
        let added = noise.added(&[0.0; 32], &batch, token);
        assert!(added.iter().all(|number| number.abs() <= bound));
        longest = added.iter().fold(longest, |longest, number| longest.max(number.abs() / bound));
    }
    assert!(longest > 0.99, "{longest}");
    let losses = [(1, noise), (2, noise), (1, Noise { seed: 2, ..noise })].map(|(threads, noise)| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let step = GradientStep { noise: Some(noise), ..GradientStep::new(1.0, Activations::Kept) };
        let mut gradient = vec![0.0; tiny.adapter.parameters().len()];
        let loss = pool.install(|| tiny.model.loss_and_gradient(&tiny.adapter, &batch, &step, &mut gradient).unwrap());
        (loss.to_bits(), gradient.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    });
    assert_eq!(losses[0], losses[1]);
    assert_ne!(losses[0].0, losses[2].0);
}

#[test]
fn a_base_that_stays_quantised_gives_the_same_bits_as_one_that_was_dequantised() {
    let folder = tempfile::tempdir().unwrap();
    let base = Base::open(&tiny_gguf(folder.path())).unwrap();
    let mut tiny = tiny();
    tiny.stir();
    let batch = tiny.batch([0, 3, 5]);
    let plain = tiny.gradient(&batch, Activations::Kept, None);
    let mut bits = [Storage::Dense, Storage::AsStored].map(|storage| {
        tiny.model = Transformer::load(&base, storage, |_| ()).unwrap();
        tiny.gradient(&batch, Activations::Kept, None)
    });
    assert!((bits[0].0 / plain.0 - 1.0).abs() < 0.01, "{} is not {}", bits[0].0, plain.0);
    let bits = bits
        .each_mut()
        .map(|(loss, gradient)| (loss.to_bits(), gradient.iter().map(|number| number.to_bits()).collect::<Vec<_>>()));
    assert_eq!(bits[0], bits[1]);
}

mod adapters;
mod operations;
mod peer;
mod portable;
mod text;
mod whole;
