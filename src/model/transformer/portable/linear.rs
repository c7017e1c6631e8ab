//! A frozen projection with its low-rank addition, as the fused path's `linear.rs` defines them.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor, Var};
use rayon::prelude::*;

use super::super::super::lora::{LowRank, Module};
use super::super::Batch;
use super::super::linear::Dropout;
use super::frozen::{plus, product, through, times};
use super::{OnDevice, Pass};

/// Whether parameters get gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Graph {
    /// They do: what is computed with them is kept for the backward pass.
    Kept,
    /// They do not.
    None,
}

/// A projection as one computation has it, its weight dequantised.
pub(super) struct Linear {
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
    pub(super) low: Option<Low>,
}

/// The low-rank addition.
pub(super) struct Low {
    /// `rank × inputs`.
    a: Tensor,
    /// `outputs × rank`.
    b: Tensor,
    scale: f64,
    /// What each number of the input is multiplied with, where some are dropped.
    kept: Option<Tensor>,
    magnitude: Option<Magnitude>,
    /// The places of `a`, `b` and the magnitudes among the adapter's parameters.
    places: Vec<Range<usize>>,
}

/// DoRA's lengths of rows.
struct Magnitude {
    trained: Tensor,
    /// One over the lengths of the rows of weight and addition together; 0 for a row of zeros.
    over: Tensor,
    /// 1 for a row of zeros, which stays one, and 0 for all others.
    rest: Tensor,
}

/// What projections read.
pub(super) struct Input {
    /// `tokens × inputs`, in 32 bits.
    x: Tensor,
    /// The same as products take it: once for all projections that read it.
    short: Tensor,
}

impl Input {
    pub(super) fn new(x: Tensor, numbers: DType) -> Result<Self> {
        Ok(Self { short: x.to_dtype(numbers)?, x })
    }
}

impl Linear {
    /// Returns the projection of `x`, `tokens × outputs` in 32 bits.
    pub(super) fn apply(&self, x: &Input) -> Result<Tensor> {
        let out = through(&x.short, &self.weight)?;
        let out = match &self.low {
            None => out.to_dtype(DType::F32)?,
            Some(low) => low.added(x, out, &self.weight)?,
        };
        match &self.bias {
            None => Ok(out),
            Some(bias) => plus(&out, bias),
        }
    }

    /// Returns what is trained, with its places.
    pub(super) fn trained(&self) -> impl Iterator<Item = (&Tensor, &Range<usize>)> {
        self.low.iter().flat_map(|low| {
            let magnitude = low.magnitude.iter().map(|magnitude| &magnitude.trained);
            [&low.a, &low.b].into_iter().chain(magnitude).zip(&low.places)
        })
    }
}

impl Low {
    /// Takes a module's addition from the parameters on the device. DoRA needs the frozen weight in 32 bits.
    pub(super) fn new(
        pass: &Pass<'_>,
        (given, module): (&OnDevice<'_>, &Module),
        weight: Option<&Tensor>,
        graph: Graph,
    ) -> Result<Self> {
        let numbers = |place: Range<usize>, shape: &[usize]| -> Result<Tensor> {
            let tensor = given.parameters.narrow(0, place.start, place.len())?.reshape(shape)?;
            if graph == Graph::Kept { Ok(Var::from_tensor(&tensor)?.into_inner()) } else { Ok(tensor) }
        };
        let rank = module.rank();
        let a = numbers(module.a(), &[rank, module.inputs])?;
        let b = numbers(module.b(), &[module.outputs, rank])?;
        let magnitude = match module.magnitude().zip(weight) {
            None => None,
            Some((place, weight)) => {
                let whole = (weight + addition(&given.adapter.low_rank(module), module, &pass.device)?)?;
                Some(Magnitude::new(numbers(place, &[module.outputs])?, &whole)?)
            }
        };
        let kept = pass.dropout.map(|dropout| kept(dropout, pass.batch, module, &pass.device)).transpose()?;
        let places = [module.a(), module.b()].into_iter().chain(module.magnitude()).collect();
        Ok(Self { a, b, scale: f64::from(module.scale()), kept, magnitude, places })
    }

    /// Returns `out`, the frozen projection of `x`, with the addition, in 32 bits.
    fn added(&self, x: &Input, out: Tensor, weight: &Tensor) -> Result<Tensor> {
        let numbers = weight.dtype();
        let dropped = self.kept.as_ref().map(|kept| times(&x.x, kept)?.to_dtype(numbers)).transpose()?;
        let small = product(dropped.as_ref().unwrap_or(&x.short), &self.a.t()?, numbers)?.affine(self.scale, 0.0)?;
        let wide = small.to_dtype(numbers)?.matmul(&self.b.to_dtype(numbers)?.t()?)?;
        let Some(magnitude) = &self.magnitude else { return (out + wide)?.to_dtype(DType::F32) };
        let factor = plus(&times(&magnitude.trained, &magnitude.over)?, &magnitude.rest)?;
        let [out, wide] = [out, wide].map(|numbers| numbers.to_dtype(DType::F32));
        match dropped {
            None => (out? + wide?)?.broadcast_mul(&factor),
            Some(dropped) => {
                let plain = through(&dropped, weight)?.to_dtype(DType::F32)?;
                (out? - &plain)? + (plain + wide?)?.broadcast_mul(&factor)?
            }
        }
    }
}

impl Magnitude {
    fn new(trained: Tensor, whole: &Tensor) -> Result<Self> {
        let lengths = whole.sqr()?.sum(1)?.sqrt()?;
        let is_long = lengths.gt(0.0)?.to_dtype(DType::F32)?;
        let rest = is_long.affine(-1.0, 1.0)?;
        let over = (is_long / (lengths + &rest)?)?;
        Ok(Self { trained, over, rest })
    }
}

/// Returns `scale · B A` as a matrix of `outputs × inputs`.
pub(super) fn addition(pair: &LowRank<'_>, module: &Module, device: &Device) -> Result<Tensor> {
    let a = Tensor::from_slice(pair.a, (pair.rank, module.inputs), device)?;
    let b = Tensor::from_slice(pair.b, (module.outputs, pair.rank), device)?;
    b.matmul(&a)?.affine(f64::from(pair.scale), 0.0)
}

/// Returns what the numbers of a module's input are multiplied with. They are drawn on the host, by the rule of the fused
/// path.
fn kept(dropout: Dropout, batch: &Batch, module: &Module, device: &Device) -> Result<Tensor> {
    let mut factors = vec![0.0_f32; batch.tokens() * module.inputs];
    factors.par_chunks_mut(module.inputs).enumerate().for_each(|(token, factors)| {
        let drawn = dropout.token(module.a().start as u64, batch.identity(token));
        for (feature, factor) in factors.iter_mut().enumerate() {
            *factor = dropout.factor(drawn, feature);
        }
    });
    Tensor::from_vec(factors, (batch.tokens(), module.inputs), device)
}
