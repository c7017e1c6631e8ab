//! Generating text, a token at a time.

use super::{Context, LlamaError, Token};

/// How to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The most tokens.
    pub tokens: usize,
    /// 0 takes the likeliest token each time; more makes unlikely ones likelier.
    pub temperature: f32,
    /// What chance starts from; the same seed gives the same text.
    pub seed: u64,
    /// Texts that end the answer; they are cut off.
    pub stop: Vec<String>,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The text, without the marker that ended it.
    pub text: String,
    /// How many tokens it took, without the one that ended it.
    pub tokens: usize,
    /// Whether the model itself ended it, or a stop text did; else it was cut off.
    pub ended: bool,
}

impl Context<'_> {
    /// Goes on from `prompt` until the model ends, a stop text comes, or the tokens are used up.
    ///
    /// # Errors
    /// [`LlamaError::TooLong`] when the prompt alone does not fit; [`LlamaError::Interrupted`], [`LlamaError::Compute`].
    pub fn generate(&mut self, prompt: &[Token], how: &Generation) -> Result<Generated, LlamaError> {
        let mut sequence = prompt.to_vec();
        let mut bytes = Vec::new();
        for step in 0..how.tokens {
            if step > 0 && self.room() == 0 {
                break;
            }
            let logits = self.read(&sequence)?;
            let token = pick(logits, how.temperature, uniform(how.seed, step as u64));
            let tokens = sequence.len() - prompt.len();
            if self.model.is_end(token) {
                return Ok(Generated { text: text(&bytes), tokens, ended: true });
            }
            bytes.extend(self.model.piece(token));
            sequence.push(token);
            let so_far = text(&bytes);
            let cut =
                how.stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| so_far.find(stop.as_str())).min();
            if let Some(cut) = cut {
                return Ok(Generated { text: so_far[..cut].to_owned(), tokens: tokens + 1, ended: true });
            }
        }
        Ok(Generated { text: text(&bytes), tokens: sequence.len() - prompt.len(), ended: false })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Picks a token: the likeliest (the lower number when two are equal), or by chance `uniform` in 0..1.
fn pick(logits: &[f32], temperature: f32, uniform: f64) -> Token {
    let (mut best, mut highest) = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > highest {
            (best, highest) = (token, logit);
        }
    }
    if temperature <= 0.0 {
        return best as Token;
    }
    let weight = |logit: f32| f64::from((logit - highest) / temperature).exp();
    let mut left = uniform * logits.iter().copied().map(weight).sum::<f64>();
    for (token, &logit) in logits.iter().enumerate() {
        left -= weight(logit);
        if left < 0.0 {
            return token as Token;
        }
    }
    best as Token
}

/// Returns a number in 0..1 that depends on nothing but `seed` and `step` (the splitmix64 generator).
fn uniform(seed: u64, step: u64) -> f64 {
    let mut state = seed.wrapping_add(step.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((state ^ (state >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_zero_takes_the_likeliest_and_chance_follows_the_probabilities() {
        let logits = [0.0, 2.0_f32.ln(), 2.0_f32.ln(), f32::NEG_INFINITY];
        assert_eq!(pick(&logits, 0.0, 0.99), 1);
        let mut counts = [0; 4];
        for step in 0..5_000 {
            counts[pick(&logits, 1.0, uniform(7, step)) as usize] += 1;
        }
        assert_eq!(counts[3], 0);
        for (count, expected) in counts.into_iter().zip([1_000_i32, 2_000, 2_000]) {
            assert!((count - expected).abs() < 150, "{counts:?}");
        }
    }
}
