//! The memory of arrays on a GPU.
//!
//! | dtype | in the buffer |
//! | --- | --- |
//! | f32, u32 | unchanged |
//! | f16 | unchanged, where the adapter has `SHADER_F16` |
//! | u8 | a 32-bit word for each element: WGSL has no bytes, and masks are small |
//! | f64, bf16 | not supported |

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use gradus_base::{DType, Result, bail};
use gradus_shaders::Scalar;

use super::context::Gpu;
use super::memory::Buffer;

/// The type of a dtype's elements in a buffer, or an error that says why there is none.
pub(super) fn scalar(op: &'static str, dtype: DType) -> Result<Scalar> {
    Ok(match dtype {
        DType::F32 => Scalar::F32,
        DType::F16 => Scalar::F16,
        DType::U32 => Scalar::U32,
        DType::U8 => Scalar::U8,
        DType::F64 => {
            bail!(op, DType, "GPUs do not compute in f64; convert to f32 with to_dtype first")
        }
        DType::BF16 => {
            bail!(op, DType, "bf16 stays on the CPU; convert to f32 or f16 with to_dtype first")
        }
    })
}

/// Like [`scalar`], for kernels that compute on floats.
pub(super) fn float(op: &'static str, dtype: DType) -> Result<Scalar> {
    match dtype {
        DType::F32 | DType::F16 => scalar(op, dtype),
        other => {
            bail!(op, DType, "computes on f32 and f16 on a GPU, got {other}; convert with to_dtype")
        }
    }
}

/// Bytes of an element in a buffer.
pub(super) fn stored_size(dtype: DType) -> u64 {
    if dtype == DType::F16 { 2 } else { 4 }
}

/// Memory of a GPU, and what is kept until its values change.
pub struct GpuStorage {
    buffer: Buffer,
    gpu: &'static Gpu,
    /// The bytes that were asked for; the buffer may be larger.
    pub(super) bytes: u64,
    /// The values on the CPU, of ids, targets and offsets.
    pub(super) original: Option<Vec<u32>>,
    /// The values in another dtype.
    pub(super) cast: OnceLock<Kept>,
    /// The values joined with those of other storages.
    pub(super) joined: Mutex<Option<Joined>>,
    /// A new number for new values.
    pub(super) version: u64,
}

// The compiler could prove this itself. But it would do so again in every crate that sends a tensor
// to a thread, through all the types of a GPU's driver, and those are nested deeper than its limit.
//
// SAFETY: every part of a storage can be sent and shared, as the constant below checks.
unsafe impl Send for GpuStorage {}
// SAFETY: as above.
unsafe impl Sync for GpuStorage {}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Buffer>();
    shared::<&'static Gpu>();
    shared::<Option<Vec<u32>>>();
    shared::<OnceLock<Kept>>();
    shared::<Mutex<Option<Joined>>>();
};

/// A whole storage of `numel` elements.
pub(super) struct Kept {
    pub(super) storage: Arc<GpuStorage>,
    pub(super) dtype: DType,
    pub(super) numel: usize,
}

/// The values of several storages end to end.
pub(super) struct Joined {
    /// Version and number of elements of each.
    pub(super) parts: Vec<(u64, usize)>,
    pub(super) values: Kept,
}

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl GpuStorage {
    /// Memory of `bytes` with arbitrary content: for kernels to write, or for an upload.
    pub(super) fn new(
        op: &'static str,
        gpu: &'static Gpu,
        bytes: u64,
        upload: bool,
    ) -> Result<GpuStorage> {
        Ok(GpuStorage {
            buffer: gpu.allocate(op, bytes, upload)?,
            gpu,
            bytes,
            original: None,
            cast: OnceLock::new(),
            joined: Mutex::new(None),
            version: next_version(),
        })
    }

    /// The GPU whose memory it is.
    pub fn gpu(&self) -> &'static Gpu {
        self.gpu
    }

    pub(super) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Drops what was kept: the values are about to change.
    pub(super) fn forget(&mut self) {
        self.original = None;
        self.cast = OnceLock::new();
        self.joined = Mutex::new(None);
        self.version = next_version();
    }
}
