//! A forward pass in 64 bits by the formulas alone, which the importance of columns is held against.

use std::collections::BTreeMap;

use crate::llama::{ContextOptions, Importance, Model, Token, importance};
use crate::model::gguf::{TensorType, tiny};

const LAYERS: usize = 2;
const HEAD: usize = (tiny::EMBEDDING / tiny::HEADS) as usize;
const QUERIES_OF_KEY: usize = (tiny::HEADS / tiny::KV_HEADS) as usize;

/// One row of numbers a token.
type Rows = Vec<Vec<f64>>;

/// A small Llama with tied embeddings, and the squares of what its matrices were multiplied with.
struct Reference {
    tensors: BTreeMap<String, Vec<f64>>,
    squares: BTreeMap<String, Vec<f64>>,
    tokens: usize,
}

impl Reference {
    fn of(tensors: &[tiny::Tensor]) -> Self {
        let numbers = |tensor: &tiny::Tensor| tensor.numbers.iter().map(|number| f64::from(*number)).collect();
        let tensors = tensors.iter().map(|tensor| (tensor.name.clone(), numbers(tensor))).collect();
        Self { tensors, squares: BTreeMap::new(), tokens: 0 }
    }

    fn read(&mut self, text: &[Token]) {
        self.tokens += text.len();
        let table = &self.tensors["token_embd.weight"];
        let columns = tiny::EMBEDDING as usize;
        let mut stream: Rows =
            text.iter().map(|token| table[*token as usize * columns..][..columns].to_vec()).collect();
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let input = self.norm(&name("attn_norm"), &stream);
            let [mut queries, mut keys, values] =
                ["attn_q", "attn_k", "attn_v"].map(|part| self.product(&name(part), &input));
            rotate(&mut queries);
            rotate(&mut keys);
            let seen = self.product(&name("attn_output"), &attention(&queries, &keys, &values));
            add(&mut stream, &seen);
            let input = self.norm(&name("ffn_norm"), &stream);
            let [gates, ups] = ["ffn_gate", "ffn_up"].map(|part| self.product(&name(part), &input));
            let silu = |(gate, up): (&f64, &f64)| gate / (1.0 + (-gate).exp()) * up;
            let gated: Rows =
                gates.iter().zip(&ups).map(|(gates, ups)| gates.iter().zip(ups).map(silu).collect()).collect();
            let made = self.product(&name("ffn_down"), &gated);
            add(&mut stream, &made);
        }
    }

    fn norm(&self, name: &str, rows: &Rows) -> Rows {
        let weights = &self.tensors[name];
        let one = |row: &Vec<f64>| {
            let square = row.iter().map(|number| number * number).sum::<f64>() / row.len() as f64;
            row.iter().zip(weights).map(|(number, weight)| number / (square + 1e-5).sqrt() * weight).collect()
        };
        rows.iter().map(one).collect()
    }

    /// Multiplies rows with a matrix, and adds their squares to those of its columns.
    fn product(&mut self, name: &str, rows: &Rows) -> Rows {
        let squares = self.squares.entry(name.to_owned()).or_insert_with(|| vec![0.0; rows[0].len()]);
        for row in rows {
            squares.iter_mut().zip(row).for_each(|(sum, number)| *sum += number * number);
        }
        let matrix = &self.tensors[name];
        rows.iter().map(|row| matrix.chunks(row.len()).map(|weights| dot(weights, row)).collect()).collect()
    }

    fn importance(self) -> BTreeMap<String, Vec<f64>> {
        let tokens = self.tokens as f64;
        let means = |(name, squares): (String, Vec<f64>)| (name, squares.iter().map(|sum| sum / tokens).collect());
        self.squares.into_iter().map(means).collect()
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

fn add(rows: &mut Rows, more: &Rows) {
    for (row, more) in rows.iter_mut().zip(more) {
        row.iter_mut().zip(more).for_each(|(number, more)| *number += more);
    }
}

/// Turns neighbouring numbers of each head by their row's place (Su et al., 2021), as GGUFs of Llamas have them.
fn rotate(rows: &mut Rows) {
    for (place, row) in rows.iter_mut().enumerate() {
        for head in row.chunks_mut(HEAD) {
            for (pair, numbers) in head.chunks_mut(2).enumerate() {
                let angle = place as f64 * 10_000_f64.powf(-2.0 * pair as f64 / HEAD as f64);
                let (sine, cosine) = angle.sin_cos();
                let (first, second) = (numbers[0], numbers[1]);
                (numbers[0], numbers[1]) = (first * cosine - second * sine, first * sine + second * cosine);
            }
        }
    }
}

fn attention(queries: &Rows, keys: &Rows, values: &Rows) -> Rows {
    let one = |(place, query): (usize, &Vec<f64>)| {
        let heads = query.chunks(HEAD).enumerate().flat_map(|(head, query)| {
            let part = head / QUERIES_OF_KEY * HEAD..(head / QUERIES_OF_KEY + 1) * HEAD;
            let score = |key: &Vec<f64>| (dot(query, &key[part.clone()]) / (HEAD as f64).sqrt()).exp();
            let scores: Vec<f64> = keys[..=place].iter().map(score).collect();
            let sum: f64 = scores.iter().sum();
            let mut seen = vec![0.0; HEAD];
            for (score, value) in scores.iter().zip(values) {
                seen.iter_mut().zip(&value[part.clone()]).for_each(|(seen, value)| *seen += score / sum * value);
            }
            seen
        });
        heads.collect()
    };
    queries.iter().enumerate().map(one).collect()
}

/// Returns the largest difference of a column as a share of itself.
fn largest(measured: &Importance, expected: &BTreeMap<String, Vec<f64>>) -> f64 {
    assert!(measured.keys().eq(expected.keys()), "{:?}", measured.keys());
    let pairs = expected.iter().flat_map(|(name, columns)| {
        assert_eq!(measured[name].len(), columns.len(), "{name}");
        measured[name].iter().zip(columns)
    });
    pairs.map(|(measured, expected)| (f64::from(*measured) / expected - 1.0).abs()).fold(0.0, f64::max)
}

#[test]
fn importance_is_that_of_a_pass_in_64_bits() {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("tiny.gguf");
    let tensors = tiny::tensors(1);
    tiny::write(&path, &tensors, TensorType::F32).unwrap();
    let texts: [Vec<Token>; 2] = [(0..120).map(|at| 3 + at * 7 % 250).collect(), vec![9, 40, 12]];
    let mut reference = Reference::of(&tensors);
    for text in &texts {
        reference.read(text);
    }
    let options = ContextOptions { length: 512, threads: 1, interrupt: &|| false };
    let measured = importance(&Model::load(&path).unwrap(), &options, &texts, || ()).unwrap();
    // Keys and values in 16 bits would make it more than 1e-4.
    let largest = largest(&measured, &reference.importance());
    assert!(largest < 1e-5, "{largest:e}");
}
