//! Counts of a GPU's work and memory, for tests and benchmarks.

/// Counts since the device was opened, and bytes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuCounters {
    /// Kernels launched.
    pub dispatches: u64,
    /// Command buffers given to the GPU.
    pub submits: u64,
    /// Compute passes opened.
    pub passes: u64,
    /// Bind groups created.
    pub bind_groups: u64,
    /// Buffers created.
    pub buffers: u64,
    /// Pipelines compiled.
    pub pipelines: u64,
    /// Uploads.
    pub uploads: u64,
    /// Reads; each waits for the GPU.
    pub reads: u64,
    /// Bytes in use by tensors.
    pub live_bytes: u64,
    /// Bytes in use or waiting in the pool.
    pub held_bytes: u64,
    /// The peak of `live_bytes`.
    pub peak_live_bytes: u64,
    /// The peak of `held_bytes`.
    pub peak_held_bytes: u64,
    /// CPU time spent recording and submitting, in nanoseconds (compiling is not counted).
    pub encode_ns: u64,
}
