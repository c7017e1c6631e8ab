//! The numeric kernels of training on a CPU.
//!
//! Activations lie in [`Panels`]: sixteen tokens side by side, feature after feature. A matrix product then broadcasts
//! the weight and multiplies sixteen tokens at once. Frozen weights lie in bands of [`BAND`] rows, an order that serves
//! both directions, and are never packed. Each output number is the sum of chains of fused multiply-adds over
//! [`DEPTH_BLOCK`] features each, in their order, on every instruction set, whatever the number of threads: that is why
//! results agree bit for bit.

mod lanes;
mod math;
mod numbers;
mod operand;
mod outer;
mod pages;
mod panels;
mod product;
mod turn;
mod workspace;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use lanes::{greatest, scale_and_subtract};
pub(super) use math::{exp, sigmoid};
pub(super) use numbers::Numbers;
#[cfg(test)]
pub(super) use operand::to_bands;
pub(super) use operand::{BAND, Operand, add_to_row_of_bands, bands_len, row_of_bands, write_band};
pub(super) use outer::{Features, Layout, add_outer, add_outer_bands};
pub(super) use pages::Pages;
pub(super) use panels::{LANES, Panels};
pub(super) use product::{DEPTH_BLOCK, Mode, Term, multiply, multiply_all};
pub(super) use turn::turn;
pub(super) use workspace::Workspace;

pub(super) use super::vectors::widest;
