//! Running a model over one sequence at a time.
//!
//! The numbers do not depend on the number of threads: every dot product is computed by one thread, and flash
//! attention, which splits by threads, is off.

#![expect(unsafe_code, reason = "calls into llama.cpp")]

use std::ffi::c_void;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::{LlamaError, Model, Token, log};

/// Tokens that go through the network together.
const BATCH: usize = 512;

/// Asked now and then, from any thread, whether to end early.
pub type Interrupt<'a> = &'a (dyn Fn() -> bool + Sync);

/// How a context is made.
#[derive(Clone, Copy)]
pub struct ContextOptions<'a> {
    /// The longest sequence in tokens.
    pub length: u32,
    /// Threads; they change no number.
    pub threads: usize,
    /// Whether to end early.
    pub interrupt: Interrupt<'a>,
}

/// Is shown intermediate results.
pub(super) struct Watch {
    pub(super) callback: sys::ggml_backend_sched_eval_callback,
    pub(super) data: *mut c_void,
}

/// The memory of one sequence.
pub struct Context<'a> {
    pointer: NonNull<sys::llama_context>,
    pub(super) model: &'a Model,
    /// The tokens whose keys and values are held.
    held: Vec<Token>,
    length: usize,
    /// llama.cpp keeps a pointer to this; a box does not move.
    interrupt: Box<Interrupt<'a>>,
}

impl<'a> Context<'a> {
    /// Makes an empty context.
    ///
    /// # Errors
    /// [`LlamaError::Context`], mostly when memory runs out.
    pub fn new(model: &'a Model, options: &ContextOptions<'a>) -> Result<Self, LlamaError> {
        // SAFETY: nothing watches.
        unsafe { Self::watched(model, options, Watch { callback: None, data: std::ptr::null_mut() }) }
    }

    /// Makes an empty context that shows each intermediate result to `watch`. Where something watches, keys and values are
    /// kept in 32 bits: their rounding to 16 would be in every result after them.
    ///
    /// # Errors
    /// As [`Self::new`].
    ///
    /// # Safety
    /// What the callback does with its data must be sound for as long as the context lives.
    pub(super) unsafe fn watched(
        model: &'a Model,
        options: &ContextOptions<'a>,
        watch: Watch,
    ) -> Result<Self, LlamaError> {
        let interrupt = Box::new(options.interrupt);
        let threads = i32::try_from(options.threads.max(1)).unwrap_or(i32::MAX);
        // SAFETY: the parameters are llama.cpp's own defaults but for plain numbers and the callback, whose data
        // lives in a box that is dropped after the context.
        let pointer = unsafe {
            let mut parameters = sys::llama_context_default_params();
            parameters.n_ctx = options.length;
            parameters.n_batch = BATCH as u32;
            parameters.n_ubatch = BATCH as u32;
            parameters.n_threads = threads;
            parameters.n_threads_batch = threads;
            parameters.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_DISABLED;
            parameters.no_perf = true;
            parameters.abort_callback = Some(interrupted);
            if watch.callback.is_some() {
                (parameters.type_k, parameters.type_v) = (sys::GGML_TYPE_F32, sys::GGML_TYPE_F32);
            }
            parameters.cb_eval = watch.callback;
            parameters.cb_eval_user_data = watch.data;
            parameters.abort_callback_data = std::ptr::from_ref(&*interrupt).cast_mut().cast();
            sys::llama_init_from_model(model.pointer.as_ptr(), parameters)
        };
        let failed = || LlamaError::Context { length: options.length, said: log::last_words() };
        let pointer = NonNull::new(pointer).ok_or_else(failed)?;
        Ok(Self { pointer, model, held: Vec::new(), length: options.length as usize, interrupt })
    }

    /// Returns the natural logarithm of each wanted token's probability, given all tokens before it.
    ///
    /// `wanted` is as long as `tokens`; the first token has nothing before it and is never counted.
    ///
    /// # Errors
    /// [`LlamaError::TooLong`], [`LlamaError::UnknownToken`], [`LlamaError::Interrupted`], [`LlamaError::Compute`].
    pub fn log_probabilities(&mut self, tokens: &[Token], wanted: &[bool]) -> Result<Vec<f64>, LlamaError> {
        let mut result = Vec::new();
        self.predictions(tokens, wanted, |token, logits| {
            result.push(log_probability(logits, token as usize));
            Ok::<_, LlamaError>(())
        })?;
        Ok(result)
    }

    /// Gives `each` the wanted tokens with the logits that predict them, in their order; `wanted` is as in
    /// [`Self::log_probabilities`].
    ///
    /// # Errors
    /// As [`Self::log_probabilities`]; those of `each`.
    pub fn predictions<E: From<LlamaError>>(
        &mut self,
        tokens: &[Token],
        wanted: &[bool],
        mut each: impl FnMut(Token, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.keep(0);
        // The logits at one position say what comes next: position i is needed when token i + 1 is wanted.
        let needed: Vec<bool> = (1..=tokens.len()).map(|next| wanted.get(next).copied().unwrap_or(false)).collect();
        for (start, chunk) in (0..).step_by(BATCH).zip(tokens.chunks(BATCH)) {
            self.decode(chunk, &needed[start..start + chunk.len()])?;
            for at in (0..chunk.len()).filter(|at| needed[start + at]) {
                let next = tokens[start + at + 1];
                self.check(next)?;
                each(next, self.logits(at)?)?;
            }
        }
        Ok(())
    }

    /// Takes in `tokens` as the whole sequence and computes what follows each of them.
    ///
    /// # Errors
    /// As [`Self::log_probabilities`].
    pub(super) fn pass(&mut self, tokens: &[Token]) -> Result<(), LlamaError> {
        self.keep(0);
        tokens.chunks(BATCH).try_for_each(|chunk| self.decode(chunk, &vec![true; chunk.len()]))
    }

    /// Returns the logits after every token: one row of the vocabulary's size for each.
    ///
    /// # Errors
    /// As [`Self::log_probabilities`].
    pub fn all_logits(&mut self, tokens: &[Token]) -> Result<Vec<Vec<f32>>, LlamaError> {
        self.keep(0);
        let mut rows = Vec::new();
        for chunk in tokens.chunks(BATCH) {
            self.decode(chunk, &vec![true; chunk.len()])?;
            for at in 0..chunk.len() {
                rows.push(self.logits(at)?.to_vec());
            }
        }
        Ok(rows)
    }

    /// Takes in `tokens` as the whole sequence, going on from the part that is held already, and returns the logits
    /// after the last.
    pub(super) fn read(&mut self, tokens: &[Token]) -> Result<&[f32], LlamaError> {
        let Some(last) = tokens.len().checked_sub(1) else { return Err(LlamaError::Empty) };
        let common = self.held.iter().zip(tokens).take_while(|(held, token)| held == token).count();
        self.keep(common.min(last));
        let rest = &tokens[self.held.len()..];
        let mut at = 0;
        for chunk in rest.chunks(BATCH) {
            at = chunk.len() - 1;
            let mut needed = vec![false; chunk.len()];
            needed[at] = true;
            self.decode(chunk, &needed)?;
        }
        self.logits(at)
    }

    /// Returns how many more tokens fit.
    pub(super) fn room(&self) -> usize {
        self.length.saturating_sub(self.held.len())
    }

    /// Returns whether the caller asked for the end.
    pub(super) fn is_interrupted(&self) -> bool {
        (self.interrupt)()
    }

    /// Forgets all but the first `count` tokens.
    fn keep(&mut self, count: usize) {
        // SAFETY: the context lives as long as `self`.
        let kept = unsafe {
            let memory = sys::llama_get_memory(self.pointer.as_ptr());
            let kept = count > 0 && sys::llama_memory_seq_rm(memory, 0, count as i32, -1);
            if !kept {
                sys::llama_memory_clear(memory, false);
            }
            kept
        };
        self.held.truncate(if kept { count } else { 0 });
    }

    /// Runs `tokens` behind those that are held. Logits are computed where `needed` says so.
    fn decode(&mut self, tokens: &[Token], needed: &[bool]) -> Result<(), LlamaError> {
        if tokens.len() > self.room() {
            return Err(LlamaError::TooLong { tokens: self.held.len() + tokens.len(), length: self.length });
        }
        for token in tokens {
            self.check(*token)?;
        }
        let first = self.held.len() as i32;
        let mut sequence = 0;
        let mut ids = tokens.to_vec();
        let mut positions: Vec<i32> = (first..first + tokens.len() as i32).collect();
        let mut counts = vec![1_i32; tokens.len()];
        let mut sequences = vec![&raw mut sequence; tokens.len()];
        let mut logits: Vec<i8> = needed.iter().map(|needed| i8::from(*needed)).collect();
        let batch = sys::llama_batch {
            n_tokens: tokens.len() as i32,
            token: ids.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: positions.as_mut_ptr(),
            n_seq_id: counts.as_mut_ptr(),
            seq_id: sequences.as_mut_ptr(),
            logits: logits.as_mut_ptr(),
        };
        // SAFETY: all arrays of the batch have `n_tokens` entries and live through the call; tokens are in the
        // vocabulary.
        let status = unsafe { sys::llama_decode(self.pointer.as_ptr(), batch) };
        match status {
            0 => {
                self.held.extend(tokens);
                Ok(())
            }
            _ if self.is_interrupted() => {
                self.keep(0);
                Err(LlamaError::Interrupted)
            }
            _ => {
                self.keep(0);
                Err(LlamaError::Compute { said: log::last_words() })
            }
        }
    }

    /// Returns the logits at place `at` of the last batch.
    fn logits(&self, at: usize) -> Result<&[f32], LlamaError> {
        // SAFETY: llama.cpp returns null for a place without logits; else a row of the vocabulary's size that stays
        // until the next decode, which needs `&mut self`.
        unsafe {
            let row = sys::llama_get_logits_ith(self.pointer.as_ptr(), at as i32);
            if row.is_null() {
                return Err(LlamaError::Compute { said: log::last_words() });
            }
            Ok(std::slice::from_raw_parts(row, self.model.vocabulary_size().max(0) as usize))
        }
    }

    fn check(&self, token: Token) -> Result<(), LlamaError> {
        let size = self.model.vocabulary_size();
        if (0..size).contains(&token) { Ok(()) } else { Err(LlamaError::UnknownToken { token, size }) }
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: nothing else holds the context; the callback's data is dropped after this.
        unsafe { sys::llama_free(self.pointer.as_ptr()) };
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("held", &self.held.len()).field("length", &self.length).finish_non_exhaustive()
    }
}

/// Returns `ln softmax(logits)[token]`, summed in 64 bits.
fn log_probability(logits: &[f32], token: usize) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - highest).exp()).sum();
    f64::from(logits[token] - highest) - sum.ln()
}

unsafe extern "C" fn interrupted(data: *mut c_void) -> bool {
    // SAFETY: `data` is the boxed closure that `Context::new` gave, alive as long as the context computes.
    let interrupt = unsafe { &*data.cast::<Interrupt<'_>>() };
    interrupt()
}

#[cfg(test)]
impl Context<'_> {
    /// Puts the adapter of a GGUF beside the model. Returns whether llama.cpp takes it.
    pub(crate) fn put_adapter(&mut self, path: &std::path::Path) -> bool {
        let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the adapter belongs to the model, which outlives the context, and is freed with it.
        unsafe {
            let mut adapter = sys::llama_adapter_lora_init(self.model.pointer.as_ptr(), path.as_ptr());
            let mut scale = 1.0;
            !adapter.is_null()
                && sys::llama_set_adapters_lora(self.pointer.as_ptr(), &raw mut adapter, 1, &raw mut scale) == 0
        }
    }
}
