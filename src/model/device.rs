//! Where a training computes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a training computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU with this number, counted from 0.
    Cuda(usize),
}

impl Device {
    /// Returns the device without its number, which shapes nothing.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda(_) => "cuda",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

#[cfg(feature = "train")]
impl Device {
    /// Opens the device.
    ///
    /// # Errors
    /// [`super::ModelError::NoCuda`] for a GPU when the program was built without the feature, and
    /// [`super::ModelError::Device`] when there is none.
    pub(in crate::model) fn open(self) -> super::Result<candle_core::Device> {
        let failed = |cause| super::ModelError::Device { device: self, cause: Box::new(cause) };
        match self {
            Self::Cpu => Ok(candle_core::Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(super::ModelError::NoCuda { device: self }),
            Self::Cuda(index) => candle_core::Device::new_cuda(index).map_err(failed),
        }
    }

    /// Refuses a device that cannot be used.
    ///
    /// # Errors
    /// [`super::ModelError::NoCuda`] and [`super::ModelError::Device`], as opening it.
    pub fn check(self) -> super::Result<()> {
        self.open().map(|_| ())
    }
}
