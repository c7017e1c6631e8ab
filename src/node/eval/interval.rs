//! Confidence intervals of 95 %.

use crate::model::lora::random;

/// Standard deviations of a normal distribution that 95 % of it lie within.
const Z: f64 = 1.959_963_984_540_054;
/// Samples that the bootstrap draws: its ends are those that 50 of them lie beyond.
const SAMPLES: usize = 2_000;
/// What the bootstrap's chance starts from: the same numbers have the same interval.
const SEED: u64 = 1979;

/// Returns the ends of the interval of a share after Wilson (1927): it stays within 0 and 1, and is not empty where all or
/// none were counted.
///
/// `share` may be the mean of any numbers from 0 to 1: their variance is at most that of as many things of which each
/// counts or does not, so the interval is wide enough for them, too.
pub(super) fn of_share(share: f64, total: u64) -> [f64; 2] {
    let n = total as f64;
    let centre = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    [centre - spread, centre + spread].map(|end| (end / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
}

/// Returns the ends of the interval of a mean, of which each item is a sum and the weight that it is over, by the
/// bootstrap of percentiles (Efron, 1979). Nothing where one item alone says nothing about others.
pub(super) fn of_mean(items: &[(f64, f64)]) -> Option<[f64; 2]> {
    if items.len() < 2 {
        return None;
    }
    let mean = |sample: usize| {
        let drawn = (0..items.len()).map(|place| {
            let bits = random::mix(&[SEED, sample as u64, place as u64]);
            // The upper 64 bits of the product: a place for every number of items.
            items[((u128::from(bits) * items.len() as u128) >> 64) as usize]
        });
        let (sum, weight) = drawn.fold((0.0, 0.0), |(sum, weight), item| (sum + item.0, weight + item.1));
        sum / weight
    };
    let mut means: Vec<f64> = (0..SAMPLES).map(mean).filter(|mean| mean.is_finite()).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means.get(((means.len() as f64 - 1.0) * share).round() as usize).copied();
    Some([at(0.025)?, at(0.975)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `statsmodels.stats.proportion.proportion_confint(9, 10, method="wilson")`, and so on.
    #[test]
    fn intervals_of_shares_are_those_of_statsmodels() {
        for (counted, total, low, high) in [
            (9, 10, 0.595_85, 0.982_12),
            (0, 20, 0.0, 0.161_13),
            (20, 20, 0.838_87, 1.0),
            (50, 100, 0.403_83, 0.596_17),
        ] {
            let found = of_share(f64::from(counted) / total as f64, total);
            assert!((found[0] - low).abs() < 1e-4 && (found[1] - high).abs() < 1e-4, "{found:?}");
        }
    }

    /// Draws from a normal distribution of mean 3 and deviation 2.
    fn normal(experiment: u64, count: u64) -> Vec<(f64, f64)> {
        let draw = |place| (3.0 + 2.0 * f64::from(random::normal(random::mix(&[experiment, place]))), 1.0);
        (0..count).map(draw).collect()
    }

    #[test]
    fn the_bootstrap_of_a_normal_mean_is_as_wide_as_theory_says() {
        let items = normal(7, 400);
        let mean = items.iter().map(|item| item.0).sum::<f64>() / 400.0;
        let deviation = (items.iter().map(|item| (item.0 - mean).powi(2)).sum::<f64>() / 400.0).sqrt();
        let half = Z * deviation / 400_f64.sqrt();
        let [low, high] = of_mean(&items).unwrap();
        assert!(((mean - low) / half - 1.0).abs() < 0.1 && ((high - mean) / half - 1.0).abs() < 0.1, "{low} {high}");
        assert_eq!(of_mean(&items), Some([low, high]), "the same numbers have the same interval");
    }

    #[test]
    fn the_truth_is_within_about_95_of_100_intervals() {
        let holds = |experiment: &u64| {
            let [low, high] = of_mean(&normal(*experiment, 50)).unwrap();
            low <= 3.0 && 3.0 <= high
        };
        let covered = (0..300).filter(holds).count();
        assert!((273..=295).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn items_count_by_their_weight_and_one_alone_has_no_interval() {
        assert_eq!(of_mean(&[(6.0, 3.0)]), None);
        assert_eq!(of_mean(&[(6.0, 3.0), (2.0, 1.0), (20.0, 10.0)]), Some([2.0, 2.0]));
    }
}
