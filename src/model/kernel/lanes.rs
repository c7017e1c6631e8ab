//! Passes over rows of sixteen tokens of which the compiler makes poor vectors: a maximum that it takes number by number,
//! and a product for which it gathers and scatters the columns.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "vector loads and stores of whole rows"))]

use super::LANES;
#[cfg(target_arch = "x86_64")]
use crate::model::vectors::Vectors;

/// Returns the greatest number of each lane, minus infinity where there is none; what is no number counts for nothing.
pub(in crate::model) fn greatest(rows: &[[f32; LANES]]) -> [f32; LANES] {
    #[cfg(target_arch = "x86_64")]
    if Vectors::best() == Vectors::Avx512 {
        // SAFETY: the machine has AVX-512, as `Vectors::best` saw.
        return unsafe { avx512::greatest(rows) };
    }
    plain::greatest(rows)
}

/// Multiplies each lane with its factor and takes `less` away.
pub(in crate::model) fn scale_and_subtract(rows: &mut [[f32; LANES]], factors: &[f32; LANES], less: f32) {
    #[cfg(target_arch = "x86_64")]
    if Vectors::best() == Vectors::Avx512 {
        // SAFETY: as above.
        return unsafe { avx512::scale_and_subtract(rows, factors, less) };
    }
    plain::scale_and_subtract(rows, factors, less);
}

mod plain {
    use super::LANES;

    pub(super) fn greatest(rows: &[[f32; LANES]]) -> [f32; LANES] {
        let mut greatest = [f32::NEG_INFINITY; LANES];
        for row in rows {
            for (greatest, number) in greatest.iter_mut().zip(row) {
                // Not `max`: what it does with numbers that are none takes three instructions.
                *greatest = if *number > *greatest { *number } else { *greatest };
            }
        }
        greatest
    }

    pub(super) fn scale_and_subtract(rows: &mut [[f32; LANES]], factors: &[f32; LANES], less: f32) {
        for row in rows {
            for (number, factor) in row.iter_mut().zip(factors) {
                *number = *number * factor - less;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512, _mm512_loadu_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_ps,
    };

    use super::LANES;

    #[target_feature(enable = "avx512f")]
    fn load(row: &[f32; LANES]) -> __m512 {
        // SAFETY: a row is sixteen floats.
        unsafe { _mm512_loadu_ps(row.as_ptr()) }
    }

    #[target_feature(enable = "avx512f")]
    fn store(row: &mut [f32; LANES], numbers: __m512) {
        // SAFETY: a row is sixteen floats.
        unsafe { _mm512_storeu_ps(row.as_mut_ptr(), numbers) }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn greatest(rows: &[[f32; LANES]]) -> [f32; LANES] {
        // Four chains, since each waits for its last maximum. Of two numbers of which one is none, the instruction gives
        // the second.
        let (fours, rest) = rows.as_chunks::<4>();
        let mut chains = [_mm512_set1_ps(f32::NEG_INFINITY); 4];
        for four in fours {
            for (chain, row) in chains.iter_mut().zip(four) {
                *chain = _mm512_max_ps(load(row), *chain);
            }
        }
        for (chain, row) in chains.iter_mut().zip(rest) {
            *chain = _mm512_max_ps(load(row), *chain);
        }
        let [a, b, c, d] = chains;
        let mut greatest = [0.0; LANES];
        store(&mut greatest, _mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d)));
        greatest
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn scale_and_subtract(rows: &mut [[f32; LANES]], factors: &[f32; LANES], less: f32) {
        let (factors, less) = (load(factors), _mm512_set1_ps(less));
        for row in rows {
            let scaled = _mm512_mul_ps(load(row), factors);
            store(row, _mm512_sub_ps(scaled, less));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> Vec<[f32; LANES]> {
        let number = |at: usize| match at % 101 {
            17 => f32::NAN,
            40 => f32::NEG_INFINITY,
            at => (at * 7919 % 1009) as f32 / 504.5 - 1.3,
        };
        (0..count).map(|row| std::array::from_fn(|lane| number(row * LANES + lane))).collect()
    }

    fn bits(rows: &[[f32; LANES]]) -> Vec<u32> {
        rows.as_flattened().iter().map(|number| number.to_bits()).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_bits_of_plain_loops() {
        for count in [0, 1, 3, 4, 30] {
            let mut numbers = rows(count);
            assert_eq!(bits(&[greatest(&numbers)]), bits(&[plain::greatest(&numbers)]));
            let factors = std::array::from_fn(|lane| lane as f32 * 0.37 - 2.1);
            let mut plainly = numbers.clone();
            plain::scale_and_subtract(&mut plainly, &factors, 0.21);
            scale_and_subtract(&mut numbers, &factors, 0.21);
            assert_eq!(bits(&numbers), bits(&plainly));
        }
        assert!(greatest(&rows(30)).iter().all(|greatest| *greatest > 0.0), "what is no number is none");
    }
}
