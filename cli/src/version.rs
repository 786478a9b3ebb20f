//! `-V` and `--version`, for reports of bugs.

/// Version and commit: `0.1.0 (1fcdfa2 2026-11-28)`.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("GRADUS_COMMIT"), ")");

/// [`VERSION`], and what the program was built for and with.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("GRADUS_COMMIT"),
    ")\nbuilt for: ",
    env!("GRADUS_TARGET"),
    "\ncomputes on: the CPU, and GPUs through wgpu (Vulkan, Metal, DX12)",
);
