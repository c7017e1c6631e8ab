//! Quantising of our own: the types that most models are shipped in, byte for byte as llama.cpp makes them, with vectors.
//!
//! ```text
//! plan: file type, overrides ─→ a type a tensor          (llama-quant.cpp)
//! quantize: rows of floats ─→ blocks of bytes            (ggml-quants.c)
//!    affine   Q2_K Q4_K Q5_K: scale and offset of each sub-block        ┐
//!    linear   Q3_K Q6_K: scale of each sub-block                         ├ search: the tried scales
//!    legacy   Q4_0 Q4_1 Q5_0 Q5_1 Q8_0: one block, one scale             ┘ lanes: the vectors
//! ```
//!
//! The reference searches some twenty scales for each sub-block, with sums whose order decides the last bit. Lanes
//! are therefore sub-blocks, not numbers of one: each lane does what the reference does, in its order, rounded after every
//! operation. The bytes are the same on every machine, whatever its vectors. Other types are llama.cpp's to make.

#![expect(clippy::inline_always, reason = "vectors stay in registers only where everything is one function")]

mod affine;
mod budget;
mod lanes;
mod legacy;
mod linear;
mod plan;
mod search;

pub use budget::{Candidate, choose};
pub use plan::{Rules, Unplanned, file_order, fitting, is_quantised};

use crate::model::gguf::TensorType;
use crate::model::vectors::Vectors;
use lanes::Lanes;

/// Rows of floats that become blocks.
#[derive(Clone, Copy)]
struct Rows<'a> {
    /// Whole blocks. With an importance, one row.
    numbers: &'a [f32],
    /// How much each number of the row matters.
    importance: Option<&'a [f32]>,
}

/// Returns whether [`quantize`] makes this type.
pub fn makes(kind: TensorType) -> bool {
    scales(kind).is_some()
}

/// Where a block has its 16-bit scales, and whether the types of the block are made here.
fn scales(kind: TensorType) -> Option<&'static [usize]> {
    Some(match kind.name() {
        "Q4_0" | "Q5_0" | "Q8_0" => &[0],
        "Q4_1" | "Q5_1" | "Q4_K" | "Q5_K" => &[0, 2],
        "Q2_K" => &[80, 82],
        "Q3_K" => &[108],
        "Q6_K" => &[208],
        _ => return None,
    })
}

/// Quantises whole rows of `columns` numbers. `importance` says how much each column matters.
///
/// Returns `false`, with `out` in no useful state, when a block's scale is beyond what 16 bits hold or when a number is
/// not finite.
///
/// # Panics
/// When [`makes`] does not hold of the type, or when the slices are not as long as each other says.
#[must_use]
pub fn quantize(kind: TensorType, numbers: &[f32], columns: usize, importance: Option<&[f32]>, out: &mut [u8]) -> bool {
    quantize_by(Vectors::best(), kind, numbers, columns, importance, out)
}

/// Quantises with the code for certain vectors.
fn quantize_by(
    vectors: Vectors,
    kind: TensorType,
    numbers: &[f32],
    columns: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> bool {
    let scales = scales(kind).unwrap_or_else(|| panic!("{kind} is not made here"));
    let bytes = kind.bytes(numbers.len() as u64);
    assert_eq!(bytes, Some(out.len() as u64), "numbers and bytes are not of the same blocks");
    // A few at a time without a way out between them: those are looked at side by side.
    let finite = |few: &[f32]| few.iter().fold(true, |finite, number| finite & number.is_finite());
    if !numbers.chunks(4096).all(finite) {
        return false;
    }
    match importance {
        None => run(vectors, kind, Rows { numbers, importance: None }, out),
        Some(importance) => {
            assert_eq!(importance.len(), columns, "there is one importance a column");
            let row_bytes = out.len() / (numbers.len() / columns).max(1);
            for (numbers, out) in numbers.chunks_exact(columns).zip(out.chunks_exact_mut(row_bytes)) {
                run(vectors, kind, Rows { numbers, importance: Some(importance) }, out);
            }
        }
    }
    let is_finite = |at: &[u8]| half::f16::from_le_bytes([at[0], at[1]]).is_finite();
    out.chunks_exact(kind.block_bytes() as usize).all(|block| scales.iter().all(|&at| is_finite(&block[at..at + 2])))
}

#[expect(unsafe_code, reason = "calls code for instructions that the machine was seen to have")]
fn run(vectors: Vectors, kind: TensorType, rows: Rows<'_>, out: &mut [u8]) {
    match vectors {
        Vectors::Portable => blocks::<f32>(kind, rows, out),
        // SAFETY: the machine has AVX2, as `available` saw.
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => unsafe { avx2(kind, rows, out) },
        // SAFETY: the machine has AVX-512, as `available` saw.
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx512 => unsafe { avx512(kind, rows, out) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(kind: TensorType, rows: Rows<'_>, out: &mut [u8]) {
    blocks::<lanes::Eight>(kind, rows, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(kind: TensorType, rows: Rows<'_>, out: &mut [u8]) {
    blocks::<lanes::Sixteen>(kind, rows, out);
}

#[inline(always)]
fn blocks<V: Lanes>(kind: TensorType, rows: Rows<'_>, out: &mut [u8]) {
    match kind.name() {
        "Q2_K" => affine::q2_k::<V>(rows, out),
        "Q3_K" => linear::q3_k::<V>(rows, out),
        "Q4_K" => affine::q4_k::<V>(rows, out),
        "Q5_K" => affine::q5_k::<V>(rows, out),
        "Q6_K" => linear::q6_k::<V>(rows, out),
        "Q4_0" => legacy::q4_0::<V>(rows, out),
        "Q4_1" => legacy::q4_1::<V>(rows, out),
        "Q5_0" => legacy::q5_0::<V>(rows, out),
        "Q5_1" => legacy::q5_1::<V>(rows, out),
        _ => legacy::q8_0::<V>(rows, out),
    }
}

/// Numbers of a super-block.
const SUPER: usize = 256;

/// Puts sub-blocks side by side, one a lane; lanes beyond the last sub-block hold zeros.
#[inline(always)]
fn side_by_side<V: Lanes, const N: usize>(numbers: &[f32]) -> [V; N] {
    let mut turned = [[0.0_f32; 16]; N];
    for (lane, block) in numbers.chunks_exact(N).take(V::COUNT).enumerate() {
        for (row, &number) in turned.iter_mut().zip(block) {
            row[lane] = number;
        }
    }
    turned.map(|row| V::load(&row))
}

/// Returns, a lane a sub-block, how much its numbers matter: `importance · √(spread + x²)`.
#[inline(always)]
fn importances<V: Lanes, const N: usize>(x: &[V; N], importance: &[V; N], spread: V) -> [V; N] {
    let mut weights = *importance;
    for (weight, &x) in weights.iter_mut().zip(x) {
        *weight = *weight * (spread + x * x).root();
    }
    weights
}

/// Returns the sum of squares in the order of the numbers.
fn sum_of_squares(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |sum, number| sum + number * number)
}

/// Returns the sums of each lane's numbers, in their order.
#[inline(always)]
fn sum<V: Lanes, const N: usize>(numbers: &[V; N]) -> V {
    numbers.iter().fold(V::splat(0.0), |sum, &number| sum + number)
}

/// Returns a 16-bit float's bytes.
fn half_bytes(number: f32) -> [u8; 2] {
    half::f16::from_f32(number).to_le_bytes()
}

/// Returns what a number is when it is stored in 16 bits.
fn as_half(number: f32) -> f32 {
    half::f16::from_f32(number).to_f32()
}

#[cfg(test)]
#[cfg(feature = "llama")]
mod tests;

#[cfg(test)]
#[cfg(feature = "llama")]
pub(crate) use tests::rounds_separately;
