//! Compiled kernels by their keys, and bind groups by their buffers.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use gradus_base::{Result, bail};
use gradus_shaders::Shader;
use rustc_hash::FxHashMap;

use super::cache::PipelineCache;
use super::driver::{Driver, MAX_BINDINGS};
use super::memory::Block;
use super::sync::ready;

/// The most bind groups that are kept.
const MAX_BIND_GROUPS: usize = 1 << 15;
/// The most bytes of immediates of one kernel, which every backend supports.
pub(super) const IMMEDIATES: u32 = 128;

/// Names one variant of one kernel: the family's function, and a number for the variant (dtype,
/// options).
pub(super) type Key = (&'static str, u64);

/// Number of input buffers and output buffers.
pub(super) type Signature = (u32, u32);

/// A compiled kernel.
pub(super) struct Kernel {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) signature: Signature,
    pub(super) label: String,
}

struct Layouts {
    group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

/// The buffers of a bind group, by number.
#[derive(Clone, Copy)]
pub(super) struct GroupKey {
    signature: Signature,
    buffers: [u32; MAX_BINDINGS],
}

impl GroupKey {
    pub(super) fn new(signature: Signature, bound: &[&Block]) -> GroupKey {
        let mut buffers = [0; MAX_BINDINGS];
        for (slot, block) in buffers.iter_mut().zip(bound) {
            *slot = block.id;
        }
        GroupKey { signature, buffers }
    }

    fn buffers(&self) -> &[u32] {
        &self.buffers[..(self.signature.0 + self.signature.1) as usize]
    }
}

impl PartialEq for GroupKey {
    fn eq(&self, other: &Self) -> bool {
        self.signature == other.signature && self.buffers() == other.buffers()
    }
}

impl Eq for GroupKey {}

impl Hash for GroupKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.signature.hash(state);
        self.buffers().hash(state);
    }
}

/// What launches need and the device makes once.
pub(super) struct Pipelines {
    driver: &'static Driver,
    cache: PipelineCache,
    kernels: FxHashMap<Key, Arc<Kernel>>,
    layouts: FxHashMap<Signature, Layouts>,
    groups: FxHashMap<GroupKey, wgpu::BindGroup>,
    /// Kernels compiled so far, and bind groups made.
    pub(super) compiled: u64,
    pub(super) grouped: u64,
}

impl Pipelines {
    pub(super) fn new(driver: &'static Driver, adapter: &wgpu::AdapterInfo) -> Pipelines {
        Pipelines {
            driver,
            cache: PipelineCache::open(&driver.device, adapter),
            kernels: FxHashMap::default(),
            layouts: FxHashMap::default(),
            groups: FxHashMap::default(),
            compiled: 0,
            grouped: 0,
        }
    }

    /// The kernel of this key; `shader` gives the text at its first use.
    pub(super) fn kernel(
        &mut self,
        op: &'static str,
        key: Key,
        shader: impl FnOnce() -> Shader,
    ) -> Result<Arc<Kernel>> {
        if let Some(kernel) = self.kernels.get(&key) {
            return Ok(kernel.clone());
        }
        let kernel = Arc::new(self.compile(op, shader())?);
        self.kernels.insert(key, kernel.clone());
        Ok(kernel)
    }

    /// The bind group of these buffers.
    pub(super) fn group(&mut self, key: &GroupKey, bound: &[&Block]) -> &wgpu::BindGroup {
        if self.groups.len() >= MAX_BIND_GROUPS {
            self.groups.clear();
        }
        self.groups.entry(*key).or_insert_with(|| {
            self.grouped += 1;
            bind_group(&self.driver.device, &self.layouts[&key.signature].group, bound)
        })
    }

    /// Drops the bind groups of these buffers.
    pub(super) fn forget(&mut self, blocks: &[Block]) {
        let ids: std::collections::HashSet<u32> = blocks.iter().map(|block| block.id).collect();
        self.groups.retain(|key, _| !key.buffers().iter().any(|id| ids.contains(id)));
    }

    /// Writes the compiled kernels to disk, if there are new ones.
    pub(super) fn save_if_due(&self) {
        self.cache.save_if_due(self.compiled);
    }

    fn compile(&mut self, op: &'static str, shader: Shader) -> Result<Kernel> {
        let (driver, device) = (self.driver, &self.driver.device);
        if shader.needs.f16 && !driver.info.features.f16 {
            bail!(op, DType, "{} has no 16-bit floats; convert with to_dtype", driver.name);
        }
        let signature = (shader.inputs, shader.outputs);
        let layouts = self.layouts.entry(signature).or_insert_with(|| layouts(device, signature));
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = module(device, &shader);
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&shader.label),
            layout: Some(&layouts.pipeline),
            module: &module,
            entry_point: Some(shader.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: self.cache.get(),
        });
        if let Some(error) = ready(scope.pop()) {
            bail!(
                op,
                Device,
                "the kernel {} does not compile on {}: {error}",
                shader.label,
                driver.name
            );
        }
        self.compiled += 1;
        Ok(Kernel { pipeline, signature, label: shader.label })
    }
}

fn module(device: &wgpu::Device, shader: &Shader) -> wgpu::ShaderModule {
    let text = wgpu::ShaderModuleDescriptor {
        label: Some(&shader.label),
        source: wgpu::ShaderSource::Wgsl(shader.source.as_str().into()),
    };
    if shader.needs.checks {
        return device.create_shader_module(text);
    }
    let checks = wgpu::ShaderRuntimeChecks::unchecked();
    // SAFETY: every kernel of the engine keeps its indices within its buffers, which the launchers
    // size and the tests against the CPU cover; its loops end, and its divisors are not 0.
    unsafe { device.create_shader_module_trusted(text, checks) }
}

fn layouts(device: &wgpu::Device, (inputs, outputs): Signature) -> Layouts {
    let entry = |binding: u32| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: binding < inputs },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = (0..inputs + outputs).map(entry).collect();
    let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &entries,
    });
    let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&group)],
        immediate_size: IMMEDIATES,
    });
    Layouts { group, pipeline }
}

fn bind_group(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    blocks: &[&Block],
) -> wgpu::BindGroup {
    let entries: Vec<_> = blocks
        .iter()
        .enumerate()
        .map(|(binding, block)| wgpu::BindGroupEntry {
            binding: binding as u32,
            resource: block.raw.as_entire_binding(),
        })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}
