//! Records commands and submits them.
//!
//! Launches are recorded into one compute pass of one command encoder. Both stay open until a read,
//! or until [`MAX_PENDING`] launches are recorded. `wgpu` inserts the barriers between launches.

use std::time::Instant;

use gradus_base::Result;
use gradus_shaders::Shader;

use super::counters::GpuCounters;
use super::driver::Driver;
use super::gather::{Gathered, Part};
use super::memory::{Block, Memory};
use super::pipelines::{GroupKey, IMMEDIATES, Key, Pipelines};
use super::profile;
use super::staging::{Belt, CHUNK};
use super::timing::{self, Timing};

/// The recorder submits by itself after this many launches.
const MAX_PENDING: u32 = 8192;
/// The most bytes of large uploads that wait in the queue's memory for a submit.
const MAX_PENDING_UPLOAD: u64 = 64 << 20;

/// A launch as it goes into the pass.
pub(super) struct Dispatch<'a> {
    /// The operation, for messages.
    pub(super) op: &'static str,
    pub(super) key: Key,
    /// The buffers; the last `outputs` are written.
    pub(super) bound: &'a [&'a Block],
    pub(super) outputs: usize,
    pub(super) immediates: &'a [u8],
    pub(super) groups: [u32; 3],
}

/// The commands that are not yet submitted, and what they need.
pub(super) struct Recorder {
    driver: &'static Driver,
    memory: &'static Memory,
    pipelines: Pipelines,
    /// The copies of small uploads, which run before `encoder`.
    uploads: Option<wgpu::CommandEncoder>,
    belt: Belt,
    /// Launches that wait for similar ones.
    gathered: Vec<Gathered>,
    encoder: Option<wgpu::CommandEncoder>,
    /// The open pass. Must be dropped before its encoder is finished.
    pass: Option<wgpu::ComputePass<'static>>,
    pending: u32,
    /// In a profile: the times of the kernels.
    timing: Option<Timing>,
    /// In a profile: the call of an operation to which the next kernel belongs.
    call: Option<usize>,
    /// Bytes of uploads that wait for the next submit.
    pending_upload: u64,
    /// The kernel that the open pass has set, and below it the bind group.
    current_kernel: Option<Key>,
    current_group: Option<GroupKey>,
    counters: GpuCounters,
}

impl Recorder {
    pub(super) fn new(
        driver: &'static Driver,
        memory: &'static Memory,
        adapter: &wgpu::AdapterInfo,
    ) -> Recorder {
        Recorder {
            driver,
            memory,
            pipelines: Pipelines::new(driver, adapter),
            uploads: None,
            belt: Belt::default(),
            gathered: Vec::new(),
            encoder: None,
            pass: None,
            pending: 0,
            timing: None,
            call: None,
            pending_upload: 0,
            current_kernel: None,
            current_group: None,
            counters: GpuCounters::default(),
        }
    }

    /// The counts so far; `buffers` are those for uploads, and the bytes are 0.
    pub(super) fn counters(&self) -> GpuCounters {
        GpuCounters {
            buffers: self.belt.created,
            pipelines: self.pipelines.compiled,
            bind_groups: self.pipelines.grouped,
            ..self.counters
        }
    }

    /// Records a launch, and submits if there are many.
    pub(super) fn launch(
        &mut self,
        dispatch: &Dispatch,
        shader: impl FnOnce() -> Shader,
    ) -> Result<()> {
        self.call = profile::open_call();
        self.record(dispatch, shader)?;
        let max = if self.timing.is_some() { timing::DUE } else { MAX_PENDING };
        if self.pending >= max {
            self.submit();
        }
        Ok(())
    }

    /// Puts a launch into the pass.
    fn record(&mut self, dispatch: &Dispatch, shader: impl FnOnce() -> Shader) -> Result<()> {
        let &Dispatch { op, key, bound, outputs, immediates, groups: [x, y, z] } = dispatch;
        let kernel = self.pipelines.kernel(op, key, shader)?;
        let started = Instant::now();
        let signature = ((bound.len() - outputs) as u32, outputs as u32);
        assert_eq!(signature, kernel.signature, "{}: buffers", kernel.label);
        assert!(immediates.len() <= IMMEDIATES as usize, "{}", kernel.label);
        let group = GroupKey::new(signature, bound);
        self.open_pass(&kernel.label);
        let pass = self.pass.as_mut().expect("the pass was just opened");
        if self.current_kernel != Some(key) {
            pass.set_pipeline(&kernel.pipeline);
            self.current_kernel = Some(key);
        }
        if self.current_group != Some(group) {
            pass.set_bind_group(0, self.pipelines.group(&group, bound), &[]);
            self.current_group = Some(group);
        }
        if !immediates.is_empty() {
            pass.set_immediates(0, immediates);
        }
        pass.dispatch_workgroups(x, y, z);
        self.counters.dispatches += 1;
        self.pending += 1;
        self.counters.encode_ns += started.elapsed().as_nanos() as u64;
        Ok(())
    }

    /// Opens a pass unless one is open. In a profile each kernel has its own, with timestamps.
    fn open_pass(&mut self, kernel: &str) {
        let device = &self.driver.device;
        let timed = profile::is_on() && device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if self.pass.is_some() && !timed {
            return;
        }
        self.pass = None;
        let encoder = self.encoder.get_or_insert_with(|| encoder(device));
        let timestamp_writes = timed
            .then(|| {
                let timing = self.timing.get_or_insert_with(|| Timing::new(device));
                timing.next(self.call, kernel)
            })
            .flatten();
        let pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        self.pass = Some(pass.forget_lifetime());
        self.counters.passes += 1;
        self.current_kernel = None;
        self.current_group = None;
    }

    /// Delays a launch on one tensor, to record it with similar ones.
    pub(super) fn gather(&mut self, part: &Part) -> Result<()> {
        let started = Instant::now();
        let at = self.gathered.iter().position(|gathered| gathered.is_like(part));
        let at = at.unwrap_or_else(|| {
            self.gathered.push(Gathered::new(part));
            self.gathered.len() - 1
        });
        self.gathered[at].push(part);
        self.counters.encode_ns += started.elapsed().as_nanos() as u64;
        if self.gathered[at].is_full() {
            let gathered = self.gathered.remove(at);
            self.record_parts(&gathered)?;
        }
        Ok(())
    }

    /// Records the delayed launches that must come before one that reads and writes these buffers.
    pub(super) fn record_preceding(
        &mut self,
        read: impl Iterator<Item = u32> + Clone,
        written: impl Iterator<Item = u32> + Clone,
    ) -> Result<()> {
        let mut at = 0;
        while at < self.gathered.len() {
            if self.gathered[at].precedes(read.clone(), written.clone()) {
                let gathered = self.gathered.remove(at);
                self.record_parts(&gathered)?;
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Records all delayed launches.
    fn record_gathered(&mut self) -> Result<()> {
        for gathered in std::mem::take(&mut self.gathered) {
            self.record_parts(&gathered)?;
        }
        Ok(())
    }

    fn record_parts(&mut self, gathered: &Gathered) -> Result<()> {
        self.call = gathered.call;
        for launch in gathered.merged(self.driver.max_bindings) {
            let dispatch = Dispatch {
                op: gathered.op,
                key: launch.key,
                bound: &launch.bound,
                outputs: launch.outputs,
                immediates: &launch.immediates,
                groups: self.driver.grid(gathered.op, launch.groups)?,
            };
            let (variant, many) = launch.shader;
            self.record(&dispatch, || (gathered.shader)(variant, many))?;
        }
        Ok(())
    }

    /// Closes the pass and submits everything recorded to the GPU. Does not wait. `None` if there
    /// was nothing to submit.
    pub(super) fn submit(&mut self) -> Option<wgpu::SubmissionIndex> {
        if let Err(error) = self.record_gathered() {
            self.driver.failed(&error);
        }
        let started = Instant::now();
        self.pass = None;
        if let (Some(timing), Some(encoder)) = (&self.timing, &mut self.encoder) {
            timing.resolve(encoder);
        }
        let uploads = self.uploads.take();
        let commands = [uploads, self.encoder.take()].map(|c| c.map(|c| c.finish()));
        let mut submission = None;
        if commands.iter().any(Option::is_some) || self.pending_upload > 0 {
            self.belt.close();
            submission = Some(self.driver.queue.submit(commands.into_iter().flatten()));
            self.belt.recall();
            self.counters.submits += 1;
        }
        if let Some(timing) = &mut self.timing
            && let Err(error) = timing.collect(self.driver)
        {
            self.driver.failed(&error);
        }
        self.pending = 0;
        self.pending_upload = 0;
        self.memory.next_batch();
        self.counters.encode_ns += started.elapsed().as_nanos() as u64;
        submission
    }

    /// Records a copy of bytes `0..bytes` of `from` into `to`, and submits.
    pub(super) fn copy_out(
        &mut self,
        op: &'static str,
        from: &Block,
        to: &wgpu::Buffer,
        bytes: u64,
    ) -> Result<wgpu::SubmissionIndex> {
        self.record_gathered()?;
        self.counters.reads += 1;
        self.pass = None;
        let encoder = self.encoder.get_or_insert_with(|| encoder(&self.driver.device));
        encoder.copy_buffer_to_buffer(&from.raw, 0, to, 0, bytes);
        let submission = self.submit();
        self.pipelines.save_if_due();
        submission.ok_or_else(|| self.driver.lost(op, "nothing was submitted"))
    }

    /// Writes bytes into a buffer of the upload lists; see [`memory`](super::memory).
    pub(super) fn copy_in(&mut self, op: &'static str, to: &Block, bytes: &[u8]) -> Result<()> {
        self.counters.uploads += 1;
        let device = &self.driver.device;
        if bytes.len() as u64 <= CHUNK {
            let encoder = self.uploads.get_or_insert_with(|| encoder(device));
            let written = self.belt.write(device, encoder, to, bytes);
            return written.map_err(|error| self.driver.lost(op, error));
        }
        self.driver.queue.write_buffer(&to.raw, 0, bytes);
        self.pending_upload += bytes.len() as u64;
        if self.pending_upload > MAX_PENDING_UPLOAD {
            self.submit();
        }
        Ok(())
    }

    /// Destroys buffers that the pool has dropped. Recorded commands may still use them, so they
    /// are submitted first.
    pub(super) fn destroy(&mut self, dropped: &[Block]) {
        self.submit();
        self.pipelines.forget(dropped);
        for block in dropped {
            block.raw.destroy();
        }
    }
}

fn encoder(device: &wgpu::Device) -> wgpu::CommandEncoder {
    device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}
