//! Times of kernels, for [`profile`](super::profile). Each kernel has its own pass with two
//! timestamps, which are read after each submit.

use gradus_base::{Result, bail};

use super::driver::Driver;
use super::profile::{self, Ticks};
use super::staging;

/// The most kernels between two submits, which a query set can hold.
const MAX_KERNELS: u32 = wgpu::QUERY_SET_MAX_QUERIES / 2;
/// A submit is due after this many launches, which leaves room for the gathered ones.
pub(super) const DUE: u32 = MAX_KERNELS / 2;

/// The timestamps of the kernels since the last submit.
pub(super) struct Timing {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    read: wgpu::Buffer,
    /// For each timed kernel the call to which it belongs, and its name.
    kernels: Vec<(Option<usize>, String)>,
}

impl Timing {
    pub(super) fn new(device: &wgpu::Device) -> Timing {
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: 2 * MAX_KERNELS as u64 * wgpu::QUERY_SIZE as u64,
                usage,
                mapped_at_creation: false,
            })
        };
        Timing {
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * MAX_KERNELS,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            read: buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
            kernels: Vec::new(),
        }
    }

    /// The timestamps of the next pass, which runs `kernel` for `call`; `None` when there is no
    /// room left.
    pub(super) fn next(
        &mut self,
        call: Option<usize>,
        kernel: &str,
    ) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let at = self.kernels.len() as u32;
        (at < MAX_KERNELS).then(|| {
            self.kernels.push((call, kernel.to_string()));
            wgpu::ComputePassTimestampWrites {
                query_set: &self.set,
                beginning_of_pass_write_index: Some(2 * at),
                end_of_pass_write_index: Some(2 * at + 1),
            }
        })
    }

    /// Records the command that makes the timestamps readable.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        let count = 2 * self.kernels.len() as u32;
        if count > 0 {
            let bytes = count as u64 * wgpu::QUERY_SIZE as u64;
            encoder.resolve_query_set(&self.set, 0..count, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.read, 0, bytes);
        }
    }

    /// Waits for the submit and adds its times to the profile.
    pub(super) fn collect(&mut self, driver: &Driver) -> Result<()> {
        let kernels = std::mem::take(&mut self.kernels);
        if kernels.is_empty() {
            return Ok(());
        }
        let bytes = 2 * kernels.len() as u64 * wgpu::QUERY_SIZE as u64;
        let ready = staging::map(&self.read, bytes);
        driver.wait("profile", None)?;
        staging::mapped(driver, "profile", &ready)?;
        let ticks: Vec<u64> = match self.read.slice(..bytes).get_mapped_range() {
            Ok(view) => bytemuck::pod_collect_to_vec(&view),
            Err(error) => bail!("profile", DeviceLost, "the times cannot be read: {error}"),
        };
        self.read.unmap();
        let period = driver.queue.get_timestamp_period() as f64;
        let ns = |ticks: u64| (ticks as f64 * period) as u64;
        let runs = kernels.into_iter().zip(ticks.as_chunks::<2>().0);
        profile::add(
            runs.map(|((call, kernel), &[begin, end])| Ticks {
                call,
                kernel,
                begin: ns(begin),
                end: ns(end),
            })
            .collect(),
        );
        Ok(())
    }
}
