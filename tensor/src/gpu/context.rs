//! An opened GPU: its recorder of commands, its pipelines and bind groups.
//!
//! Launches are recorded into one compute pass of one command encoder. Both stay open until a read,
//! or until [`MAX_PENDING`] launches are recorded. `wgpu` inserts the barriers between launches.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use gradus_shaders::Shader;
use rustc_hash::FxHashMap;

use super::cache::PipelineCache;
use super::cooperative::{CooperativeState, Fragments};
use super::counters::GpuCounters;
use super::gather::{Gathered, ids};
use super::info::GpuInfo;
use super::memory::{Block, Buffer, Pool};
use super::staging::{Belt, CHUNK};
use super::sync::{lock, ready};
use super::timing::{self, Timing};
use crate::{Error, ErrorKind, Result, bail, profile};

/// The recorder submits by itself after this many launches.
const MAX_PENDING: u32 = 8192;
/// The most bind groups that are kept.
const MAX_BIND_GROUPS: usize = 1 << 15;
/// The most buffers of one kernel; some devices allow fewer.
pub(super) const MAX_BINDINGS: usize = 30;
/// The most bytes of immediates of one kernel, which every backend supports.
pub(crate) const IMMEDIATES: u32 = 128;

/// Names one variant of one kernel: the family's function, and a number for the variant (dtype,
/// options).
pub(crate) type Key = (&'static str, u64);

/// Number of input buffers and output buffers.
type Signature = (u32, u32);

struct Kernel {
    pipeline: wgpu::ComputePipeline,
    signature: Signature,
    label: String,
}

struct Layouts {
    group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

/// The buffers of a bind group, by number.
#[derive(Clone, Copy)]
struct GroupKey {
    signature: Signature,
    buffers: [u32; MAX_BINDINGS],
}

impl GroupKey {
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

/// The recorder of the commands that are not yet submitted.
#[derive(Default)]
pub(super) struct Recorder {
    /// The copies of small uploads, which run before `encoder`.
    uploads: Option<wgpu::CommandEncoder>,
    belt: Belt,
    /// Launches that wait for similar ones.
    pub(super) gathered: Vec<Gathered>,
    encoder: Option<wgpu::CommandEncoder>,
    /// The open pass. Must be dropped before its encoder is finished.
    pass: Option<wgpu::ComputePass<'static>>,
    pending: u32,
    /// In a profile: the times of the kernels.
    timing: Option<Timing>,
    /// In a profile: the call of an operation to which the next kernel belongs.
    pub(super) call: Option<usize>,
    /// Bytes of uploads that wait for the next submit.
    pending_upload: u64,
    kernels: FxHashMap<Key, Arc<Kernel>>,
    layouts: FxHashMap<Signature, Layouts>,
    groups: FxHashMap<GroupKey, wgpu::BindGroup>,
    /// The kernel that the open pass has set, and below it the bind group.
    current_kernel: Option<Key>,
    current_group: Option<GroupKey>,
    pub(super) counters: GpuCounters,
}

/// One launch of a kernel.
pub(crate) struct Launch<'a> {
    /// The operation, for messages.
    pub op: &'static str,
    /// The variant of the kernel.
    pub key: Key,
    /// The buffers it reads, in the order of its bindings.
    pub inputs: &'a [&'a Buffer],
    /// The buffers it writes, bound after the inputs. They must not be among the inputs.
    pub outputs: &'a [&'a Buffer],
    /// The bytes of its immediates: a multiple of 4, at most [`IMMEDIATES`].
    pub immediates: &'a [u8],
    /// Workgroups along x, y, z; see [`Gpu::grid`].
    pub groups: [u32; 3],
}

/// An opened GPU.
pub(crate) struct Gpu {
    pub(crate) name: String,
    pub(crate) info: GpuInfo,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    most_groups: u32,
    pub(super) most_bindings: usize,
    pool: Mutex<Pool>,
    pub(super) recorder: Mutex<Recorder>,
    /// The number of the batch of commands in the recorder.
    batch: AtomicU64,
    failure: Arc<Mutex<Option<String>>>,
    cache: PipelineCache,
    pub(super) cooperative: CooperativeState,
    /// Buffers for reading.
    pub(super) staging: Mutex<Vec<wgpu::Buffer>>,
}

impl Gpu {
    pub(super) fn new(
        name: String,
        info: GpuInfo,
        adapter: wgpu::AdapterInfo,
        fragments: Fragments,
        device: wgpu::Device,
        queue: wgpu::Queue,
    ) -> Gpu {
        let failure = Arc::new(Mutex::new(None));
        let note = |failure: Arc<Mutex<Option<String>>>| {
            move |message: String| {
                lock(&failure).get_or_insert(message);
            }
        };
        let uncaptured = note(failure.clone());
        device
            .on_uncaptured_error(Arc::new(move |error: wgpu::Error| uncaptured(error.to_string())));
        let lost = note(failure.clone());
        device.set_device_lost_callback(move |reason, message| {
            lost(format!("the device was lost ({reason:?}): {message}"));
        });
        let cache = PipelineCache::open(&device, &adapter);
        Gpu {
            most_groups: device.limits().max_compute_workgroups_per_dimension,
            most_bindings: (device.limits().max_storage_buffers_per_shader_stage as usize)
                .min(MAX_BINDINGS),
            name,
            info,
            device,
            queue,
            pool: Mutex::new(Pool::default()),
            recorder: Mutex::new(Recorder::default()),
            batch: AtomicU64::new(1),
            failure,
            cache,
            cooperative: CooperativeState { fragments, ..CooperativeState::default() },
            staging: Mutex::default(),
        }
    }

    pub(super) fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }

    pub(super) fn batch(&self) -> u64 {
        self.batch.load(Ordering::Acquire)
    }

    /// Fails if the GPU has reported an error since it was opened. Its results after that cannot be
    /// trusted.
    pub(super) fn check(&self, op: &'static str) -> Result<()> {
        match &*lock(&self.failure) {
            Some(message) => bail!(op, DeviceLost, "{} failed: {message}", self.name),
            None => Ok(()),
        }
    }

    /// The counts and bytes so far.
    pub(crate) fn counters(&self) -> GpuCounters {
        let (counters, chunks) = {
            let recorder = lock(&self.recorder);
            (recorder.counters, recorder.belt.created)
        };
        let pool = self.pool();
        GpuCounters {
            buffers: pool.created + chunks,
            live_bytes: pool.live,
            held_bytes: pool.held,
            peak_live_bytes: pool.peak_live,
            peak_held_bytes: pool.peak_held,
            ..counters
        }
    }

    /// `count` workgroups as a grid of two dimensions, each within the device's limit. The grid may
    /// have up to one row more, so a kernel must check its index.
    pub(crate) fn grid(&self, op: &'static str, count: u64) -> Result<[u32; 3]> {
        let most = self.most_groups as u64;
        let rows = count.div_ceil(most).max(1);
        if rows > most {
            bail!(op, Device, "{count} workgroups are more than {} starts at once", self.name);
        }
        Ok([count.div_ceil(rows).max(1) as u32, rows as u32, 1])
    }

    /// Records a launch; `shader` gives the text at the first use of a variant.
    pub(crate) fn launch(&self, launch: &Launch, shader: impl FnOnce() -> Shader) -> Result<()> {
        let mut recorder = lock(&self.recorder);
        self.record_preceding(&mut recorder, ids(launch.inputs), ids(launch.outputs))?;
        let all = launch.inputs.iter().chain(launch.outputs);
        let mut bound = [launch.outputs[0].block(); MAX_BINDINGS];
        for (slot, buffer) in bound.iter_mut().zip(all) {
            assert!(std::ptr::eq(buffer.gpu, self), "{}: another device", launch.op);
            *slot = buffer.block();
        }
        let bound = &bound[..launch.inputs.len() + launch.outputs.len()];
        let (key, immediates, groups) = (launch.key, launch.immediates, launch.groups);
        recorder.call = profile::open_call();
        let outputs = launch.outputs.len();
        self.record(&mut recorder, launch.op, key, bound, outputs, immediates, groups, shader)?;
        let most = if recorder.timing.is_some() { timing::DUE } else { MAX_PENDING };
        if recorder.pending >= most {
            self.submit(&mut recorder);
        }
        Ok(())
    }

    /// Puts a launch into the pass; the last of `bound` are its outputs.
    #[allow(clippy::too_many_arguments)] // the parts of a `Launch`, with blocks in place of buffers
    pub(super) fn record(
        &self,
        recorder: &mut Recorder,
        op: &'static str,
        key: Key,
        bound: &[&Block],
        outputs: usize,
        immediates: &[u8],
        groups: [u32; 3],
        shader: impl FnOnce() -> Shader,
    ) -> Result<()> {
        let kernel = match recorder.kernels.get(&key) {
            Some(kernel) => kernel.clone(),
            None => {
                let kernel = Arc::new(self.compile(op, recorder, shader())?);
                recorder.kernels.insert(key, kernel.clone());
                kernel
            }
        };
        let started = Instant::now();
        let signature = ((bound.len() - outputs) as u32, outputs as u32);
        assert_eq!(signature, kernel.signature, "{}: buffers", kernel.label);
        assert!(immediates.len() <= IMMEDIATES as usize, "{}", kernel.label);
        let mut group = GroupKey { signature, buffers: [0; MAX_BINDINGS] };
        for (slot, block) in group.buffers.iter_mut().zip(bound) {
            *slot = block.id;
        }
        self.open_pass(recorder, &kernel.label);
        let pass = recorder.pass.as_mut().expect("the pass was just opened");
        if recorder.current_kernel != Some(key) {
            pass.set_pipeline(&kernel.pipeline);
            recorder.current_kernel = Some(key);
        }
        if recorder.current_group != Some(group) {
            if recorder.groups.len() >= MAX_BIND_GROUPS {
                recorder.groups.clear();
            }
            let bind_group = recorder.groups.entry(group).or_insert_with(|| {
                recorder.counters.bind_groups += 1;
                let layout = &recorder.layouts[&signature].group;
                bind_group(&self.device, layout, bound)
            });
            pass.set_bind_group(0, &*bind_group, &[]);
            recorder.current_group = Some(group);
        }
        if !immediates.is_empty() {
            pass.set_immediates(0, immediates);
        }
        let [x, y, z] = groups;
        pass.dispatch_workgroups(x, y, z);
        recorder.counters.dispatches += 1;
        recorder.pending += 1;
        recorder.counters.encode_ns += started.elapsed().as_nanos() as u64;
        Ok(())
    }

    /// Opens a pass unless one is open. In a profile each kernel has its own, with timestamps.
    fn open_pass(&self, recorder: &mut Recorder, kernel: &str) {
        let timed =
            profile::is_on() && self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if recorder.pass.is_some() && !timed {
            return;
        }
        recorder.pass = None;
        let encoder = recorder.encoder.get_or_insert_with(|| {
            self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
        });
        let timestamp_writes = timed
            .then(|| {
                let timing = recorder.timing.get_or_insert_with(|| Timing::new(&self.device));
                timing.next(recorder.call, kernel)
            })
            .flatten();
        let pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        recorder.pass = Some(pass.forget_lifetime());
        recorder.counters.passes += 1;
        recorder.current_kernel = None;
        recorder.current_group = None;
    }

    /// Closes the pass and submits everything recorded to the GPU. Does not wait. `None` if there
    /// was nothing to submit.
    fn submit(&self, recorder: &mut Recorder) -> Option<wgpu::SubmissionIndex> {
        if let Err(error) = self.record_gathered(recorder) {
            lock(&self.failure).get_or_insert(error.to_string());
        }
        let started = Instant::now();
        recorder.pass = None;
        if let (Some(timing), Some(encoder)) = (&recorder.timing, &mut recorder.encoder) {
            timing.resolve(encoder);
        }
        let uploads = recorder.uploads.take();
        let commands = [uploads, recorder.encoder.take()].map(|c| c.map(|c| c.finish()));
        let mut submission = None;
        if commands.iter().any(Option::is_some) || recorder.pending_upload > 0 {
            recorder.belt.close();
            submission = Some(self.queue.submit(commands.into_iter().flatten()));
            recorder.belt.recall();
            recorder.counters.submits += 1;
        }
        if let Some(timing) = &mut recorder.timing
            && let Err(error) = timing.collect(self)
        {
            lock(&self.failure).get_or_insert(error.to_string());
        }
        recorder.pending = 0;
        recorder.pending_upload = 0;
        self.batch.fetch_add(1, Ordering::AcqRel);
        recorder.counters.encode_ns += started.elapsed().as_nanos() as u64;
        submission
    }

    /// Submits everything recorded to the GPU and waits until it is done.
    pub(crate) fn wait(&self, op: &'static str) -> Result<()> {
        self.submit(&mut lock(&self.recorder));
        self.poll(op)
    }

    pub(super) fn poll(&self, op: &'static str) -> Result<()> {
        self.poll_until(op, None)
    }

    /// Waits until one submission is done, or until all are.
    pub(super) fn poll_until(
        &self,
        op: &'static str,
        submission_index: Option<wgpu::SubmissionIndex>,
    ) -> Result<()> {
        let waited = self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None });
        self.check(op)?;
        waited
            .map(|_| ())
            .map_err(|e| Error::of(ErrorKind::DeviceLost, op, format!("{}: {e}", self.name)))
    }

    /// Records a copy of bytes `0..bytes` of `from` into `to`, and submits.
    pub(super) fn copy_out(
        &self,
        op: &'static str,
        from: &Buffer,
        to: &wgpu::Buffer,
        bytes: u64,
    ) -> Result<wgpu::SubmissionIndex> {
        let mut recorder = lock(&self.recorder);
        self.record_gathered(&mut recorder)?;
        recorder.counters.reads += 1;
        recorder.pass = None;
        let encoder = recorder.encoder.get_or_insert_with(|| {
            self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
        });
        encoder.copy_buffer_to_buffer(&from.block().raw, 0, to, 0, bytes);
        let submission = self.submit(&mut recorder);
        self.cache.save_if_due(recorder.counters.pipelines);
        submission.ok_or_else(|| {
            Error::of(ErrorKind::DeviceLost, op, format!("{}: nothing was submitted", self.name))
        })
    }

    /// Writes bytes into a buffer of the upload lists; see [`super::memory`].
    pub(super) fn copy_in(&self, op: &'static str, to: &Buffer, bytes: &[u8]) -> Result<()> {
        let mut recorder = lock(&self.recorder);
        let recorder = &mut *recorder;
        recorder.counters.uploads += 1;
        if bytes.len() as u64 <= CHUNK {
            let encoder = recorder.uploads.get_or_insert_with(|| {
                self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
            });
            let written = recorder.belt.write(&self.device, encoder, to.block(), bytes);
            return written
                .map_err(|e| Error::of(ErrorKind::DeviceLost, op, format!("{}: {e}", self.name)));
        }
        self.queue.write_buffer(&to.block().raw, 0, bytes);
        recorder.pending_upload += bytes.len() as u64;
        // Until the submit the bytes wait in memory of the queue.
        if recorder.pending_upload > 64 << 20 {
            self.submit(recorder);
        }
        Ok(())
    }

    /// Destroys buffers that the pool has dropped. Recorded commands may still use them, so they
    /// are submitted first.
    pub(super) fn forget(&self, _op: &'static str, dropped: Vec<Block>) -> Result<()> {
        if dropped.is_empty() {
            return Ok(());
        }
        let ids: std::collections::HashSet<u32> = dropped.iter().map(|b| b.id).collect();
        let mut recorder = lock(&self.recorder);
        self.submit(&mut recorder);
        recorder.groups.retain(|key, _| !key.buffers().iter().any(|id| ids.contains(id)));
        for block in &dropped {
            block.raw.destroy();
        }
        Ok(())
    }

    fn compile(&self, op: &'static str, recorder: &mut Recorder, shader: Shader) -> Result<Kernel> {
        let signature = (shader.inputs, shader.outputs);
        let has = &self.info.features;
        if shader.needs.f16 && !has.f16 {
            bail!(op, DType, "{} has no 16-bit floats; convert with to_dtype", self.name);
        }
        recorder.layouts.entry(signature).or_insert_with(|| layouts(&self.device, signature));
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let text = wgpu::ShaderModuleDescriptor {
            label: Some(&shader.label),
            source: wgpu::ShaderSource::Wgsl(shader.source.as_str().into()),
        };
        let module = if shader.needs.checks {
            self.device.create_shader_module(text)
        } else {
            let checks = wgpu::ShaderRuntimeChecks::unchecked();
            // SAFETY: every kernel of the engine keeps its indices within its buffers, which the
            // launchers size and the tests against the CPU cover; its loops end, and its divisors
            // are not 0.
            unsafe { self.device.create_shader_module_trusted(text, checks) }
        };
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&shader.label),
            layout: Some(&recorder.layouts[&signature].pipeline),
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
                self.name
            );
        }
        recorder.counters.pipelines += 1;
        Ok(Kernel { pipeline, signature, label: shader.label })
    }
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
