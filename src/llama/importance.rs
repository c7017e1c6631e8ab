//! How much each column of a model's matrices matters: the mean square of the numbers that it is multiplied with while the
//! model reads texts.
//!
//! `llama-imatrix` measures the same, within 1e-4 of each column, where both compute alike: with `-fa off -ctk f32 -ctv f32`
//! for a model in 32 bits. By default it rounds keys and values to 16 bits, and what is multiplied with matrices in 16 bits
//! is rounded on either side where the instructions need it. Which way a number is rounded depends on the last bits of a sum, and
//! so on the machine's instructions: two builds of `llama-imatrix` itself then differ by 6e-3 of a column, or 2e-2.

#![expect(unsafe_code, reason = "reads tensors of a running graph")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};

use llama_cpp_sys_2 as sys;

use super::context::Watch;
use super::{Context, ContextOptions, LlamaError, Model, Token};

/// Mean squares, one a column, by the name of the weight, such as `blk.0.attn_q.weight`.
pub type Importance = BTreeMap<String, Vec<f32>>;

/// Measures the columns of all matrices in a model's blocks over `texts`, each of which is a sequence of its own; `step` is
/// told of each. The embedding and the output matrix are not measured: they are quantised without.
///
/// # Errors
/// Those of [`Context::log_probabilities`]; [`LlamaError::Importance`] for a model whose numbers run over.
pub fn importance<'a>(
    model: &'a Model,
    options: &ContextOptions<'a>,
    texts: &[Vec<Token>],
    mut step: impl FnMut(),
) -> Result<Importance, LlamaError> {
    let mut collector = Box::<Collector>::default();
    let watch = Watch { callback: Some(collect), data: (&raw mut *collector).cast() };
    // SAFETY: the callback takes its data for a collector, which lives longer than the context and is not touched before
    // the context is gone.
    let mut context = unsafe { Context::watched(model, options, watch)? };
    for text in texts {
        context.pass(text)?;
        step();
    }
    drop(context);
    let mut importance = Importance::new();
    for (tensor, squares) in collector.0 {
        let means: Vec<f32> = squares.sums.iter().map(|sum| (sum / squares.rows.max(1) as f64) as f32).collect();
        if !means.iter().all(|mean| mean.is_finite()) {
            return Err(LlamaError::Importance { tensor });
        }
        importance.insert(tensor, means);
    }
    Ok(importance)
}

/// Sums by the name of the weight.
#[derive(Default)]
struct Collector(BTreeMap<String, Squares>);

#[derive(Default)]
struct Squares {
    /// One a column.
    sums: Vec<f64>,
    rows: u64,
}

impl Squares {
    /// Adds the squares of all rows of `input`.
    ///
    /// # Safety
    /// It holds 32-bit floats in this process' memory, those of a row side by side.
    unsafe fn add(&mut self, input: &sys::ggml_tensor) {
        let [columns, rows, planes, blocks] = input.ne.map(|size| usize::try_from(size).unwrap_or(0));
        self.sums.resize(columns, 0.0);
        for block in 0..blocks {
            for plane in 0..planes {
                for row in 0..rows {
                    let at = row * input.nb[1] + plane * input.nb[2] + block * input.nb[3];
                    // SAFETY: the place is that of a whole row of the tensor.
                    let row = unsafe { std::slice::from_raw_parts(input.data.byte_add(at).cast::<f32>(), columns) };
                    for (sum, number) in self.sums.iter_mut().zip(row) {
                        *sum += f64::from(*number) * f64::from(*number);
                    }
                }
            }
        }
        self.rows += (rows * planes * blocks) as u64;
    }
}

/// Asked first whether a result is of interest, and called again when it is there.
unsafe extern "C" fn collect(result: *mut sys::ggml_tensor, asks: bool, data: *mut c_void) -> bool {
    // SAFETY: llama.cpp gives a tensor of its graph, whose sources live as long; `data` is the collector of `importance`.
    let (result, collector) = unsafe { (&*result, &mut *data.cast::<Collector>()) };
    if result.op != sys::GGML_OP_MUL_MAT {
        return !asks;
    }
    // SAFETY: a product has two sources, and names are terminated.
    let (input, name) = unsafe { (&*result.src[1], CStr::from_ptr((*result.src[0]).name.as_ptr())) };
    let name = name.to_string_lossy();
    let is_plain = input.type_ == sys::GGML_TYPE_F32 && input.nb[0] == size_of::<f32>() && !input.data.is_null();
    let is_measured = name.starts_with("blk.") && name.ends_with(".weight");
    if !asks && is_measured && is_plain {
        // SAFETY: the input was computed before the product, on the CPU.
        unsafe { collector.0.entry(name.into_owned()).or_default().add(input) };
    }
    // While it asks: whether to call again. Else: whether to go on.
    !asks || is_measured
}
