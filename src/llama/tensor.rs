//! Decoding the numbers of a tensor.

#![expect(unsafe_code, reason = "calls into ggml")]

use llama_cpp_sys_2 as sys;

use super::LlamaError;
use crate::model::gguf::TensorType;

/// Decodes `bytes` of any type that ggml knows into 32-bit floats.
///
/// # Errors
/// [`LlamaError::Dequantize`] when the bytes are not as many as `numbers` takes, or ggml has no decoder for the type.
pub fn dequantize(tensor_type: TensorType, bytes: &[u8], numbers: &mut [f32]) -> Result<(), LlamaError> {
    let failed =
        || LlamaError::Dequantize { tensor_type: tensor_type.name(), bytes: bytes.len(), elements: numbers.len() };
    if tensor_type.bytes(numbers.len() as u64) != Some(bytes.len() as u64) {
        return Err(failed());
    }
    if tensor_type == TensorType::F32 {
        for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
            *number = f32::from_le_bytes(*bytes);
        }
        return Ok(());
    }
    // SAFETY: the number is one of ggml's own; its table of types is constant.
    let decode = unsafe { (*sys::ggml_get_type_traits(tensor_type.id())).to_float }.ok_or_else(failed)?;
    // Blocks hold 16- and 32-bit numbers, which C reads from aligned places only.
    let aligned = bytes.as_ptr().align_offset(align_of::<u32>()) == 0;
    let copy: Vec<u32> = if aligned { Vec::new() } else { words(bytes) };
    let source = if aligned { bytes.as_ptr().cast() } else { copy.as_ptr().cast() };
    // SAFETY: the source holds whole blocks for exactly as many numbers as there is room for.
    unsafe { decode(source, numbers.as_mut_ptr(), numbers.len() as i64) };
    Ok(())
}

/// Copies bytes to an aligned place.
fn words(bytes: &[u8]) -> Vec<u32> {
    let word = |chunk: &[u8]| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_ne_bytes(word)
    };
    bytes.chunks(4).map(word).collect()
}

/// Returns ggml's own elements and bytes of a block, for the test that holds our table against it.
#[cfg(test)]
pub(super) fn block(tensor_type: TensorType) -> (u64, u64) {
    // SAFETY: the number is one of ggml's own; its table of types is constant.
    unsafe { (sys::ggml_blck_size(tensor_type.id()) as u64, sys::ggml_type_size(tensor_type.id()) as u64) }
}
