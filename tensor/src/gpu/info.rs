//! What a GPU is and can do, and the limits that a program may set.

/// What a GPU can do beyond the common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuFeatures {
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Timestamps within a pass, for profiles.
    pub timestamps: bool,
    /// Compiled pipelines can be kept on disk by this program.
    pub pipeline_cache: bool,
    /// Cooperative matrices: `m×n×k`, type of A and B, type of C. Empty where there are none.
    pub cooperative_matrix: Vec<String>,
}

/// A GPU that this machine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number: `gpu:N`.
    pub index: usize,
    /// The driver's name of it.
    pub name: String,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub backend: String,
    /// Driver and version.
    pub driver: String,
    /// Whether it is a program on the processor (lavapipe, WARP): good for tests only.
    pub software: bool,
    /// The largest tensor, in bytes.
    pub max_tensor_bytes: u64,
    /// What it can do.
    pub features: GpuFeatures,
}

/// Less of a GPU than it has: for tests of what happens at a limit, and to try on a large GPU what
/// a small one would take. What is `None` is the adapter's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuLimits {
    /// The largest tensor, in bytes.
    pub max_tensor_bytes: Option<u64>,
    /// Workgroups of a launch along one dimension.
    pub max_workgroups_per_dimension: Option<u32>,
    /// As if it had no 16-bit floats.
    pub without_f16: bool,
}
