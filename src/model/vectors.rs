//! Which vectors a machine has: the kernels that have code for several choose by it.

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
