//! A projection with each kind of addition: plain, LoRA, DoRA, PiSSA, with and without dropout, over floats and over a
//! weight that stays quantised; and the gradient of a weight that is trained.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::super::super::batch::Batch;
use super::super::super::linear::{Backward, Dropout, Low, Magnitude, forward};
use super::*;
use crate::model::config::{Architecture, Biases, ModelConfig};
use crate::model::kernel::{Features, Mode, Workspace, add_outer_bands, bands_len};
use crate::model::lora::{LoraConfig, LowRank, Module, Projection, TargetModules, row_norms};
use crate::model::weights::{Matrix, Storage};

/// Returns `up` of a model whose blocks turn so many features into so many.
fn module(inputs: usize, outputs: usize, dora: bool) -> Module {
    let config = ModelConfig {
        architecture: Architecture::Llama,
        biases: Biases::default(),
        hidden: inputs,
        intermediate: outputs,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        head_dim: 2,
        vocabulary: 2,
        context: 8,
        rms_epsilon: 1e-5,
        tied: true,
        rope_frequencies: vec![1.0],
    };
    let targets = TargetModules::Names(vec![Projection::Up.name().to_owned()]);
    let lora = LoraConfig { rank: 3, alpha: 4.5, targets, dora, ..LoraConfig::default() };
    lora.modules(&config).unwrap()[0]
}

/// What a projection is computed from.
struct Case {
    module: Module,
    matrix: Matrix,
    weight: Rows,
    /// PiSSA's `A` and `B`, which the weight lacks.
    removed: Option<[Rows; 2]>,
    dropout: Option<Dropout>,
    given: Vec<TokenRow>,
}

/// What of it has a gradient: the input, `A`, `B`, and DoRA's magnitudes.
type Moving<'a> = [&'a Rows; 4];

impl Case {
    /// Returns `scale · B A x` of each token.
    fn low([a, b]: [&Rows; 2], scale: f64, x: &Rows) -> Rows {
        let scaled = |rows: Rows| -> Rows {
            rows.into_iter().map(|row| row.into_iter().map(|number| scale * number).collect()).collect()
        };
        scaled(through(b, &through(a, x)))
    }

    /// The output by its definition. DoRA's `norms` stay what they are, as no gradient goes through them.
    fn output(&self, batch: &Batch, norms: &[f64], [x, a, b, magnitude]: Moving<'_>) -> Rows {
        let scale = f64::from(self.module.scale());
        let frozen = |x: &Rows| {
            let whole = through(&self.weight, x);
            match &self.removed {
                None => whole,
                Some([a, b]) => combined(&whole, &Self::low([a, b], scale, x), |_| -1.0),
            }
        };
        let dropped = self.dropped(batch, x);
        let low = Self::low([a, b], scale, &dropped);
        if self.module.magnitude().is_none() {
            return combined(&frozen(x), &low, |_| 1.0);
        }
        let share = |at: usize| magnitude[0][at] / norms[at];
        let turned = combined(&frozen(x), &frozen(&dropped), |at| share(at) - 1.0);
        combined(&turned, &low, share)
    }

    fn dropped(&self, batch: &Batch, x: &Rows) -> Rows {
        let Some(dropout) = self.dropout else { return x.clone() };
        let token = |(token, x): (usize, &Vec<f64>)| {
            let token = dropout.token(PLACE, batch.identity(token));
            x.iter().enumerate().map(|(at, x)| x * f64::from(dropout.factor(token, at))).collect()
        };
        x.iter().enumerate().map(token).collect()
    }

    fn check(&self, what: &str) {
        let Module { inputs, outputs, .. } = self.module;
        let (rank, scale) = (self.module.rank(), self.module.scale());
        let batch = Batch::new((0..).zip(&self.given));
        let count = batch.tokens();
        let (x, back) = (rows(11, count, inputs), rows(12, count, outputs));
        let (a, b) = (rows(13, rank, inputs), rows(14, outputs, rank));
        let magnitude: Rows =
            rows(15, 1, outputs).into_iter().map(|row| row.iter().map(|m| m + 2.0).collect()).collect();
        let [a_numbers, b_numbers, magnitudes] = [&a, &b, &magnitude].map(flat);
        let pair = LowRank { a: &a_numbers, b: &b_numbers, rank, scale };
        let removed_numbers = self.removed.as_ref().map(|[a, b]| [flat(a), flat(b)]);
        let removed = removed_numbers.as_ref().map(|[a, b]| LowRank { a, b, rank, scale });
        let norms = row_norms(&self.matrix, removed.as_ref(), &pair);
        let trained = Magnitude { trained: &magnitudes, norms: &norms };
        let magnitude_of = self.module.magnitude().map(|_| trained);
        let low = Low { pair, removed, magnitude: magnitude_of, module: PLACE };
        let drop = self.dropout.map(|dropout| (dropout, &batch));
        let x_panels = panels(&x, inputs);
        let (out, kept) = forward(&self.matrix, Some(&low), &x_panels, drop);
        let wide: Vec<f64> = norms.iter().copied().map(f64::from).collect();
        let output = |moving: Moving<'_>| self.output(&batch, &wide, moving);
        check(what, &tokens(&out, count), &output([&x, &a, &b, &magnitude]));

        let backward =
            Backward { weight: &self.matrix, low: Some((low, &self.module)), x: &x_panels, kept: &kept, drop };
        let end = self.module.magnitude().map_or(self.module.b().end, |place| place.end);
        let (mut gradient, mut of_x) = (vec![0.0; end], x_panels.like(inputs));
        backward.run(&panels(&back, outputs), &mut of_x, Mode::Fresh, &mut gradient);
        let part = |place: std::ops::Range<usize>, columns| by_rows(&gradient[place], columns);
        let of = |moving: Moving<'_>| product(&output(moving), &back);
        let found = tokens(&of_x, count);
        check_gradient(&format!("{what}: input"), &x, &found, |x| of([x, &a, &b, &magnitude]));
        check_gradient(&format!("{what}: A"), &a, &part(self.module.a(), inputs), |a| of([&x, a, &b, &magnitude]));
        check_gradient(&format!("{what}: B"), &b, &part(self.module.b(), rank), |b| of([&x, &a, b, &magnitude]));
        if let Some(place) = self.module.magnitude() {
            let what = format!("{what}: magnitudes");
            check_gradient(&what, &magnitude, &part(place, outputs), |magnitude| of([&x, &a, &b, magnitude]));
        }
        // Beside other projections of the same input it is added.
        let mut sum = panels(&x, inputs);
        backward.run(&panels(&back, outputs), &mut sum, Mode::Sum, &mut gradient);
        check(&format!("{what}: sum"), &tokens(&sum, count), &combined(&found, &x, |_| 1.0));
    }
}

/// What tells the module from others, for dropout.
const PLACE: u64 = 77;

/// Returns `M x` of each token.
fn through(matrix: &Rows, x: &Rows) -> Rows {
    let token = |x: &Vec<f64>| matrix.iter().map(|row| row.iter().zip(x).map(|(weight, x)| weight * x).sum()).collect();
    x.iter().map(token).collect()
}

/// Returns the first plus a multiple of the second, by features.
fn combined(first: &Rows, second: &Rows, share: impl Fn(usize) -> f64) -> Rows {
    let number = |(at, (first, second)): (usize, (&f64, &f64))| first + share(at) * second;
    let token = |(first, second): (&Vec<f64>, &Vec<f64>)| first.iter().zip(second).enumerate().map(number).collect();
    first.iter().zip(second).map(token).collect()
}

/// Returns a matrix and its numbers: floats, or 8 bits where rows are whole blocks.
fn matrix(rows_count: usize, columns: usize) -> (Matrix, Rows) {
    let numbers = flat(&rows(10, rows_count, columns));
    let matrix = if columns.is_multiple_of(32) {
        let tensor = Tensor::from_vec(numbers, (rows_count, columns), &Device::Cpu).unwrap();
        let bytes = QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap();
        let bytes = bytes.data().unwrap();
        Matrix::from_bytes([rows_count, columns], GgmlDType::Q8_0, &bytes, Storage::AsStored).unwrap()
    } else {
        Matrix::dense(rows_count, columns, numbers)
    };
    let weight = (0..rows_count).map(|row| matrix.row(row).into_iter().map(f64::from).collect()).collect();
    (matrix, weight)
}

#[test]
fn a_projection_with_any_addition_is_its_definition_and_has_its_gradients() {
    for (inputs, outputs) in [(19, 37), (5, 3), (64, 33)] {
        // Of no token there is no backward pass.
        for lengths in [vec![1], vec![0, 1, 17, 0, 16]] {
            for (dora, pissa, drops) in [false, true].into_iter().flat_map(|dora| {
                [(false, false), (false, true), (true, false), (true, true)].map(|(pissa, drops)| (dora, pissa, drops))
            }) {
                let (matrix, weight) = matrix(outputs, inputs);
                let case = Case {
                    module: module(inputs, outputs, dora),
                    matrix,
                    weight,
                    removed: pissa.then(|| [rows(16, 3, inputs), rows(17, outputs, 3)]),
                    dropout: drops.then_some(Dropout { rate: 0.3, seed: 5 }),
                    given: rows_of(&lengths),
                };
                case.check(&format!(
                    "{inputs} to {outputs}, rows of {lengths:?}, DoRA {dora}, PiSSA {pissa}, dropout {drops}"
                ));
            }
        }
    }
}

#[test]
fn a_projection_without_an_addition_and_its_trained_weight_have_the_gradients_of_their_definition() {
    for (count, inputs, outputs) in [(1, 1, 1), (5, 19, 37), (33, 65, 97)] {
        let what = format!("{count} tokens, {inputs} to {outputs}");
        let (x, back) = (rows(1, count, inputs), rows(2, count, outputs));
        let table = rows(3, outputs, inputs);
        let matrix = Matrix::dense(outputs, inputs, flat(&table));
        let (x_panels, back_panels) = (panels(&x, inputs), panels(&back, outputs));
        let (out, kept) = forward(&matrix, None, &x_panels, None);
        check(&what, &tokens(&out, count), &through(&table, &x));
        let mut of_x = x_panels.like(inputs);
        let backward = Backward { weight: &matrix, low: None, x: &x_panels, kept: &kept, drop: None };
        backward.run(&back_panels, &mut of_x, Mode::Fresh, &mut []);
        check_gradient(&what, &x, &tokens(&of_x, count), |x| product(&through(&table, x), &back));
        let mut of_weight = vec![0.0; bands_len(outputs, inputs)];
        let workspace = Workspace::default();
        add_outer_bands(&workspace, Features::of(&back_panels), Features::of(&x_panels), &mut of_weight);
        let of_weight = by_bands(&of_weight, outputs, inputs);
        check_gradient(&what, &table, &of_weight, |table| product(&through(table, &x), &back));
    }
}
