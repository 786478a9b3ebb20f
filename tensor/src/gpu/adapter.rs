//! Lists the GPUs and opens one.

use std::sync::{Mutex, OnceLock};

use super::context::Gpu;
use super::cooperative::Fragments;
use super::info::{GpuFeatures, GpuInfo, GpuLimits};
use super::sync::ready;
use crate::{Error, ErrorKind, Result, bail};

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
pub(crate) fn gpu(op: &'static str, index: usize) -> Result<&'static Gpu> {
    let entry = entry(op, index)?;
    let mut opened = entry.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(gpu) = *opened {
        return Ok(gpu);
    }
    let gpu = open(op, entry, GpuLimits::default())?;
    *opened = Some(gpu);
    Ok(gpu)
}

/// Opens the GPU with this number within `limits`, for the whole program. It must not be open yet.
pub(crate) fn gpu_within(op: &'static str, index: usize, limits: GpuLimits) -> Result<()> {
    let entry = entry(op, index)?;
    let mut opened = entry.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if opened.is_some() {
        bail!(op, Device, "gpu:{index} is open already; set its limits before anything uses it");
    }
    *opened = Some(open(op, entry, limits)?);
    Ok(())
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
        required.max_buffer_size = info.max_tensor_bytes.max(super::staging::CHUNK);
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
    let (device, queue) = ready(entry.adapter.request_device(&descriptor))
        .map_err(|e| Error::of(ErrorKind::Device, op, format!("{name} cannot be opened: {e}")))?;
    let listed = entry.adapter.cooperative_matrix_properties();
    let listed = if has
        .contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP)
    {
        listed
    } else {
        Vec::new()
    };
    let fragments = Fragments::of(&listed, &entry.adapter.get_info(), &device.limits());
    // A device lives as long as the program, because tensors of any thread refer to it.
    let adapter = entry.adapter.get_info();
    Ok(Box::leak(Box::new(Gpu::new(name, info, adapter, fragments, device, queue))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{copy, transfer, unary};
    use crate::{DType, Tensor};
    use gradus_base::op::unary::UnaryOp;

    /// A separate device for a test, which must not destroy the shared one.
    fn own() -> Option<&'static Gpu> {
        let entry = entries().first()?;
        Some(open("test", entry, GpuLimits::default()).expect("a GPU that is listed can be opened"))
    }

    #[test]
    fn a_lost_device_is_an_error_that_names_it() {
        let Some(gpu) = own() else { return };
        let x = Tensor::ones(&[100], DType::F32).unwrap();
        let x = transfer::upload("test", &x, gpu).unwrap();
        let doubled = |x: &Tensor| unary::forward(x, UnaryOp::Neg);
        let y = transfer::download("test", &doubled(&x).unwrap()).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [-1.0; 100]);
        gpu.device.destroy();
        for _ in 0..2 {
            // The device may still accept recorded work; reading cannot succeed.
            let lost = doubled(&x).and_then(|y| transfer::download("relu", &y)).unwrap_err();
            assert!(lost.to_string().contains(&gpu.name), "{lost}");
            assert_eq!(lost.kind(), ErrorKind::DeviceLost);
        }
        let again = transfer::upload("to_device", &Tensor::ones(&[7], DType::F32).unwrap(), gpu);
        let again = again.and_then(|x| transfer::download("to_device", &x)).unwrap_err();
        assert!(again.to_string().contains(&gpu.name), "{again}");
    }

    /// f16 is refused when the tensor is made, or when a kernel needs it; f32 still works.
    #[test]
    fn without_16_bit_floats_f16_is_refused_by_name() {
        let Some(entry) = entries().first() else { return };
        let limits = GpuLimits { without_f16: true, ..GpuLimits::default() };
        let gpu = open("test", entry, limits).expect("a GPU that is listed can be opened");
        assert!(!gpu.info.features.f16);
        let x = Tensor::ones(&[100], DType::F32).unwrap();
        let half = x.to_dtype(DType::F16).unwrap();
        let x = transfer::upload("test", &x, gpu).unwrap();
        for refused in [
            transfer::upload("to_device", &half, gpu)
                .and_then(|x| unary::forward(&x, UnaryOp::Neg)),
            copy::convert("to_dtype", &x, DType::F16),
        ] {
            let refused = refused.err().map(|e| e.to_string()).unwrap_or_default();
            for part in [&gpu.name, "no 16-bit floats", "to_dtype"] {
                assert!(refused.contains(part), "{refused}");
            }
        }
        let y = unary::forward(&x, UnaryOp::Neg).unwrap();
        let y = transfer::download("test", &y).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [-1.0; 100]);
    }

    #[test]
    fn what_is_more_than_a_binding_says_how_much_was_asked_for() {
        let Some(gpu) = own() else { return };
        let error = gpu.scratch("matmul", gpu.info.max_tensor_bytes + 4).map(|_| ()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("[matmul]") && error.contains("MiB"), "{error}");
    }
}
