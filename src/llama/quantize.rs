//! Quantising a GGUF file.

#![expect(unsafe_code, reason = "calls into llama.cpp")]

use std::path::Path;

use llama_cpp_sys_2 as sys;

use super::{LlamaError, log};

/// Bytes of rows that the quantiser holds at once; llama.cpp's default of 8 GiB is more than many machines have.
const BUFFER: usize = 512 << 20;

/// Writes the model at `input` to `output`, quantised to llama.cpp's `file_type`; [`super::quantized_tensors`] says how far it is.
///
/// The bytes do not depend on the number of threads.
///
/// # Errors
/// [`LlamaError::Quantize`] with llama.cpp's reason, such as a type that needs an importance matrix.
pub fn quantize(input: &Path, output: &Path, file_type: u32, threads: usize) -> Result<(), LlamaError> {
    log::start();
    log::forget_tensors();
    let (input, output) = (log::c_path(input)?, log::c_path(output)?);
    // SAFETY: the parameters are llama.cpp's own defaults but for plain numbers; both names live through the call.
    let status = unsafe {
        let mut parameters = sys::llama_model_quantize_default_params();
        parameters.nthread = i32::try_from(threads.max(1)).unwrap_or(i32::MAX);
        parameters.ftype = file_type;
        parameters.max_buf_size = BUFFER;
        sys::llama_model_quantize(input.as_ptr(), output.as_ptr(), &raw const parameters)
    };
    if status == 0 {
        return Ok(());
    }
    Err(LlamaError::Quantize { file_type, said: log::last_words() })
}
