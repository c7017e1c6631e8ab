//! Quantising a GGUF file.

#![expect(unsafe_code, reason = "calls into llama.cpp")]

use std::ffi::CString;
use std::path::Path;

use llama_cpp_sys_2 as sys;

use super::{Importance, LlamaError, log};

/// Bytes of rows that the quantiser holds at once; llama.cpp's default of 8 GiB is more than many machines have.
const BUFFER: usize = 512 << 20;

/// Writes the model at `input` to `output`, quantised to llama.cpp's `file_type`; [`super::quantized_tensors`] says how far it is.
///
/// `importance` says how much each column of the weights that it has matters. The bytes do not depend on the number of
/// threads.
///
/// # Errors
/// [`LlamaError::Quantize`] with llama.cpp's reason, such as a type that needs an importance matrix.
pub fn quantize(
    input: &Path,
    output: &Path,
    file_type: u32,
    importance: Option<&Importance>,
    threads: usize,
) -> Result<(), LlamaError> {
    log::start();
    log::forget_tensors();
    let (input, output) = (log::c_path(input)?, log::c_path(output)?);
    let named = importance.into_iter().flatten();
    // GGUF's names have no zero bytes; one that has names no tensor.
    let named = named.filter_map(|(name, numbers)| Some((CString::new(name.as_str()).ok()?, numbers)));
    let named: Vec<(CString, &Vec<f32>)> = named.collect();
    let entry = |name, data, size| sys::llama_model_imatrix_data { name, data, size };
    let entries = named.iter().map(|(name, numbers)| entry(name.as_ptr(), numbers.as_ptr(), numbers.len()));
    let entries: Vec<_> = entries.chain([entry(std::ptr::null(), std::ptr::null(), 0)]).collect();
    // SAFETY: the parameters are llama.cpp's own defaults but for plain numbers; names and importances live through the
    // call, and the last of these has no name.
    let status = unsafe {
        let mut parameters = sys::llama_model_quantize_default_params();
        parameters.nthread = i32::try_from(threads.max(1)).unwrap_or(i32::MAX);
        parameters.ftype = file_type;
        parameters.max_buf_size = BUFFER;
        if importance.is_some() {
            parameters.imatrix = entries.as_ptr();
        }
        sys::llama_model_quantize(input.as_ptr(), output.as_ptr(), &raw const parameters)
    };
    if status == 0 {
        return Ok(());
    }
    Err(LlamaError::Quantize { file_type, said: log::last_words() })
}
