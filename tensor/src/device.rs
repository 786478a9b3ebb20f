//! Devices.

use std::fmt;

/// Where a tensor's storage lies and its operations run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor: rayon threads, SIMD chosen at run time.
    #[default]
    Cpu,
    /// A GPU by its number in [`gpus`](crate::gpus).
    Gpu(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Gpu(index) => write!(f, "gpu:{index}"),
        }
    }
}
