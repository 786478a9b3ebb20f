//! Lists the GPUs and opens one.

use std::sync::{Mutex, OnceLock};

use gradus_base::{Error, ErrorKind, Result, bail};

use super::context::Gpu;
use super::cooperative::Fragments;
use super::driver::Driver;
use super::info::{GpuFeatures, GpuInfo, GpuLimits};
use super::staging::CHUNK;
use super::sync::{lock, ready};

struct Entry {
    adapter: wgpu::Adapter,
    info: GpuInfo,
    opened: Mutex<Option<&'static Gpu>>,
}

/// All adapters, hardware first. Their numbers do not change while the program runs.
fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
        descriptor.flags = wgpu::InstanceFlags::empty();
        let descriptor = descriptor.with_env();
        let backends = descriptor.backends;
        let instance = wgpu::Instance::new(descriptor);
        let mut adapters = ready(instance.enumerate_adapters(backends));
        adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        });
        let entry = |(index, adapter): (usize, wgpu::Adapter)| Entry {
            info: describe(index, &adapter),
            adapter,
            opened: Mutex::new(None),
        };
        adapters.into_iter().enumerate().map(entry).collect()
    })
}

fn describe(index: usize, adapter: &wgpu::Adapter) -> GpuInfo {
    let (info, has, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    let matrices = adapter.cooperative_matrix_properties();
    GpuInfo {
        index,
        name: info.name,
        backend: format!("{:?}", info.backend),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        software: info.device_type == wgpu::DeviceType::Cpu,
        max_tensor_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        features: GpuFeatures {
            f16: has.contains(wgpu::Features::SHADER_F16),
            subgroups: has.contains(wgpu::Features::SUBGROUP),
            timestamps: has.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
            pipeline_cache: has.contains(wgpu::Features::PIPELINE_CACHE),
            cooperative_matrix: matrices
                .iter()
                .map(|m| {
                    let (a, c) = (m.ab_type, m.cr_type);
                    format!("{}×{}×{} {a:?} {c:?}", m.m_size, m.n_size, m.k_size)
                })
                .collect(),
        },
    }
}

/// The GPUs of this machine: hardware first, software last.
pub fn gpus() -> Vec<GpuInfo> {
    entries().iter().map(|entry| entry.info.clone()).collect()
}

fn entry(op: &'static str, index: usize) -> Result<&'static Entry> {
    let all = entries();
    if let Some(entry) = all.get(index) {
        return Ok(entry);
    }
    let backends = "Vulkan, Metal and DX12";
    let what = match all.len() {
        0 => format!("no GPU was found ({backends} were asked for); use the CPU"),
        n => format!("there is no gpu:{index}; this machine has gpu:0 to gpu:{}", n - 1),
    };
    bail!(op, Device, "{what}")
}

/// Opens the GPU with this number, or returns it if it is open already.
///
/// # Errors
/// Of `op`, if there is no such GPU, or it cannot be opened.
pub fn gpu(op: &'static str, index: usize) -> Result<&'static Gpu> {
    let entry = entry(op, index)?;
    let mut opened = lock(&entry.opened);
    if let Some(gpu) = *opened {
        return Ok(gpu);
    }
    let gpu = open(op, entry, GpuLimits::default())?;
    *opened = Some(gpu);
    Ok(gpu)
}

/// Opens the GPU with this number within `limits`, for the whole program. It must not be open yet.
///
/// # Errors
/// Of `op`: those of [`gpu`], and if the GPU is open already.
pub fn gpu_within(op: &'static str, index: usize, limits: GpuLimits) -> Result<()> {
    let entry = entry(op, index)?;
    let mut opened = lock(&entry.opened);
    if opened.is_some() {
        bail!(op, Device, "gpu:{index} is open already; set its limits before anything uses it");
    }
    *opened = Some(open(op, entry, limits)?);
    Ok(())
}

/// The device to ask for, and its properties within `limits`.
fn request(
    entry: &Entry,
    has: wgpu::Features,
    limits: GpuLimits,
) -> (wgpu::DeviceDescriptor<'static>, GpuInfo) {
    let wanted = wgpu::Features::IMMEDIATES
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP
        | wgpu::Features::SUBGROUP_BARRIER
        | wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS
        | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES
        | wgpu::Features::PIPELINE_CACHE
        | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let (mut info, mut required) = (entry.info.clone(), entry.adapter.limits());
    info.features.f16 = has.contains(wgpu::Features::SHADER_F16);
    if let Some(bytes) = limits.max_tensor_bytes {
        info.max_tensor_bytes = info.max_tensor_bytes.min(bytes);
        required.max_storage_buffer_binding_size = info.max_tensor_bytes;
        // Chunks for uploads need at least their own size.
        required.max_buffer_size = info.max_tensor_bytes.max(CHUNK);
    }
    let groups = &mut required.max_compute_workgroups_per_dimension;
    *groups = (*groups).min(limits.max_workgroups_per_dimension.unwrap_or(u32::MAX));
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("gradus"),
        required_features: has & wanted,
        required_limits: required,
        // SAFETY: the only experimental feature in use is cooperative matrices, only in our own
        // shaders, and only after a product on this device agreed with the plain tiles' product.
        experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    };
    (descriptor, info)
}

fn open(op: &'static str, entry: &Entry, limits: GpuLimits) -> Result<&'static Gpu> {
    let name = format!("gpu:{} ({})", entry.info.index, entry.info.name);
    let mut has = entry.adapter.features();
    if limits.without_f16 {
        has.remove(wgpu::Features::SHADER_F16);
    }
    if !has.contains(wgpu::Features::IMMEDIATES) {
        bail!(op, Device, "{name} has no immediates (push constants), which every kernel needs");
    }
    let (descriptor, info) = request(entry, has, limits);
    let (device, queue) = ready(entry.adapter.request_device(&descriptor))
        .map_err(|e| Error::of(ErrorKind::Device, op, format!("{name} cannot be opened: {e}")))?;
    let needed = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP;
    let listed = match has.contains(needed) {
        true => entry.adapter.cooperative_matrix_properties(),
        false => Vec::new(),
    };
    let adapter = entry.adapter.get_info();
    let fragments = Fragments::of(&listed, &adapter, &device.limits());
    Ok(Gpu::new(Driver::new(name, info, device, queue), &adapter, fragments))
}

#[cfg(test)]
mod tests {
    use gradus_base::DType;
    use gradus_base::op::unary::UnaryOp;

    use super::*;
    use crate::{Array, copy, transfer, unary};

    /// A separate device for a test, which must not destroy the shared one.
    fn own() -> Option<&'static Gpu> {
        let entry = entries().first()?;
        Some(open("test", entry, GpuLimits::default()).expect("a GPU that is listed can be opened"))
    }

    fn ones(op: &'static str, gpu: &'static Gpu) -> Result<Array> {
        transfer::upload(op, gpu, &[1f32; 100], &[100])
    }

    fn read(op: &'static str, x: &Array) -> Result<Vec<f32>> {
        let mut values = vec![0.0; x.numel()];
        transfer::start_reading(op, x.view())?.wait_into(&mut values)?;
        Ok(values)
    }

    #[test]
    fn a_lost_device_is_an_error_that_names_it() {
        let Some(gpu) = own() else { return };
        let x = ones("test", gpu).unwrap();
        let negated = |x: &Array| unary::forward(x.view(), UnaryOp::Neg);
        assert_eq!(read("test", &negated(&x).unwrap()).unwrap(), [-1.0; 100]);
        gpu.driver.device.destroy();
        for _ in 0..2 {
            // The device may still accept recorded work; reading cannot succeed.
            let lost = negated(&x).and_then(|y| read("relu", &y)).unwrap_err();
            assert!(lost.to_string().contains(&gpu.driver.name), "{lost}");
            assert_eq!(lost.kind(), ErrorKind::DeviceLost);
        }
        let again = ones("to_device", gpu).and_then(|x| read("to_device", &x)).unwrap_err();
        assert!(again.to_string().contains(&gpu.driver.name), "{again}");
    }

    /// f16 is refused when the tensor is made, or when a kernel needs it; f32 still works.
    #[test]
    fn without_16_bit_floats_f16_is_refused_by_name() {
        let Some(entry) = entries().first() else { return };
        let limits = GpuLimits { without_f16: true, ..GpuLimits::default() };
        let gpu = open("test", entry, limits).expect("a GPU that is listed can be opened");
        assert!(!gpu.info().features.f16);
        let x = ones("test", gpu).unwrap();
        let half = [gradus_base::half::f16::ONE; 100];
        for refused in [
            transfer::upload("to_device", gpu, &half, &[100])
                .and_then(|x| unary::forward(x.view(), UnaryOp::Neg)),
            copy::convert("to_dtype", x.view(), DType::F16),
        ] {
            let refused = refused.err().map(|e| e.to_string()).unwrap_or_default();
            for part in [&gpu.driver.name, "no 16-bit floats", "to_dtype"] {
                assert!(refused.contains(part), "{refused}");
            }
        }
        let y = unary::forward(x.view(), UnaryOp::Neg).unwrap();
        assert_eq!(read("test", &y).unwrap(), [-1.0; 100]);
    }

    #[test]
    fn what_is_more_than_a_binding_says_how_much_was_asked_for() {
        let Some(gpu) = own() else { return };
        let bytes = gpu.info().max_tensor_bytes + 4;
        let error = gpu.allocate("matmul", bytes, false).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("[matmul]") && error.contains("MiB"), "{error}");
    }
}
