//! What llama.cpp says: kept in memory, never printed.

#![expect(unsafe_code, reason = "hands a callback to llama.cpp")]

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::path::Path;
use std::sync::{Mutex, Once, PoisonError};

use llama_cpp_sys_2 as sys;

use super::LlamaError;

/// Lines that are kept: a failed load explains itself in the last two or three.
const KEPT: usize = 8;

static SAID: Mutex<Said> = Mutex::new(Said { lines: VecDeque::new(), tensors: None });

struct Said {
    /// The last warnings and errors.
    lines: VecDeque<String>,
    /// Tensors quantised, and in all.
    tensors: Option<(u64, u64)>,
}

/// Starts llama.cpp once in this process, with its log turned to us.
pub(super) fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        // SAFETY: the callback is a plain function that lives as long as the process and never unwinds; no other
        // thread uses llama.cpp before this returns.
        unsafe {
            sys::llama_log_set(Some(listen), std::ptr::null_mut());
            sys::llama_backend_init();
        }
    });
}

/// Returns the last warnings and errors as one line, and forgets them.
pub(super) fn last_words() -> String {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let lines: Vec<String> = said.lines.drain(..).collect();
    if lines.is_empty() { "it gave no reason".into() } else { lines.join(" · ") }
}

/// Returns how many tensors the quantiser has begun, of how many, while it runs in another thread of this process.
pub fn quantized_tensors() -> Option<(u64, u64)> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).tensors
}

/// Forgets how far the last quantiser came.
pub(super) fn forget_tensors() {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).tensors = None;
}

/// Returns a path as C takes it.
pub(super) fn c_path(path: &Path) -> Result<std::ffi::CString, LlamaError> {
    let text = path.to_str().and_then(|text| std::ffi::CString::new(text).ok());
    text.ok_or_else(|| LlamaError::Path { path: path.to_owned() })
}

unsafe extern "C" fn listen(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp gives a terminated text that lives until this returns.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let text = text.trim();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if level == sys::GGML_LOG_LEVEL_INFO {
        said.tensors = tensors(text).or(said.tensors);
    } else if level >= sys::GGML_LOG_LEVEL_WARN && level != sys::GGML_LOG_LEVEL_CONT && text.len() > 1 {
        if said.lines.len() == KEPT {
            said.lines.pop_front();
        }
        said.lines.push_back(text.to_owned());
    }
}

/// Reads the quantiser's `[  12/ 272] blk.0.attn_k.weight …`.
fn tensors(text: &str) -> Option<(u64, u64)> {
    let (done, total) = text.strip_prefix('[')?.split_once(']')?.0.split_once('/')?;
    Some((done.trim().parse().ok()?, total.trim().parse().ok()?))
}
