//! How a rotary embedding is stretched: Llama 3's rule, found from the factors that a GGUF has instead of it.

use std::f64::consts::TAU;

use serde_json::{Value as Json, json};

use super::{Keys, float, shortest};
use crate::model::config::{ModelConfig, RopeScaling, rope_frequencies};
use crate::model::weights::rope_scaling;
use crate::model::{ModelError, Result};

/// The share by which factors may miss those of a rule: they are rounded to 32 bits.
const TOLERANCE: f32 = 1e-5;

/// A rule of Llama 3: the factor, the two ends of the ramp, and the context that they count from.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rule {
    factor: f64,
    low: f64,
    high: f64,
    original_context: f64,
}

/// Returns `rope_scaling` of `config.json`.
pub(super) fn scaling(keys: &Keys, config: &ModelConfig, factors: Option<&[f32]>) -> Result<Option<Json>> {
    if let Some(factors) = factors {
        let base = f64::from(float(keys.own("rope.freq_base")).unwrap_or(10_000.0));
        let what = "rotary factors that no rule of Llama 3 gives";
        let rule = rule(config.head_dim, base, factors);
        let rule = rule.ok_or_else(|| ModelError::Unsupported { what: what.into() })?;
        return Ok(Some(json!({
            "rope_type": "llama3", "factor": rule.factor, "low_freq_factor": rule.low, "high_freq_factor": rule.high,
            "original_max_position_embeddings": rule.original_context as u64,
        })));
    }
    Ok(match rope_scaling(&keys.0, keys.architecture())? {
        RopeScaling::Linear { factor } => Some(json!({"rope_type": "linear", "factor": shortest(factor as f32)})),
        _ => None,
    })
}

/// Returns a rule that gives these factors.
fn rule(head_dim: usize, base: f64, factors: &[f32]) -> Option<Rule> {
    let plain = rope_frequencies(head_dim, base, RopeScaling::None);
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    let usual = (6..20).map(|power| Rule { factor, low: 1.0, high: 4.0, original_context: f64::from(1 << power) });
    let gives = |rule: &Rule| {
        let Rule { factor, low, high, original_context } = *rule;
        let scaling = RopeScaling::Llama3 { factor, low, high, original_context };
        let scaled = rope_frequencies(head_dim, base, scaling);
        let found = plain.iter().zip(&scaled).map(|(plain, scaled)| (plain / scaled) as f32);
        factors.len() == plain.len()
            && found.zip(factors).all(|(found, factor)| (found - factor).abs() <= TOLERANCE * factor)
    };
    usual.chain(fitted(&plain, factor, factors)).find(gives)
}

/// Returns the rule whose ramp goes through the first and the last factor on it.
///
/// On the ramp `1 / f = (1 − s) / factor + s` with `s = (context / wavelength − low) / (high − low)`: a straight line over
/// `1 / wavelength`. Its two numbers leave one of the rule's three open, so `low` is 1, as in all of Llama's own.
fn fitted(plain: &[f64], factor: f64, factors: &[f32]) -> Option<Rule> {
    let points = plain.iter().zip(factors).map(|(frequency, factor)| (frequency / TAU, f64::from(*factor)));
    let on_ramp = points.filter(|(_, found)| *found > 1.0 && *found < factor);
    let ramp: Vec<(f64, f64)> =
        on_ramp.map(|(x, found)| (x, (1.0 / found - 1.0 / factor) / (1.0 - 1.0 / factor))).collect();
    let [first, .., last] = ramp[..] else { return None };
    let slope = (first.1 - last.1) / (first.0 - last.0);
    let below = slope * first.0 - first.1;
    let high = (1.0 + 1.0 / below).round();
    Some(Rule { factor, low: 1.0, high, original_context: (slope * (high - 1.0)).round() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(head_dim: usize, base: f64, rule: Rule) -> Vec<f32> {
        let Rule { factor, low, high, original_context } = rule;
        let scaling = RopeScaling::Llama3 { factor, low, high, original_context };
        let plain = rope_frequencies(head_dim, base, RopeScaling::None);
        let scaled = rope_frequencies(head_dim, base, scaling);
        plain.iter().zip(&scaled).map(|(plain, scaled)| (plain / scaled) as f32).collect()
    }

    #[test]
    fn rules_are_found_from_the_factors_that_they_give() {
        for (head_dim, base, factor, high, original_context) in [
            (128, 500_000.0, 8.0, 4.0, 8192.0),
            (64, 500_000.0, 32.0, 4.0, 8192.0),
            (8, 10_000.0, 8.0, 4.0, 64.0),
            (128, 500_000.0, 16.0, 8.0, 6000.0),
        ] {
            let rule = Rule { factor, low: 1.0, high, original_context };
            assert_eq!(super::rule(head_dim, base, &factors(head_dim, base, rule)), Some(rule));
        }
        let noise: Vec<f32> = (0..64).map(|at| 1.0 + (at * 37 % 11) as f32).collect();
        assert_eq!(rule(128, 500_000.0, &noise), None);
        assert_eq!(rule(128, 500_000.0, &[1.0; 3]), None);
    }
}
