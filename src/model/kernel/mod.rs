//! The numeric kernels of training on a CPU.
//!
//! Activations lie in [`Panels`]: sixteen tokens side by side, feature after feature. A matrix product then broadcasts
//! the weight and multiplies sixteen tokens at once, so that frozen weights are read as they are, in either direction,
//! and never packed. Each output number is one chain of fused multiply-adds in the order of the features, on every
//! instruction set, whatever the number of threads: that is why results agree bit for bit.

mod math;
mod outer;
mod panels;
mod product;

pub(super) use math::{exp, sigmoid};
pub(super) use outer::{Layout, add_outer};
pub(super) use panels::{LANES, Panels};
pub(super) use product::{Mode, Operand, multiply};
