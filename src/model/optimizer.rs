//! AdamW (Loshchilov and Hutter, 2019) over one flat vector, clipping by the global norm, and schedules.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::vectors::widest;

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
    /// Returns the learning rate of `step`, counted from 0, of `steps`: up from 0 along a line during the first `warmup`
    /// steps, as transformers' `get_*_schedule_with_warmup` have it. With a warm-up the first step's rate is 0.
    pub fn rate(self, peak: f64, step: u64, steps: u64, warmup: u64) -> f64 {
        if step < warmup {
            return peak * step as f64 / warmup as f64;
        }
        let done = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
        match self {
            Self::Constant => peak,
            Self::Linear => peak * (1.0 - done).max(0.0),
            Self::Cosine => peak * (0.5 * (1.0 + (std::f64::consts::PI * done).cos())).max(0.0),
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
    /// The share of each parameter that decays which a step takes away, over the learning rate.
    pub weight_decay: f64,
}

/// Parameters that are changed by one rule.
#[derive(Debug)]
pub struct Part<'a> {
    /// The parameters.
    pub numbers: &'a mut [f32],
    /// What their learning rate is multiplied with.
    pub rate: f64,
    /// Whether they decay. With the `Trainer` of transformers all do but biases and norms.
    pub decays: bool,
}

/// AdamW's usual constants.
const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

/// Numbers that one task takes. It is fixed, since a sum over numbers depends on it.
const TASK: usize = 1 << 14;

impl AdamW {
    /// Makes the state for so many parameters.
    pub fn new(parameters: usize, weight_decay: f64) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], steps: 0, weight_decay }
    }

    /// Takes one step. The parts follow each other as the numbers of the gradient do.
    ///
    /// # Panics
    /// When the parts are not as many numbers as the gradient has.
    pub fn step(&mut self, parts: Vec<Part<'_>>, gradient: &[f32], rate: f64) {
        self.steps += 1;
        let mut rest = (gradient, &mut self.first[..], &mut self.second[..]);
        let mut tasks = Vec::with_capacity(parts.len());
        for Part { numbers, rate: ratio, decays } in parts {
            let (gradient, first, second) = rest;
            assert!(numbers.len() <= gradient.len(), "the parts have more parameters than the gradient");
            let (gradient, more_gradient) = gradient.split_at(numbers.len());
            let (first, more_first) = first.split_at_mut(numbers.len());
            let (second, more_second) = second.split_at_mut(numbers.len());
            rest = (more_gradient, more_first, more_second);
            let weight_decay = if decays { self.weight_decay } else { 0.0 };
            tasks.push((Update::new(self.steps, rate * ratio, weight_decay), numbers, gradient, first, second));
        }
        assert!(rest.0.is_empty(), "the parts leave {} parameters out", rest.0.len());
        tasks.into_par_iter().for_each(|(update, parameters, gradient, first, second)| {
            let moments = first.par_chunks_mut(TASK).zip(second.par_chunks_mut(TASK));
            let numbers = parameters.par_chunks_mut(TASK).zip(gradient.par_chunks(TASK));
            numbers.zip(moments).for_each(|((parameters, gradient), (first, second))| {
                widest(|| update.apply(parameters, gradient, first, second));
            });
        });
    }
}

/// The factors of one step.
#[derive(Clone, Copy)]
struct Update {
    step: f32,
    correction: f32,
    keep: f32,
}

impl Update {
    fn new(steps: u64, rate: f64, weight_decay: f64) -> Self {
        let power = i32::try_from(steps).unwrap_or(i32::MAX);
        Self {
            step: (rate / (1.0 - BETA_1.powi(power))) as f32,
            correction: (1.0 / (1.0 - BETA_2.powi(power)).sqrt()) as f32,
            keep: (1.0 - rate * weight_decay) as f32,
        }
    }

    #[inline]
    fn apply(&self, parameters: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let (beta_1, beta_2) = (BETA_1 as f32, BETA_2 as f32);
        let moments = first.iter_mut().zip(second);
        for ((parameter, gradient), (first, second)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *first = (1.0 - beta_1).mul_add(*gradient, beta_1 * *first);
            *second = (1.0 - beta_2).mul_add(gradient * gradient, beta_2 * *second);
            *parameter = self.keep * *parameter - self.step * *first / (second.sqrt() * self.correction + EPSILON);
        }
    }
}

/// Scales `gradient` so that its norm is at most `limit`, and returns the norm that it had.
pub fn clip(gradient: &mut [f32], limit: f64) -> f64 {
    let squares = |part: &[f32]| part.iter().map(|number| f64::from(*number) * f64::from(*number)).sum::<f64>();
    let parts: Vec<f64> = gradient.par_chunks(TASK).map(squares).collect();
    let norm = parts.iter().sum::<f64>().sqrt();
    if norm > limit {
        let scale = (limit / (norm + 1e-6)) as f32;
        gradient.par_iter_mut().for_each(|number| *number *= scale);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ```python
    /// optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    /// schedule = transformers.get_linear_schedule_with_warmup(optimizer, num_warmup_steps=3, num_training_steps=10)
    /// for _ in range(10):
    ///     print(optimizer.param_groups[0]["lr"]); optimizer.step(); schedule.step()
    /// ```
    #[test]
    fn each_schedule_is_that_of_transformers() {
        let check = |schedule: Schedule, rest: [f64; 7]| {
            let all = [0.0, 0.666_666_667, 1.333_333_33].into_iter().chain(rest);
            for (step, expected) in (0..).zip(all) {
                let rate = schedule.rate(2e-4, step, 10, 3) * 1e4;
                assert!((rate - expected).abs() < 1e-8, "{schedule:?}, step {step}: {rate} is not {expected}");
            }
        };
        check(Schedule::Constant, [2.0; 7]);
        let linear = [2.0, 1.714_285_71, 1.428_571_43, 1.142_857_14, 0.857_142_857, 0.571_428_571, 0.285_714_286];
        check(Schedule::Linear, linear);
        let cosine = [2.0, 1.900_968_87, 1.623_489_8, 1.222_520_93, 0.777_479_066, 0.376_510_198, 0.099_031_132_1];
        check(Schedule::Cosine, cosine);
    }

    #[test]
    fn the_first_step_moves_each_parameter_by_its_parts_rate_against_its_gradient() {
        let mut parameters = [1.0, 1.0, 1.0, 1.0];
        let (first, rest) = parameters.split_at_mut(1);
        let (second, third) = rest.split_at_mut(2);
        let part = |numbers, rate, decays| Part { numbers, rate, decays };
        let parts = vec![part(first, 1.0, true), part(second, 4.0, true), part(third, 1.0, false)];
        AdamW::new(4, 0.1).step(parts, &[0.5, -2.0, 0.0, 0.5], 0.01);
        let expected = [0.999 - 0.01, 0.996 + 0.04, 0.996, 1.0 - 0.01];
        for (found, expected) in parameters.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn threads_change_no_bit_of_a_step() {
        let gradient: Vec<f32> = (0..70_000_u64).map(|at| ((at * 7919 % 1009) as f32 - 500.0) * 1e-3).collect();
        let bits = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut clipped = gradient.clone();
                let norm = clip(&mut clipped, 1.0);
                let mut parameters = vec![0.5; gradient.len()];
                let part = Part { numbers: &mut parameters, rate: 1.0, decays: true };
                AdamW::new(gradient.len(), 0.0).step(vec![part], &clipped, 1e-3);
                (norm.to_bits(), parameters.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            })
        };
        assert_eq!(bits(1), bits(3));
    }

    #[test]
    fn a_long_gradient_is_shortened_and_its_length_returned() {
        let mut gradient = [3.0, 4.0];
        assert!((clip(&mut gradient, 1.0) - 5.0).abs() < 1e-12);
        assert!((gradient[0] - 0.6).abs() < 1e-6 && (gradient[1] - 0.8).abs() < 1e-6);
    }
}
