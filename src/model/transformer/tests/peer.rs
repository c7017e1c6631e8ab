//! All weights trained as transformers trains them: `tests/fixtures/full.py` has made the numbers.

use serde_json::Value;

use super::super::super::optimizer::Schedule;
use super::super::super::weights::WeightFiles;
use super::*;

/// A folder of the fixtures with what transformers made of its model.
struct Peer {
    model: WholeModel,
    rows: Vec<TokenRow>,
    expected: Value,
}

impl Peer {
    fn read(folder: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
        let files = fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        let named = files.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
        let base = Base::open(&WeightFiles::Folder(named.collect())).unwrap();
        let expected: Value = serde_json::from_slice(&fs_err::read(folder.join("full.json")).unwrap()).unwrap();
        let row = |row: &Value| TokenRow {
            ids: serde_json::from_value(row["ids"].clone()).unwrap(),
            trained: serde_json::from_value(row["trained"].clone()).unwrap(),
        };
        let rows = expected["rows"].as_array().unwrap().iter().map(row).collect();
        Self { model: WholeModel::load(&base, |_| ()).unwrap(), rows, expected }
    }

    fn number(&self, key: &str) -> f64 {
        self.expected[key].as_f64().unwrap()
    }

    /// Returns all tensors by their names, row after row.
    fn tensors(&self) -> Vec<(String, Vec<f32>)> {
        let rows = |tensor: &Tensor<'_>| tensor.shape().iter().rev().skip(1).product::<usize>();
        let numbers = |tensor: &Tensor<'_>| (0..rows(tensor)).flat_map(|row| tensor.row(row)).collect();
        self.model.tensors().iter().map(|tensor| (tensor.parameter.name(), numbers(tensor))).collect()
    }

    /// Checks the norm of each tensor's numbers, and their sum with signs, against those of transformers.
    fn check(&self, found: &[(String, Vec<f32>)], what: &str, limit: f64) {
        let expected = self.expected["tensors"].as_object().unwrap();
        assert_eq!(found.len(), expected.len());
        for (name, numbers) in found {
            let sign = |place: usize| if (place * 2_654_435_761) & 64 == 0 { 1.0 } else { -1.0 };
            let norm = numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
            let signed: f64 = numbers.iter().enumerate().map(|(place, number)| sign(place) * f64::from(*number)).sum();
            let expected = |key: &str| expected[name][what][key].as_f64().unwrap();
            // A sum of many signs is about as large as the norm.
            for (found, key) in [(norm, "norm"), (signed, "signed")] {
                let difference = (found - expected(key)).abs() / expected("norm");
                assert!(difference < limit, "{what} of {name}: {key} {found} is not {}", expected(key));
            }
        }
    }

    /// Returns a gradient as tensors by their names, row after row, the way it lies in a model.
    fn of_gradient(&mut self, gradient: &[f32]) -> Vec<(String, Vec<f32>)> {
        let numbers = self.model.tensors().iter().flat_map(|tensor| tensor.numbers.to_vec()).collect::<Vec<_>>();
        self.model.set(gradient);
        let tensors = self.tensors();
        self.model.set(&numbers);
        tensors
    }
}

#[test]
fn ten_steps_lose_what_those_of_transformers_lose_and_end_where_theirs_end() {
    for folder in ["tiny-llama", "architectures/mistral", "architectures/qwen2", "architectures/qwen3"] {
        let mut peer = Peer::read(folder);
        let start = peer.tensors();
        let mut optimizer = AdamW::new(peer.model.numbers(), peer.number("weight-decay"));
        let steps = peer.expected["steps"].as_array().unwrap().clone();
        let rows_a_step = peer.number("rows-a-step") as usize;
        for (number, expected) in steps.iter().enumerate() {
            let first = number * rows_a_step;
            let rows = (first..first + rows_a_step).map(|row| (row as u64, &peer.rows[row % peer.rows.len()]));
            let batch = Batch::new(rows);
            let weight = 1.0 / batch.trained_tokens() as f32;
            let label_smoothing = peer.number("label-smoothing") as f32;
            let step = GradientStep { label_smoothing, ..GradientStep::new(weight, Activations::Kept) };
            let mut gradient = vec![0.0; peer.model.numbers()];
            let loss = peer.model.loss_and_gradient(&batch, &step, &mut gradient).unwrap() * f64::from(weight);
            if number == 0 {
                let gradient = peer.of_gradient(&gradient);
                peer.check(&gradient, "gradient", 1e-4);
            }
            let norm = clip(&mut gradient, 1.0);
            let (count, warmup) = (steps.len() as u64, peer.number("warmup-steps") as u64);
            let rate = Schedule::Cosine.rate(peer.number("learning-rate"), number as u64, count, warmup);
            optimizer.step(peer.model.parts(), &gradient, rate);
            for (found, name) in [(loss, "loss"), (norm, "grad-norm")] {
                let expected = expected[name].as_f64().unwrap();
                let difference = (found / expected - 1.0).abs();
                assert!(difference < 1e-4, "{folder}, step {number}: {name} {found}, transformers has {expected}");
            }
        }
        let moved = start.iter().zip(peer.tensors()).map(|((name, start), (_, end))| {
            (name.clone(), start.iter().zip(end).map(|(start, end)| end - start).collect())
        });
        peer.check(&moved.collect::<Vec<_>>(), "moved", 1e-3);
        for tensor in peer.model.tensors() {
            let (parameter, name) = (tensor.parameter, tensor.parameter.name());
            assert_eq!(peer.expected["tensors"][&name]["decays"], parameter.decays(), "{folder}, {name}");
        }
    }
}
