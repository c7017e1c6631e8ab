//! The numbers of a file's tensor, from the bytes of its type: plain floats, and the blocks of ggml.
//!
//! Every number has the bits that llama.cpp and candle give it, which a test checks: products and sums are rounded one
//! after the other, as there. The loops have fixed lengths, so that they are vectorised.

use candle_core::Device;
use candle_core::quantized::{GgmlDType, ggml_file::qtensor_from_ggml};
use half::{bf16, f16};

/// Numbers of a block of the simple types.
const SIMPLE: usize = 32;
/// Numbers of a block of the k-types.
const SUPER: usize = 256;

/// Returns the bytes of so many numbers, which fill whole blocks.
pub(super) fn byte_len(dtype: GgmlDType, numbers: usize) -> usize {
    numbers / dtype.block_size() * dtype.type_size()
}

/// Writes the numbers of `bytes` to `out`, which they fill.
///
/// # Panics
/// When `bytes` are not those of as many whole blocks as `out` takes.
pub(super) fn decode(dtype: GgmlDType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(bytes.len(), byte_len(dtype, out.len()), "blocks that do not fill the row");
    match dtype {
        GgmlDType::F32 => plain(bytes, out, f32::from_le_bytes),
        GgmlDType::F16 => plain(bytes, out, |pair| f16::from_le_bytes(pair).to_f32()),
        GgmlDType::BF16 => plain(bytes, out, |pair| bf16::from_le_bytes(pair).to_f32()),
        GgmlDType::Q4_0 => blocks(bytes, out, q4_0),
        GgmlDType::Q4_1 => blocks(bytes, out, q4_1),
        GgmlDType::Q5_0 => blocks(bytes, out, q5_0),
        GgmlDType::Q5_1 => blocks(bytes, out, q5_1),
        GgmlDType::Q8_0 => blocks(bytes, out, q8_0),
        GgmlDType::Q4K => blocks(bytes, out, q4_k),
        GgmlDType::Q5K => blocks(bytes, out, q5_k),
        GgmlDType::Q6K => blocks(bytes, out, q6_k),
        rare => {
            let tensor = qtensor_from_ggml(rare, bytes, vec![out.len()], &Device::Cpu);
            let numbers = tensor.and_then(|tensor| tensor.dequantize(&Device::Cpu)?.to_vec1::<f32>());
            out.copy_from_slice(&numbers.expect("whole blocks of a type that candle knows"));
        }
    }
}

fn plain<const N: usize>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = number(*bytes);
    }
}

fn blocks<const BYTES: usize, const NUMBERS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; NUMBERS]),
) {
    for (bytes, out) in bytes.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<NUMBERS>().0) {
        block(bytes, out);
    }
}

/// Returns the half-precision float at a place.
fn half(bytes: &[u8], place: usize) -> f32 {
    f16::from_le_bytes([bytes[place], bytes[place + 1]]).to_f32()
}

/// Returns the array at a place.
fn part<const N: usize>(bytes: &[u8], place: usize) -> &[u8; N] {
    bytes[place..].first_chunk().expect("a part of a block")
}

fn q4_0(block: &[u8; 18], out: &mut [f32; SIMPLE]) {
    let d = half(block, 0);
    let nibbles = part::<16>(block, 2);
    for (place, nibble) in nibbles.iter().enumerate() {
        out[place] = f32::from(i16::from(nibble & 15) - 8) * d;
        out[place + 16] = f32::from(i16::from(nibble >> 4) - 8) * d;
    }
}

fn q4_1(block: &[u8; 20], out: &mut [f32; SIMPLE]) {
    let (d, m) = (half(block, 0), half(block, 2));
    let nibbles = part::<16>(block, 4);
    for (place, nibble) in nibbles.iter().enumerate() {
        out[place] = f32::from(nibble & 15) * d + m;
        out[place + 16] = f32::from(nibble >> 4) * d + m;
    }
}

/// Returns the numbers of five bits of a block: the fifth bits lie in `high`, one a number.
fn five_bits(high: [u8; 4], nibbles: &[u8; 16]) -> [i16; SIMPLE] {
    let high = u32::from_le_bytes(high);
    std::array::from_fn(|place| {
        let nibble = if place < 16 { nibbles[place] & 15 } else { nibbles[place - 16] >> 4 };
        i16::from(nibble) | ((high >> place & 1) << 4) as i16
    })
}

fn q5_0(block: &[u8; 22], out: &mut [f32; SIMPLE]) {
    let d = half(block, 0);
    for (out, number) in out.iter_mut().zip(five_bits(*part(block, 2), part(block, 6))) {
        *out = f32::from(number - 16) * d;
    }
}

fn q5_1(block: &[u8; 24], out: &mut [f32; SIMPLE]) {
    let (d, m) = (half(block, 0), half(block, 2));
    for (out, number) in out.iter_mut().zip(five_bits(*part(block, 4), part(block, 8))) {
        *out = f32::from(number) * d + m;
    }
}

fn q8_0(block: &[u8; 34], out: &mut [f32; SIMPLE]) {
    let d = half(block, 0);
    for (out, byte) in out.iter_mut().zip(part::<32>(block, 2)) {
        *out = f32::from(byte.cast_signed()) * d;
    }
}

/// Returns the scale and the minimum of a group of 32 numbers, six bits each.
fn scale_and_minimum(group: usize, packed: &[u8; 12]) -> (f32, f32) {
    let (scale, minimum) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let (low, first, second) = (packed[group + 4], packed[group - 4], packed[group]);
        (low & 15 | first >> 6 << 4, low >> 4 | second >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

fn q4_k(block: &[u8; 144], out: &mut [f32; SUPER]) {
    let (d, minimum) = (half(block, 0), half(block, 2));
    let scales = part(block, 4);
    for (pair, out) in out.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let nibbles = part::<32>(block, 16 + 32 * pair);
        let [(first, low), (second, high)] = [2 * pair, 2 * pair + 1].map(|group| {
            let (scale, least) = scale_and_minimum(group, scales);
            (d * scale, minimum * least)
        });
        for (place, nibble) in nibbles.iter().enumerate() {
            out[place] = first * f32::from(nibble & 15) - low;
            out[place + 32] = second * f32::from(nibble >> 4) - high;
        }
    }
}

fn q5_k(block: &[u8; 176], out: &mut [f32; SUPER]) {
    let (d, minimum) = (half(block, 0), half(block, 2));
    let scales = part(block, 4);
    let fifth = part::<32>(block, 16);
    for (pair, out) in out.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let nibbles = part::<32>(block, 48 + 32 * pair);
        let [(first, low), (second, high)] = [2 * pair, 2 * pair + 1].map(|group| {
            let (scale, least) = scale_and_minimum(group, scales);
            (d * scale, minimum * least)
        });
        for (place, (nibble, fifth)) in nibbles.iter().zip(fifth).enumerate() {
            let bits = fifth >> (2 * pair);
            out[place] = first * f32::from(nibble & 15 | (bits & 1) << 4) - low;
            out[place + 32] = second * f32::from(nibble >> 4 | (bits >> 1 & 1) << 4) - high;
        }
    }
}

fn q6_k(block: &[u8; 210], out: &mut [f32; SUPER]) {
    let d = half(block, 208);
    for (part_of, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let low = part::<64>(block, 64 * part_of);
        let high = part::<32>(block, 128 + 32 * part_of);
        let scales = part::<8>(block, 192 + 8 * part_of).map(|scale| d * f32::from(scale.cast_signed()));
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let nibbles = part::<32>(low, group % 2 * 32);
            let shifts = (group as u32 / 2 * 4, group as u32 * 2);
            for half in 0..2 {
                let scale = scales[2 * group + half];
                let (nibbles, high) = (part::<16>(nibbles, 16 * half), part::<16>(high, 16 * half));
                // In 32 bits, which every machine shifts side by side.
                for ((out, nibble), high) in out[16 * half..][..16].iter_mut().zip(nibbles).zip(high) {
                    let bits = u32::from(*nibble) >> shifts.0 & 15 | (u32::from(*high) >> shifts.1 & 3) << 4;
                    *out = scale * (bits.cast_signed() - 32) as f32;
                }
            }
        }
    }
}

/// The quantised types that a base may have.
#[cfg(test)]
pub(super) const QUANTISED: [GgmlDType; 10] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

#[cfg(test)]
mod tests {
    use candle_core::Tensor;
    use candle_core::quantized::QTensor;

    use super::*;

    #[test]
    fn every_type_has_the_bits_that_candle_gives_it() {
        // Whatever the bytes: all scales, all bits, also of halves that are no numbers.
        for dtype in [GgmlDType::F16, GgmlDType::BF16].into_iter().chain(QUANTISED) {
            let numbers = 64 * SUPER;
            let bytes: Vec<u8> = (0..byte_len(dtype, numbers) as u64)
                .map(|place| crate::model::lora::random::mix(&[7, place]).to_le_bytes()[3])
                .collect();
            let mut found = vec![0.0; numbers];
            decode(dtype, &bytes, &mut found);
            let tensor = qtensor_from_ggml(dtype, &bytes, vec![numbers], &Device::Cpu).unwrap();
            let expected: Vec<f32> = tensor.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap();
            for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                assert!(same, "{dtype:?} {place}: {found} is not {expected}");
            }
        }
    }

    #[test]
    fn quantised_numbers_come_back() {
        let numbers: Vec<f32> = (0..1024).map(|index| (index % 97) as f32 / 7.0 - 5.0).collect();
        let tensor = Tensor::from_slice(&numbers, 1024, &Device::Cpu).unwrap();
        for dtype in [GgmlDType::Q8_0, GgmlDType::Q4_1, GgmlDType::Q6K] {
            let bytes = QTensor::quantize(&tensor, dtype).unwrap();
            let mut found = vec![0.0; 1024];
            decode(dtype, &bytes.data().unwrap(), &mut found);
            assert!(found.iter().zip(&numbers).all(|(found, number)| (found - number).abs() < 0.7), "{dtype:?}");
        }
    }
}
