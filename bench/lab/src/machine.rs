//! What the measurements were made on.

use gradus_tensor::{Device, GpuInfo};
use serde::Serialize;

/// A processor or a GPU.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// `cpu` or `gpu:N`.
    pub device: String,
    /// Its name, as the system tells it.
    pub name: String,
    /// The instruction sets that kernels may use, or the driver.
    pub has: String,
    /// Threads that compute; 0 on a GPU.
    pub threads: usize,
    /// A GPU that is emulated on the processor.
    pub software: bool,
}

impl Machine {
    pub fn of(device: Device) -> Machine {
        let device_name = device.to_string();
        if let Some(gpu) = gpu(device) {
            let has = format!("{}, {}", gpu.backend, gpu.driver);
            let (name, software) = (gpu.name, gpu.software);
            return Machine { device: device_name, name, has, threads: 0, software };
        }
        Machine {
            device: device_name,
            name: processor(),
            has: instruction_sets().join(", "),
            threads: rayon::current_num_threads(),
            software: false,
        }
    }
}

/// The GPU that a device is.
pub fn gpu(device: Device) -> Option<GpuInfo> {
    match device {
        Device::Gpu(index) => gradus_tensor::gpus().into_iter().nth(index),
        _ => None,
    }
}

/// Whether a device is a GPU in software.
pub fn is_software(device: Device) -> bool {
    gpu(device).is_some_and(|gpu| gpu.software)
}

fn processor() -> String {
    let what = sysinfo::RefreshKind::nothing().with_cpu(sysinfo::CpuRefreshKind::nothing());
    let brand = sysinfo::System::new_with_specifics(what)
        .ok()
        .and_then(|system| system.cpus().first().map(|cpu| cpu.brand().trim().to_string()));
    brand.filter(|brand| !brand.is_empty()).unwrap_or_else(|| "a processor without a name".into())
}

/// Those of the processor that matter to products, the widest last.
#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<&'static str> {
    let all = [
        ("SSE2", true),
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("AVX-512F", is_x86_feature_detected!("avx512f")),
        ("AVX512-VNNI", is_x86_feature_detected!("avx512vnni")),
        ("AVX512-BF16", is_x86_feature_detected!("avx512bf16")),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<&'static str> {
    let dot = std::arch::is_aarch64_feature_detected!("dotprod");
    ["NEON"].into_iter().chain(dot.then_some("dot products")).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}
