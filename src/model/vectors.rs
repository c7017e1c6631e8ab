//! Which vectors a machine has: the kernels that have code for several choose by it.

#![expect(unsafe_code, reason = "code for instructions that the machine was asked for")]

/// The instruction sets that there is code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vectors {
    /// What every machine has.
    Portable,
    /// With FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Vectors {
    /// Returns all that this machine can run, the best last.
    pub(super) fn available() -> impl DoubleEndedIterator<Item = Self> {
        [
            Some(Self::Portable),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self::Avx2),
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("avx512f").then_some(Self::Avx512),
        ]
        .into_iter()
        .flatten()
    }

    /// Returns the best that this machine can run.
    pub(super) fn best() -> Self {
        Self::available().next_back().unwrap_or(Self::Portable)
    }
}

/// Runs loops over numbers, compiled for the widest vectors that this machine has. They give the same bits everywhere: no
/// compiler changes the order of a sum of floats, or fuses what is not written as one operation.
#[inline]
pub(super) fn widest<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    if Vectors::best() == Vectors::Avx512 {
        // SAFETY: the machine has AVX-512, as `Vectors::available` saw.
        return unsafe { avx512(work) };
    }
    work()
}

/// Runs loops that the compiler puts in here, and may use these instructions for.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernel::{exp, sigmoid};

    #[test]
    fn wider_vectors_change_no_bit_of_a_loop() {
        let numbers: Vec<f32> = (0..1000_u16).map(|at| (f32::from(at) - 500.0) * 0.173).collect();
        let run = || {
            let mut sums = [0.0_f32; 16];
            let mut out = numbers.clone();
            for numbers in out.chunks_exact_mut(16) {
                for (number, sum) in numbers.iter_mut().zip(&mut sums) {
                    *number = exp(*number * 0.1) * sigmoid(*number) / (number.abs() + 1.0).sqrt();
                    *sum += *number;
                }
            }
            out.into_iter().chain(sums).map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(widest(run), run());
    }
}
