//! All weights, as transformers trains them.

use std::time::Instant;

use serde_json::json;
use tunesmith::model::optimizer::{AdamW, clip};
use tunesmith::model::transformer::{Batch, Tensor, WholeModel};
use tunesmith::model::weights::{Base, Float, PlannedTensor, Shards, WeightFiles};

use super::{ADAPTER_LIMIT, Case, LOSS_LIMIT};

impl Case {
    /// Runs a case in which all weights are trained, leaves the model for transformers, and returns whether all is within
    /// the limits.
    pub(super) fn run_whole(&self, name: &str) -> bool {
        let begun = Instant::now();
        let base = self.base();
        self.check_rows(&base);
        let mut model = WholeModel::load(&base, |_| ()).unwrap();
        let mut optimizer = AdamW::new(model.numbers(), self.number("weight-decay"));
        let losses = self.train(model.numbers(), |batches, how, gradient, rate| {
            let sum = batches.iter().map(|batch| model.loss_and_gradient(batch, how, gradient).unwrap()).sum();
            clip(gradient, 1.0);
            optimizer.step(model.parts(), gradient, rate);
            sum
        });
        drop(optimizer);
        self.write_whole(&model);
        let [start, theirs] = [base, self.model("final-1")].map(|base| WholeModel::load(&base, |_| ()).unwrap());
        let moved = distance(&theirs, &start);
        let own = self.folder.join("final-2").is_dir().then(|| {
            let other = WholeModel::load(&self.model("final-2"), |_| ()).unwrap();
            distance(&other, &theirs) / moved
        });
        self.tell((name, begun), &losses, (distance(&model, &theirs) / moved, own), (LOSS_LIMIT, ADAPTER_LIMIT))
    }

    /// Opens a model of the case's folder, with the base's tokenizer.
    fn model(&self, name: &str) -> Base {
        let files = fs_err::read_dir(self.folder.join(name)).unwrap().map(|entry| entry.unwrap());
        let named = files.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
        Base::open(&WeightFiles::Folder(named.collect())).unwrap()
    }

    /// Writes the model and the loss that it has on all rows.
    fn write_whole(&self, model: &WholeModel) {
        let folder = self.folder.join("ours");
        fs_err::create_dir_all(&folder).unwrap();
        let tensors = model.tensors();
        let plan = |tensor: &Tensor<'_>| {
            let (name, shape) = (tensor.parameter.name(), tensor.shape());
            PlannedTensor { name, shape, float: Float::F32 }
        };
        let shards = Shards::create(&folder, tensors.iter().map(plan).collect(), u64::MAX).unwrap();
        for (place, tensor) in tensors.iter().enumerate() {
            let planned = &shards.tensors()[place];
            for row in 0..planned.rows() {
                shards.write(place, row * planned.columns(), &tensor.row(row), &mut Vec::new()).unwrap();
            }
        }
        shards.finish().unwrap();
        let config = std::path::Path::new(self.how["path"].as_str().unwrap()).join("config.json");
        fs_err::copy(config, folder.join("config.json")).unwrap();
        let batches: Vec<Batch> = self.rows.iter().map(|row| Batch::new([(0, row)])).collect();
        let sum: f64 = batches.iter().map(|batch| model.model().loss(None, batch).unwrap()).sum();
        let loss = sum / batches.iter().map(Batch::trained_tokens).sum::<usize>() as f64;
        fs_err::write(folder.join("loss.json"), json!({ "loss": loss }).to_string()).unwrap();
    }
}

/// Returns the Euclidean distance of two models' weights.
fn distance(left: &WholeModel, right: &WholeModel) -> f64 {
    let (left, right) = (left.tensors(), right.tensors());
    let squares = left.iter().zip(&right).map(|(left, right)| super::distance(left.numbers, right.numbers).powi(2));
    squares.sum::<f64>().sqrt()
}
