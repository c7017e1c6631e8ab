//! How one model predicts the trained tokens, and how far its predictions are from the adapter's.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::error::LadderError;

/// What a model made of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Measure {
    /// Mean negative log-likelihood of a trained token, in nats.
    pub(super) loss: f64,
    /// Mean Kullback–Leibler divergence of its predictions from the adapter's, in nats: `Σ p ln(p / q)` where `p` are the
    /// adapter's probabilities.
    pub(super) kl: f64,
    /// The share of tokens for which it holds the same one for the likeliest as the adapter.
    pub(super) same_top: f64,
}

/// Takes in one model's predictions, token after token.
pub(super) struct Meter<'a> {
    rung: &'a str,
    reference: Reference,
    /// The adapter's log-probabilities of one place, and their bytes in the file.
    expected: Vec<f32>,
    bytes: Vec<u8>,
    tokens: u64,
    loss: f64,
    kl: f64,
    same: u64,
}

/// The adapter's log-probabilities of all places, in a file of 32-bit floats.
enum Reference {
    /// They are being written: what is measured is the adapter itself.
    Written(io::BufWriter<fs_err::File>),
    /// They are held against those of another.
    Read(io::BufReader<fs_err::File>),
}

impl<'a> Meter<'a> {
    /// Starts with the adapter, whose predictions are kept at `path`.
    pub(super) fn of_adapter(path: &Path, rung: &'a str, vocabulary: usize) -> Result<Self, LadderError> {
        let file = fs_err::File::create(path).map_err(LadderError::Scratch)?;
        Ok(Self::new(rung, Reference::Written(io::BufWriter::with_capacity(1 << 20, file)), vocabulary))
    }

    /// Starts with another model, which is held against the predictions at `path`.
    pub(super) fn against(path: &Path, rung: &'a str, vocabulary: usize) -> Result<Self, LadderError> {
        let file = fs_err::File::open(path).map_err(LadderError::Scratch)?;
        Ok(Self::new(rung, Reference::Read(io::BufReader::with_capacity(1 << 20, file)), vocabulary))
    }

    fn new(rung: &'a str, reference: Reference, vocabulary: usize) -> Self {
        let (expected, bytes) = (vec![0.0; vocabulary], vec![0; 4 * vocabulary]);
        Self { rung, reference, expected, bytes, tokens: 0, loss: 0.0, kl: 0.0, same: 0 }
    }

    /// Takes the logits that predict `token`.
    pub(super) fn take(&mut self, token: usize, logits: &[f32]) -> Result<(), LadderError> {
        if logits.len() != self.expected.len() {
            let (found, expected) = (logits.len(), self.expected.len());
            return Err(LadderError::OtherVocabulary { rung: self.rung.into(), found, expected });
        }
        let norm = norm(logits);
        self.tokens += 1;
        self.loss += norm - f64::from(logits[token]);
        match &mut self.reference {
            Reference::Written(file) => {
                for (bytes, logit) in self.bytes.as_chunks_mut().0.iter_mut().zip(logits) {
                    *bytes = ((f64::from(*logit) - norm) as f32).to_le_bytes();
                }
                file.write_all(&self.bytes).map_err(LadderError::Scratch)?;
                self.same += 1;
            }
            Reference::Read(file) => {
                file.read_exact(&mut self.bytes).map_err(LadderError::Scratch)?;
                for (expected, bytes) in self.expected.iter_mut().zip(self.bytes.as_chunks().0) {
                    *expected = f32::from_le_bytes(*bytes);
                }
                let terms = self.expected.iter().zip(logits).map(|(expected, logit)| {
                    let expected = f64::from(*expected);
                    expected.exp() * (expected - (f64::from(*logit) - norm))
                });
                // Rounding can leave a trace below zero where two models are the same.
                self.kl += terms.sum::<f64>().max(0.0);
                self.same += u64::from(likeliest(&self.expected) == likeliest(logits));
            }
        }
        Ok(())
    }

    /// Returns what was measured.
    pub(super) fn finish(self) -> Result<Measure, LadderError> {
        if let Reference::Written(mut file) = self.reference {
            file.flush().map_err(LadderError::Scratch)?;
        }
        let tokens = self.tokens.max(1) as f64;
        Ok(Measure { loss: self.loss / tokens, kl: self.kl / tokens, same_top: self.same as f64 / tokens })
    }
}

/// Returns `ln Σ exp(logit)`.
fn norm(logits: &[f32]) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - highest).exp()).sum();
    f64::from(highest) + sum.ln()
}

/// Returns the place of the greatest number; of equal ones the first.
fn likeliest(logits: &[f32]) -> usize {
    let greater = |best: usize, (at, logit): (usize, &f32)| if *logit > logits[best] { at } else { best };
    logits.iter().enumerate().fold(0, greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_divergence_are_those_of_the_formula() {
        let space = tempfile::tempdir().unwrap();
        let path = space.path().join("reference");
        let logits = |probabilities: [f32; 3]| probabilities.map(|p| p.ln() + 2.5);
        let mut adapter = Meter::of_adapter(&path, "adapter", 3).unwrap();
        adapter.take(0, &logits([0.5, 0.25, 0.25])).unwrap();
        adapter.take(1, &logits([0.2, 0.2, 0.6])).unwrap();
        let adapter = adapter.finish().unwrap();
        assert!((adapter.loss - 10.0_f64.ln() / 2.0).abs() < 1e-6, "{adapter:?}");
        assert!(adapter.kl.abs() < 1e-12 && (adapter.same_top - 1.0).abs() < 1e-12, "{adapter:?}");
        let mut other = Meter::against(&path, "Q4_K_M", 3).unwrap();
        other.take(0, &logits([0.25, 0.5, 0.25])).unwrap();
        other.take(1, &logits([0.2, 0.2, 0.6])).unwrap();
        let other = other.finish().unwrap();
        // 0.5 ln 2 + 0.25 ln 0.5 + 0 at the first place, nothing at the second.
        assert!((other.kl - 0.125 * 2.0_f64.ln()).abs() < 1e-6, "{other:?}");
        assert!((other.same_top - 0.5).abs() < 1e-12, "{other:?}");
        let mut foreign = Meter::against(&path, "Q8_0", 3).unwrap();
        let error = foreign.take(0, &[0.0; 4]).unwrap_err();
        assert_eq!(error.to_string(), "`Q8_0` has a vocabulary of 4 tokens, the base model one of 3");
    }
}
