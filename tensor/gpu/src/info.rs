//! The properties of a GPU, and the limits that a program may set.

/// Optional features of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuFeatures {
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Timestamps within a pass, for profiles.
    pub timestamps: bool,
    /// Whether the program can keep compiled pipelines on disk.
    pub pipeline_cache: bool,
    /// Cooperative matrices: `m×n×k`, type of A and B, type of C. Empty where there are none.
    pub cooperative_matrix: Vec<String>,
}

/// A GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number: `gpu:N`.
    pub index: usize,
    /// Its name, from the driver.
    pub name: String,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub backend: String,
    /// Driver and version.
    pub driver: String,
    /// Whether it is emulated on the processor (lavapipe, WARP) and so is useful only for tests.
    pub software: bool,
    /// The largest tensor, in bytes.
    pub max_tensor_bytes: u64,
    /// Its features.
    pub features: GpuFeatures,
}

/// Limits below those of the GPU, to test the behaviour at a limit and to try on a large GPU
/// whether a small one would do. `None` stands for the adapter's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuLimits {
    /// The largest tensor, in bytes.
    pub max_tensor_bytes: Option<u64>,
    /// Workgroups of a launch along one dimension.
    pub max_workgroups_per_dimension: Option<u32>,
    /// Behave as if the GPU had no 16-bit floats.
    pub without_f16: bool,
}
