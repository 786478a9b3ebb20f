//! Buffers from the pool, and new ones where it has none.

use gradus_base::{Result, bail};

use super::context::Gpu;
use super::memory::{Block, Buffer, SMALLEST, mib, size_class};
use super::sync::ready;

impl Gpu {
    /// A buffer of `bytes` with arbitrary content: for kernels to write, or for an upload.
    pub(super) fn allocate(
        &'static self,
        op: &'static str,
        bytes: u64,
        upload: bool,
    ) -> Result<Buffer> {
        let max = self.driver.info.max_tensor_bytes;
        if bytes.next_multiple_of(4) > max {
            bail!(
                op,
                Device,
                "a tensor of {} is more than one binding of {} takes ({}); use a smaller batch or \
                 cut the tensor",
                mib(bytes),
                self.driver.name,
                mib(max)
            );
        }
        // Near the limit the class may be larger than the limit.
        let class = size_class(bytes).min(max / SMALLEST * SMALLEST);
        let class = class.max(bytes.next_multiple_of(4));
        let batch = self.memory.batch();
        let taken = self.memory.pool().request(class, upload, batch);
        let block = match taken {
            Some(block) => block,
            None => self.create_in_pool(op, class, batch)?,
        };
        Ok(Buffer::new(block, self.memory, upload))
    }

    /// A new buffer of `class` bytes, which are counted as used already.
    fn create_in_pool(&self, op: &'static str, class: u64, batch: u64) -> Result<Block> {
        let dropped = self.memory.pool().make_room(class, batch);
        self.destroy(dropped);
        self.create(op, class).or_else(|error| {
            // Tries again after giving back all waiting buffers.
            let dropped = self.memory.pool().trim(0, batch);
            self.destroy(dropped);
            self.wait(op)?;
            self.create(op, class).map_err(|_| {
                self.memory.pool().live -= class;
                error
            })
        })
    }

    fn create(&self, op: &'static str, class: u64) -> Result<Block> {
        let device = &self.driver.device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let raw = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: class,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let refused = ready(scope.pop());
        self.driver.check(op)?;
        let mut pool = self.memory.pool();
        if refused.is_some() {
            bail!(
                op,
                OutOfMemory,
                "{} is out of memory: {} asked for, {} in use; use a smaller batch or shorter texts",
                self.driver.name,
                mib(class),
                mib(pool.live - class)
            );
        }
        Ok(Block { raw, id: pool.add(class), class })
    }
}
