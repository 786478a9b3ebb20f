//! An opened GPU: its memory, and the recorder of its commands.

use std::sync::Mutex;

use gradus_base::Result;
use gradus_shaders::Shader;

use super::cooperative::{CooperativeProducts, Fragments};
use super::counters::GpuCounters;
use super::driver::{Driver, MAX_BINDINGS};
use super::gather::{Part, ids};
use super::info::GpuInfo;
use super::memory::{Block, Buffer, Memory};
use super::pipelines::Key;
use super::recorder::{Dispatch, Recorder};
use super::sync::lock;

/// One launch of a kernel.
pub(super) struct Launch<'a> {
    /// The operation, for messages.
    pub op: &'static str,
    /// The variant of the kernel.
    pub key: Key,
    /// The buffers it reads, in the order of its bindings.
    pub inputs: &'a [&'a Buffer],
    /// The buffers it writes, bound after the inputs. They must not be among the inputs.
    pub outputs: &'a [&'a Buffer],
    /// The bytes of its immediates: a multiple of 4, at most
    /// [`IMMEDIATES`](super::pipelines::IMMEDIATES).
    pub immediates: &'a [u8],
    /// Workgroups along x, y, z; see [`Gpu::grid`].
    pub groups: [u32; 3],
}

/// An opened GPU. It stays open as long as the program runs.
pub struct Gpu {
    pub(super) driver: &'static Driver,
    pub(super) memory: &'static Memory,
    recorder: Mutex<Recorder>,
    pub(super) cooperative: CooperativeProducts,
    /// Buffers for reading.
    pub(super) staging: Mutex<Vec<wgpu::Buffer>>,
}

impl Gpu {
    /// Keeps the device for the rest of the program, because storages of any thread refer to it.
    pub(super) fn new(
        driver: Driver,
        adapter: &wgpu::AdapterInfo,
        fragments: Fragments,
    ) -> &'static Gpu {
        let driver = &*Box::leak(Box::new(driver));
        let memory = &*Box::leak(Box::new(Memory::default()));
        Box::leak(Box::new(Gpu {
            driver,
            memory,
            recorder: Mutex::new(Recorder::new(driver, memory, adapter)),
            cooperative: CooperativeProducts { fragments, ..CooperativeProducts::default() },
            staging: Mutex::default(),
        }))
    }

    /// Its number and its properties.
    pub fn info(&self) -> &GpuInfo {
        &self.driver.info
    }

    /// The counts and bytes so far.
    pub fn counters(&self) -> GpuCounters {
        let counters = lock(&self.recorder).counters();
        let pool = self.memory.pool();
        GpuCounters {
            buffers: pool.created + counters.buffers,
            live_bytes: pool.live,
            held_bytes: pool.held,
            peak_live_bytes: pool.peak_live,
            peak_held_bytes: pool.peak_held,
            ..counters
        }
    }

    /// Submits everything recorded to the GPU and waits until it is done.
    ///
    /// # Errors
    /// Of `op`, if the GPU has failed.
    pub fn wait(&self, op: &'static str) -> Result<()> {
        lock(&self.recorder).submit();
        self.driver.wait(op, None)
    }

    /// `count` workgroups as a grid; see [`Driver::grid`].
    pub(super) fn grid(&self, op: &'static str, count: u64) -> Result<[u32; 3]> {
        self.driver.grid(op, count)
    }

    /// Records a launch; `shader` gives the text at the first use of a variant.
    pub(super) fn launch(&self, launch: &Launch, shader: impl FnOnce() -> Shader) -> Result<()> {
        let mut recorder = lock(&self.recorder);
        recorder.record_preceding(ids(launch.inputs), ids(launch.outputs))?;
        let all = launch.inputs.iter().chain(launch.outputs);
        let mut bound = [launch.outputs[0].block(); MAX_BINDINGS];
        for (slot, buffer) in bound.iter_mut().zip(all) {
            assert!(buffer.is_of(self.memory), "{}: another device", launch.op);
            *slot = buffer.block();
        }
        let dispatch = Dispatch {
            op: launch.op,
            key: launch.key,
            bound: &bound[..launch.inputs.len() + launch.outputs.len()],
            outputs: launch.outputs.len(),
            immediates: launch.immediates,
            groups: launch.groups,
        };
        recorder.launch(&dispatch, shader)
    }

    /// Delays a launch on one tensor, to record it with similar ones; see
    /// [`gather`](super::gather).
    pub(super) fn gather(&self, part: &Part) -> Result<()> {
        let mut recorder = lock(&self.recorder);
        let read = ids(part.inputs).chain(ids(part.common));
        recorder.record_preceding(read, ids(part.outputs))?;
        recorder.gather(part)
    }

    /// Records a copy of bytes `0..bytes` of `from` into `to`, and submits.
    pub(super) fn copy_out(
        &self,
        op: &'static str,
        from: &Buffer,
        to: &wgpu::Buffer,
        bytes: u64,
    ) -> Result<wgpu::SubmissionIndex> {
        lock(&self.recorder).copy_out(op, from.block(), to, bytes)
    }

    /// Writes bytes into a buffer for uploads.
    pub(super) fn copy_in(&self, op: &'static str, to: &Buffer, bytes: &[u8]) -> Result<()> {
        lock(&self.recorder).copy_in(op, to.block(), bytes)
    }

    /// Destroys buffers that the pool has dropped.
    pub(super) fn destroy(&self, dropped: Vec<Block>) {
        if !dropped.is_empty() {
            lock(&self.recorder).destroy(&dropped);
        }
    }
}
