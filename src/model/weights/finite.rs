//! Whether stored numbers are numbers: a look at exponents and block scales, without dequantising.

/// Returns whether all of a safetensors type's numbers are finite; types that are not read count as such.
pub(super) fn plain(dtype: &str, bytes: &[u8]) -> bool {
    match dtype {
        "F32" => bytes.as_chunks().0.iter().all(|bytes| f32::from_le_bytes(*bytes).is_finite()),
        "F16" => bytes.as_chunks().0.iter().all(|bytes| is_finite_half(*bytes)),
        "BF16" => bytes.as_chunks().0.iter().all(|bytes| u16::from_le_bytes(*bytes) & 0x7f80 != 0x7f80),
        _ => true,
    }
}

/// Returns whether all numbers of a GGUF's tensor are finite: quantised ones are when their blocks' scales are.
///
/// The scales' places are those of `ggml-common.h`; blocks of a type that is not listed count as finite.
pub(super) fn quantised(type_name: &str, bytes: &[u8]) -> bool {
    let (block, scales): (usize, &[usize]) = match type_name {
        "F32" | "F16" | "BF16" => return plain(type_name, bytes),
        "Q4_0" => (18, &[0]),
        "Q4_1" => (20, &[0, 2]),
        "Q5_0" => (22, &[0]),
        "Q5_1" => (24, &[0, 2]),
        "Q8_0" => (34, &[0]),
        "Q2_K" => (84, &[80, 82]),
        "Q3_K" => (110, &[108]),
        "Q4_K" => (144, &[0, 2]),
        "Q5_K" => (176, &[0, 2]),
        "Q6_K" => (210, &[208]),
        _ => return true,
    };
    let blocks = bytes.chunks_exact(block);
    blocks.into_iter().all(|block| scales.iter().all(|&at| is_finite_half([block[at], block[at + 1]])))
}

fn is_finite_half(bytes: [u8; 2]) -> bool {
    u16::from_le_bytes(bytes) & 0x7c00 != 0x7c00
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::ggml_file::qtensor_from_ggml;
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::model::gguf::TensorType;
    use crate::model::weights::blocks::QUANTISED;

    #[test]
    fn what_is_found_is_what_dequantises_to_no_number() {
        for kind in QUANTISED {
            let name = format!("{kind:?}").replace('K', "_K");
            let (size, width) = (kind.type_size(), kind.block_size());
            let is_finite = |bytes: &[u8]| {
                let tensor = qtensor_from_ggml(kind, bytes, vec![1, 2 * width], &Device::Cpu).unwrap();
                let numbers = tensor.dequantize(&Device::Cpu).and_then(|tensor: Tensor| tensor.flatten_all());
                numbers.unwrap().to_vec1::<f32>().unwrap().iter().all(|number| number.is_finite())
            };
            let mut found = 0;
            for at in (0..size).step_by(2) {
                // An infinite half, wherever it may stand in the second block.
                let mut bytes = vec![0x11; 2 * size];
                bytes[size + at..size + at + 2].copy_from_slice(&[0x00, 0x7c]);
                assert_eq!(quantised(&name, &bytes), is_finite(&bytes), "{name} at {at}");
                found += usize::from(!quantised(&name, &bytes));
            }
            assert!(found > 0, "{name}");
        }
        for (name, bad) in [("F32", &[0, 0, 0xc0, 0x7f][..]), ("F16", &[0, 0xfc]), ("BF16", &[0x80, 0x7f])] {
            assert!(!plain(name, bad) && plain(name, &vec![0; bad.len()]), "{name}");
        }
    }

    #[test]
    fn blocks_are_as_long_as_ggml_has_them() {
        for known in TensorType::all() {
            let bytes = vec![0xff; known.block_bytes() as usize];
            let is_checked = !quantised(known.name(), &bytes);
            let is_read = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"].contains(&known.name())
                || ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"].contains(&known.name());
            assert_eq!(is_checked, is_read, "{known}");
        }
    }
}
