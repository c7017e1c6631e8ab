//! A frozen matrix on its device: quantised as its file has it, or plain; dequantised when a block needs it.

use candle_core::quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml};
use candle_core::{DType, Device, Result, Tensor};

use super::super::super::weights::Matrix;

/// A frozen matrix of `rows × columns`.
#[derive(Debug)]
pub(super) enum Weight {
    Plain(Tensor),
    Quantised(QTensor),
}

impl Weight {
    /// Copies a matrix to a device. Floats of 32 bits become `numbers`; what is smaller stays as it is.
    pub(super) fn new(matrix: &Matrix, numbers: DType, device: &Device) -> Result<Self> {
        let shape = (matrix.rows(), matrix.columns());
        let plain =
            |dtype, bytes: &[u8]| Tensor::from_raw_buffer(bytes, dtype, &[shape.0, shape.1], device).map(Self::Plain);
        match matrix.stored() {
            Some((GgmlDType::F16, bytes)) => plain(DType::F16, bytes),
            Some((GgmlDType::BF16, bytes)) => plain(DType::BF16, bytes),
            Some((dtype, bytes)) => {
                Ok(Self::Quantised(qtensor_from_ggml(dtype, bytes, vec![shape.0, shape.1], device)?))
            }
            None => {
                let all: Vec<f32> = (0..shape.0).flat_map(|row| matrix.row(row)).collect();
                // On the host first, so that the device never holds both.
                let tensor = Tensor::from_vec(all, shape, &Device::Cpu)?.to_dtype(numbers)?;
                Ok(Self::Plain(tensor.to_device(device)?))
            }
        }
    }

    /// Returns the numbers as `dtype`.
    pub(super) fn numbers(&self, dtype: DType) -> Result<Tensor> {
        match self {
            Self::Plain(tensor) => tensor.to_dtype(dtype),
            Self::Quantised(tensor) => tensor.dequantize(&tensor.device())?.to_dtype(dtype),
        }
    }
}
