//! AdamW (Loshchilov and Hutter, 2019) over one flat vector, clipping by the global norm, and schedules.

use serde::{Deserialize, Serialize};

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls to 0 along a line.
    Linear,
    /// It falls to 0 along half a cosine.
    Cosine,
}

impl Schedule {
    /// Returns the learning rate of `step`, counted from 0, of `steps`: up from 0 during the first `warmup` steps.
    pub fn rate(self, peak: f64, step: u64, steps: u64, warmup: u64) -> f64 {
        if step < warmup {
            return peak * (step + 1) as f64 / warmup as f64;
        }
        let done = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
        match self {
            Self::Constant => peak,
            Self::Linear => peak * (1.0 - done),
            Self::Cosine => peak * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        }
    }
}

/// AdamW's state and constants.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// Running mean of the gradients.
    pub first: Vec<f32>,
    /// Running mean of their squares.
    pub second: Vec<f32>,
    /// Steps taken.
    pub steps: u64,
    /// The share of each parameter that a step takes away, over the learning rate.
    pub weight_decay: f64,
}

/// AdamW's usual constants.
const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

impl AdamW {
    /// Makes the state for so many parameters.
    pub fn new(parameters: usize, weight_decay: f64) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], steps: 0, weight_decay }
    }

    /// Takes one step.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f64) {
        self.steps += 1;
        let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let step = (rate / (1.0 - BETA_1.powi(power))) as f32;
        let correction = (1.0 / (1.0 - BETA_2.powi(power)).sqrt()) as f32;
        let keep = (1.0 - rate * self.weight_decay) as f32;
        let (beta_1, beta_2) = (BETA_1 as f32, BETA_2 as f32);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *first = (1.0 - beta_1).mul_add(*gradient, beta_1 * *first);
            *second = (1.0 - beta_2).mul_add(gradient * gradient, beta_2 * *second);
            *parameter = keep * *parameter - step * *first / (second.sqrt() * correction + EPSILON);
        }
    }
}

/// Scales `gradient` so that its norm is at most `limit`, and returns the norm that it had.
pub fn clip(gradient: &mut [f32], limit: f64) -> f64 {
    let norm = gradient.iter().map(|number| f64::from(*number) * f64::from(*number)).sum::<f64>().sqrt();
    if norm > limit {
        let scale = (limit / (norm + 1e-6)) as f32;
        for number in gradient {
            *number *= scale;
        }
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_rises_during_the_warm_up_and_falls_to_the_end() {
        let rates = |schedule: Schedule| (0..6).map(|step| schedule.rate(1.0, step, 6, 2)).collect::<Vec<_>>();
        assert_eq!(rates(Schedule::Linear), [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]);
        assert_eq!(rates(Schedule::Constant), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert!((rates(Schedule::Cosine)[4] - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_first_step_moves_each_parameter_by_the_rate_against_its_gradient() {
        let mut parameters = [1.0, 1.0, 1.0];
        AdamW::new(3, 0.1).step(&mut parameters, &[0.5, -2.0, 0.0], 0.01);
        let expected = [0.999 - 0.01, 0.999 + 0.01, 0.999];
        for (found, expected) in parameters.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_long_gradient_is_shortened_and_its_length_returned() {
        let mut gradient = [3.0, 4.0];
        assert!((clip(&mut gradient, 1.0) - 5.0).abs() < 1e-12);
        assert!((gradient[0] - 0.6).abs() < 1e-6 && (gradient[1] - 0.8).abs() < 1e-6);
    }
}
