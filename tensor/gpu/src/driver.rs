//! An opened device as `wgpu` has it: its limits, its failures, waiting for it.

use std::sync::{Arc, Mutex};

use gradus_base::{Error, ErrorKind, Result, bail};

use super::info::GpuInfo;
use super::sync::lock;

/// The most buffers of one kernel; some devices allow fewer.
pub(super) const MAX_BINDINGS: usize = 30;

/// A device, its queue, and what it may do.
pub(super) struct Driver {
    pub(super) name: String,
    pub(super) info: GpuInfo,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    max_groups: u32,
    pub(super) max_bindings: usize,
    failure: Arc<Mutex<Option<String>>>,
}

impl Driver {
    pub(super) fn new(
        name: String,
        info: GpuInfo,
        device: wgpu::Device,
        queue: wgpu::Queue,
    ) -> Driver {
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
        let limits = device.limits();
        Driver {
            max_groups: limits.max_compute_workgroups_per_dimension,
            max_bindings: MAX_BINDINGS.min(limits.max_storage_buffers_per_shader_stage as usize),
            name,
            info,
            device,
            queue,
            failure,
        }
    }

    /// Fails if the GPU has reported an error since it was opened. Its results after that cannot be
    /// trusted.
    pub(super) fn check(&self, op: &'static str) -> Result<()> {
        match &*lock(&self.failure) {
            Some(message) => bail!(op, DeviceLost, "{} failed: {message}", self.name),
            None => Ok(()),
        }
    }

    /// Keeps an error that nobody waits for; the next [`check`](Driver::check) returns it.
    pub(super) fn failed(&self, error: &Error) {
        lock(&self.failure).get_or_insert(error.to_string());
    }

    /// The loss of this device, seen by `op`.
    pub(super) fn lost(&self, op: &'static str, why: impl std::fmt::Display) -> Error {
        Error::of(ErrorKind::DeviceLost, op, format!("{}: {why}", self.name))
    }

    /// `count` workgroups as a grid of two dimensions, each within the device's limit. The grid may
    /// have up to one row more, so a kernel must check its index.
    pub(super) fn grid(&self, op: &'static str, count: u64) -> Result<[u32; 3]> {
        let max = self.max_groups as u64;
        let rows = count.div_ceil(max).max(1);
        if rows > max {
            bail!(op, Device, "{count} workgroups are more than {} starts at once", self.name);
        }
        Ok([count.div_ceil(rows).max(1) as u32, rows as u32, 1])
    }

    /// Waits until one submission is done, or until all are.
    pub(super) fn wait(
        &self,
        op: &'static str,
        submission_index: Option<wgpu::SubmissionIndex>,
    ) -> Result<()> {
        let waited = self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None });
        self.check(op)?;
        waited.map(|_| ()).map_err(|error| self.lost(op, error))
    }
}
