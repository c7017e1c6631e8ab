//! Random numbers by counting: each is a function of its seed and its place, so that no order of computation, no
//! number of threads and no resumed run changes one.

/// Mixes numbers into one: the finaliser of `SplitMix64` after each.
pub(crate) fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Returns a number in [0, 1) with 24 random bits.
pub(crate) fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1_u32 << 24) as f32
}

/// Returns a number of the standard normal distribution (Box and Muller, 1958).
pub(crate) fn normal(bits: u64) -> f32 {
    // From (0, 1], since the logarithm of 0 is none.
    let uniform = |bits: u64| ((bits >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    let radius = (-2.0 * uniform(mix(&[bits, 0])).ln()).sqrt();
    (radius * (std::f64::consts::TAU * uniform(mix(&[bits, 1]))).cos()) as f32
}

/// Returns a number for a name.
pub(crate) fn name(name: &str) -> u64 {
    name.bytes().fold(name.len() as u64, |state, byte| mix(&[state, u64::from(byte)]))
}

/// Returns the order in which `count` things come, drawn from `seed`.
pub(crate) fn order(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|index| (mix(&[seed, *index as u64]), *index));
    order
}
