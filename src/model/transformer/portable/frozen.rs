//! Products and sums with constants, without a gradient for the constant.
//!
//! Candle computes the gradient of both sides of a product, even of one that is never trained: for a frozen weight that
//! is as much work again, and memory of its size. What is here is computed by candle's own products and sums.

use candle_core::backend::BackendStorage;
use candle_core::op::{Add, Mul};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, DType, Error, Layout, Result, Shape, Storage, StorageRef, Tensor,
};

/// What is done with the constant.
#[derive(Clone, Copy, Debug)]
enum Map {
    /// Each number is multiplied with the constant's.
    Times,
    /// The constant's number is added to each.
    Plus,
    /// Each row is multiplied with the matrix: `x Wᵀ`.
    Through,
}

/// A function of one tensor.
struct Frozen {
    map: Map,
    constant: Tensor,
}

/// Returns `x · factors`, these broadcast to the shape of `x`.
pub(super) fn times(x: &Tensor, factors: &Tensor) -> Result<Tensor> {
    x.apply_op1(Frozen { map: Map::Times, constant: factors.detach() })
}

/// Returns `x + terms`, these broadcast to the shape of `x`.
pub(super) fn plus(x: &Tensor, terms: &Tensor) -> Result<Tensor> {
    x.apply_op1(Frozen { map: Map::Plus, constant: terms.detach() })
}

/// Returns `x Wᵀ`; `x` is `tokens × inputs`, `weight` `outputs × inputs`, all of one type.
pub(super) fn through(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Frozen { map: Map::Through, constant: weight.detach() })
}

/// Returns the product of two matrices, or of batches of them, in 32 bits, multiplied in `numbers`.
pub(super) fn product(a: &Tensor, b: &Tensor, numbers: DType) -> Result<Tensor> {
    a.to_dtype(numbers)?.matmul(&b.to_dtype(numbers)?)?.to_dtype(DType::F32)
}

impl Frozen {
    fn apply<S: BackendStorage>(&self, x: &S, layout: &Layout, constant: &S) -> Result<(S, Shape)> {
        let shape = layout.shape();
        let own = self.constant.layout();
        match self.map {
            Map::Times => Ok((x.binary_impl::<Mul>(constant, layout, &own.broadcast_as(shape)?)?, shape.clone())),
            Map::Plus => Ok((x.binary_impl::<Add>(constant, layout, &own.broadcast_as(shape)?)?, shape.clone())),
            Map::Through => {
                let ((tokens, inputs), outputs) = (shape.dims2()?, self.constant.dim(0)?);
                let sizes = (1, tokens, outputs, inputs);
                Ok((x.matmul(constant, sizes, layout, &own.transpose(0, 1)?)?, (tokens, outputs).into()))
            }
        }
    }

    fn constant(&self) -> StorageRef<'_> {
        self.constant.storage_and_layout().0
    }
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        match self.map {
            Map::Times => "times a constant",
            Map::Plus => "plus a constant",
            Map::Through => "through a frozen weight",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match &*self.constant() {
            Storage::Cpu(constant) => self.apply(x, layout, constant),
            _ => Err(elsewhere()),
        }
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match &*self.constant() {
            Storage::Cuda(constant) => self.apply(x, layout, constant),
            _ => Err(elsewhere()),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, back: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(match self.map {
            Map::Times => back.broadcast_mul(&self.constant)?,
            Map::Plus => back.clone(),
            Map::Through => back.contiguous()?.matmul(&self.constant)?,
        }))
    }
}

fn elsewhere() -> Error {
    Error::Msg("a constant lies on another device".into())
}
