//! Functions of one number, written so that they are vectorised and give the same bits on every machine: the system's
//! own mathematics library may differ between two versions of it.

/// 1.5 · 2²³: added to a small number, it leaves the number rounded to an integer in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Returns eˣ with a relative error below 2 · 10⁻⁷; arguments below -87 give about 10⁻³⁸ instead of less.
///
/// The polynomial is that of Cephes' `expf`.
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "the constants as published")]
#[expect(clippy::inline_always, reason = "inside loops that have to be vectorised")]
pub(in crate::model) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let power = shifted - ROUND;
    let rest = power.mul_add(-0.693_359_375, x);
    let rest = power.mul_add(2.121_944_400_546_905_8e-4, rest);
    let polynomial = 1.987_569_15e-4_f32
        .mul_add(rest, 1.398_199_950_7e-3)
        .mul_add(rest, 8.333_451_907_3e-3)
        .mul_add(rest, 4.166_579_589_4e-2)
        .mul_add(rest, 1.666_666_545_9e-1)
        .mul_add(rest, 5.000_000_120_1e-1);
    let result = polynomial.mul_add(rest * rest, rest) + 1.0;
    result * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// Returns 1 / (1 + e⁻ˣ).
#[inline(always)]
#[expect(clippy::inline_always, reason = "inside loops that have to be vectorised")]
pub(in crate::model) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_two_units_in_the_last_place() {
        for step in -8_600..8_700 {
            let x = step as f32 * 0.01 + 0.003;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 2.4e-7, "exp({x}) = {found}, not {expected}");
        }
    }
}
