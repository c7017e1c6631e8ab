//! Generating text, a token at a time.

use super::answer::Answer;
use super::{Context, LlamaError, Token};

/// How to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The most tokens.
    pub tokens: usize,
    /// 0 takes the likeliest token each time; more makes unlikely ones likelier.
    pub temperature: f32,
    /// Chance picks among the likeliest tokens that have this share of the probability together; 1 takes all of them.
    pub top_p: f32,
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
        self.generate_in_pieces(prompt, how, |_| ())
    }

    /// As [`Self::generate`]; `each` is given the text as it comes, in pieces that together are all of it.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_in_pieces(
        &mut self,
        prompt: &[Token],
        how: &Generation,
        mut each: impl FnMut(&str),
    ) -> Result<Generated, LlamaError> {
        let mut tell = |piece: &str| {
            if !piece.is_empty() {
                each(piece);
            }
        };
        let mut sequence = prompt.to_vec();
        let mut answer = Answer::new(&how.stop);
        let mut ended = false;
        for step in 0..how.tokens {
            if step > 0 && self.room() == 0 {
                break;
            }
            if self.is_interrupted() {
                return Err(LlamaError::Interrupted);
            }
            let token = pick(self.read(&sequence)?, how, uniform(how.seed, step as u64));
            ended = self.model.is_end(token);
            if ended {
                break;
            }
            sequence.push(token);
            let (piece, is_stopped) = answer.push(&self.model.piece(token));
            tell(piece);
            ended = is_stopped;
            if ended {
                break;
            }
        }
        tell(answer.finish());
        Ok(Generated { text: answer.into_text(), tokens: sequence.len() - prompt.len(), ended })
    }
}

/// Picks a token: the likeliest (the lower number when two are equal), or by chance `uniform` in 0..1.
fn pick(logits: &[f32], how: &Generation, uniform: f64) -> Token {
    let (mut best, mut highest) = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > highest {
            (best, highest) = (token, logit);
        }
    }
    if how.temperature <= 0.0 {
        return best as Token;
    }
    let weight = |logit: f32| f64::from((logit - highest) / how.temperature).exp();
    let weights = logits.iter().copied().map(weight).enumerate();
    let picked = if how.top_p < 1.0 {
        among(&likeliest(weights.collect(), f64::from(how.top_p)), uniform)
    } else {
        among(&weights.collect::<Vec<_>>(), uniform)
    };
    picked.unwrap_or(best) as Token
}

/// Returns the fewest tokens that have this share of all weight, the heaviest first; one at the least.
fn likeliest(mut tokens: Vec<(usize, f64)>, share: f64) -> Vec<(usize, f64)> {
    let enough = share * tokens.iter().map(|(_, weight)| weight).sum::<f64>();
    tokens.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut sum = 0.0;
    let is_enough = |(_, weight): &(usize, f64)| {
        sum += weight;
        sum >= enough
    };
    let count = tokens.iter().position(is_enough).map_or(tokens.len(), |last| last + 1);
    tokens.truncate(count);
    tokens
}

/// Picks one of the weighted tokens by chance `uniform` in 0..1.
fn among(tokens: &[(usize, f64)], uniform: f64) -> Option<usize> {
    let mut left = uniform * tokens.iter().map(|(_, weight)| weight).sum::<f64>();
    let is_picked = |(_, weight): &&(usize, f64)| {
        left -= weight;
        left < 0.0
    };
    tokens.iter().find(is_picked).map(|(token, _)| *token)
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

    fn how(temperature: f32, top_p: f32) -> Generation {
        Generation { tokens: 1, temperature, top_p, seed: 0, stop: Vec::new() }
    }

    /// Returns how often each token is picked of 5,000 times.
    fn counts(logits: &[f32], how: &Generation) -> Vec<i32> {
        let mut counts = vec![0; logits.len()];
        for step in 0..5_000 {
            counts[pick(logits, how, uniform(7, step)) as usize] += 1;
        }
        counts
    }

    #[track_caller]
    fn check(counts: &[i32], expected: &[i32]) {
        let near = |(count, expected): (&i32, &i32)| *count == *expected || (count - expected).abs() < 150;
        assert!(counts.iter().zip(expected).all(near), "{counts:?} {expected:?}");
    }

    #[test]
    fn temperature_zero_takes_the_likeliest_and_chance_follows_the_probabilities() {
        let logits = [0.0, 2.0_f32.ln(), 2.0_f32.ln(), f32::NEG_INFINITY];
        assert_eq!(pick(&logits, &how(0.0, 1.0), 0.99), 1);
        let found = counts(&logits, &how(1.0, 1.0));
        assert_eq!(found[3], 0);
        check(&found, &[1_000, 2_000, 2_000, 0]);
    }

    #[test]
    fn top_p_leaves_out_what_is_less_likely_than_its_share() {
        let logits = [1.0_f32, 4.0, 2.0, 3.0].map(f32::ln);
        assert_eq!(counts(&logits, &how(1.0, 0.0)), [0, 5_000, 0, 0]);
        let two = counts(&logits, &how(1.0, 0.5));
        assert_eq!((two[0], two[2]), (0, 0));
        check(&two, &[0, 2_857, 0, 2_143]);
        check(&counts(&logits, &how(1.0, 0.99)), &[500, 2_000, 1_000, 1_500]);
    }
}
