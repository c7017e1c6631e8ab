//! Decoding and encoding the numbers of a tensor.

#![expect(unsafe_code, reason = "calls into ggml")]

use llama_cpp_sys_2 as sys;

use super::LlamaError;

/// Decodes `bytes` of ggml's type number `tensor_type` into 32-bit floats.
///
/// # Errors
/// [`LlamaError::Dequantize`] when the bytes are not as many as `numbers` takes, or ggml has no decoder for the type.
pub fn dequantize(tensor_type: u32, bytes: &[u8], numbers: &mut [f32]) -> Result<(), LlamaError> {
    let failed = || LlamaError::Dequantize { tensor_type, bytes: bytes.len(), elements: numbers.len() };
    let block = Block::of(tensor_type).ok_or_else(failed)?;
    if numbers.len() / block.elements * block.bytes != bytes.len() || !numbers.len().is_multiple_of(block.elements) {
        return Err(failed());
    }
    if tensor_type == sys::GGML_TYPE_F32 {
        for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
            *number = f32::from_le_bytes(*bytes);
        }
        return Ok(());
    }
    let decode = block.decode.ok_or_else(failed)?;
    // Blocks hold 16- and 32-bit numbers, which C reads from aligned places only.
    let aligned = bytes.as_ptr().align_offset(align_of::<u32>()) == 0;
    let copy: Vec<u32> = if aligned { Vec::new() } else { words(bytes) };
    let source = if aligned { bytes.as_ptr().cast() } else { copy.as_ptr().cast() };
    // SAFETY: the source holds whole blocks for exactly as many numbers as there is room for.
    unsafe { decode(source, numbers.as_mut_ptr(), numbers.len() as i64) };
    Ok(())
}

/// Encodes whole rows of `columns` numbers as ggml's type number `tensor_type`; `importance` says how much each column
/// matters.
///
/// # Errors
/// [`LlamaError::Rows`] when the slices are not as long as each other says, when ggml makes the type only with an
/// importance, or when a block would hold numbers that are not finite.
pub fn quantize_rows(
    tensor_type: u32,
    numbers: &[f32],
    columns: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), LlamaError> {
    let failed = || LlamaError::Rows { tensor_type, columns };
    let block = Block::of(tensor_type).ok_or_else(failed)?;
    let rows = numbers.len().checked_div(columns).ok_or_else(failed)?;
    let fits = columns.is_multiple_of(block.elements)
        && rows * columns == numbers.len()
        && numbers.len() / block.elements * block.bytes == out.len()
        && importance.is_none_or(|importance| importance.len() == columns);
    // SAFETY: the number is within ggml's table; the slices hold whole rows and whole blocks, as was just seen.
    let written = unsafe {
        if !fits || (importance.is_none() && sys::ggml_quantize_requires_imatrix(tensor_type)) {
            return Err(failed());
        }
        let importance = importance.map_or(std::ptr::null(), <[f32]>::as_ptr);
        let target = out.as_mut_ptr().cast();
        sys::ggml_quantize_chunk(tensor_type, numbers.as_ptr(), target, 0, rows as i64, columns as i64, importance)
            == out.len()
            && sys::ggml_validate_row_data(tensor_type, target, out.len())
    };
    if written { Ok(()) } else { Err(failed()) }
}

/// What ggml knows of a type.
pub(super) struct Block {
    /// Numbers that are stored together.
    pub(super) elements: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    decode: sys::ggml_to_float_t,
}

impl Block {
    /// Returns what ggml knows of a type, if it knows the type.
    pub(super) fn of(tensor_type: u32) -> Option<Self> {
        if tensor_type >= sys::GGML_TYPE_COUNT {
            return None;
        }
        // SAFETY: the number is within ggml's table, which is constant.
        let traits = unsafe { &*sys::ggml_get_type_traits(tensor_type) };
        let (elements, bytes) = (usize::try_from(traits.blck_size).ok()?, traits.type_size);
        // Numbers of types that are gone stand for empty blocks.
        (elements > 0 && bytes > 0).then_some(Self { elements, bytes, decode: traits.to_float })
    }
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
