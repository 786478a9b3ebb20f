//! Merges launches of one kernel on many tensors into few: an optimiser's step over all parameters,
//! the sums at the end of the derivatives of layer norms.
//!
//! `Gpu::gather` delays a launch and collects others of the same kernel and the same arguments, up
//! to [`gradus_shaders::MANY`] tensors. The recorder records them when there are that many; before
//! a launch that reads their outputs or writes one of their buffers; and before a submit or a read.
//! So no delayed launch depends on another, and their order does not matter.

use std::sync::Arc;

use gradus_shaders::{MANY, Shader};

use super::memory::{Block, Buffer};
use super::pipelines::Key;
use super::profile;

/// A storage that must outlive a launch.
pub(super) type Held = Arc<dyn Send + Sync>;

/// A launch on one tensor, which may be gathered.
pub(super) struct Part<'a> {
    /// The operation, for messages.
    pub op: &'static str,
    /// The kernel's family and variant.
    pub key: Key,
    /// Buffers that all parts read.
    pub common: &'a [&'a Buffer],
    /// Arguments that all parts share: the immediates before the parts' numbers.
    pub args: &'a [u8],
    /// The buffers that the kernel reads for this tensor, and below them those that it writes.
    pub inputs: &'a [&'a Buffer],
    pub outputs: &'a [&'a Buffer],
    /// Two numbers of this tensor. The kernel gets the first numbers of all parts, then the second
    /// ones.
    pub numbers: [u32; 2],
    /// Its workgroups.
    pub groups: u32,
    /// A storage that must not go back to the pool before this launch is recorded.
    pub held: Option<Held>,
    /// The kernel of this variant for a number of tensors.
    pub shader: fn(u64, u32) -> Shader,
}

/// Delayed parts.
pub(super) struct Gathered {
    pub(super) op: &'static str,
    key: Key,
    common: Vec<Block>,
    args: Vec<u8>,
    /// The inputs of all parts, one part after another.
    inputs: Vec<Block>,
    outputs: Vec<Block>,
    parts: Vec<([u32; 2], u32)>,
    held: Vec<Held>,
    pub(super) shader: fn(u64, u32) -> Shader,
    /// The first part's call, for the profile.
    pub(super) call: Option<usize>,
    /// The numbers of the buffers that it reads, and below them of those that it writes.
    read: Vec<u32>,
    written: Vec<u32>,
}

impl Gathered {
    pub(super) fn new(part: &Part) -> Gathered {
        Gathered {
            op: part.op,
            key: part.key,
            common: part.common.iter().map(|buffer| buffer.block().clone()).collect(),
            args: part.args.to_vec(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            parts: Vec::new(),
            held: Vec::new(),
            shader: part.shader,
            call: profile::open_call(),
            read: ids(part.common).collect(),
            written: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, part: &Part) {
        self.inputs.extend(part.inputs.iter().map(|buffer| buffer.block().clone()));
        self.outputs.extend(part.outputs.iter().map(|buffer| buffer.block().clone()));
        self.read.extend(ids(part.inputs));
        self.written.extend(ids(part.outputs));
        self.parts.push((part.numbers, part.groups));
        self.held.extend(part.held.clone());
    }

    /// Whether a launch that reads and writes these buffers must come after.
    pub(super) fn precedes(
        &self,
        mut read: impl Iterator<Item = u32>,
        mut written: impl Iterator<Item = u32>,
    ) -> bool {
        read.any(|id| self.written.contains(&id))
            || written.any(|id| self.written.contains(&id) || self.read.contains(&id))
    }

    /// Whether a part can go into the same launch, if it does not depend on these parts.
    pub(super) fn is_like(&self, part: &Part) -> bool {
        self.key == part.key
            && self.args == part.args
            && self.common.iter().map(|block| block.id).eq(ids(part.common))
    }

    /// Whether there are as many parts as the largest kernel takes.
    pub(super) fn is_full(&self) -> bool {
        self.parts.len() == MANY[0] as usize
    }

    /// The launches of all parts, each of as many as a kernel takes and `max_bindings` allow.
    pub(super) fn merged(&self, max_bindings: usize) -> Vec<Merged<'_>> {
        let count = self.parts.len();
        let (reads, writes) = (self.inputs.len() / count, self.outputs.len() / count);
        let mut launches = Vec::new();
        let mut from = 0;
        while from < count {
            let fits = |&&many: &&u32| {
                let bindings = many as usize * (reads + writes) + self.common.len();
                many as usize <= count - from && (many == 1 || bindings <= max_bindings)
            };
            let many = *MANY.iter().find(fits).unwrap_or(&1);
            let to = from + many as usize;
            let inputs = self.inputs[from * reads..to * reads].iter().chain(&self.common);
            let outputs = &self.outputs[from * writes..to * writes];
            let parts = &self.parts[from..to];
            let mut immediates = self.args.clone();
            immediates.extend(parts.iter().flat_map(|([first, _], _)| first.to_ne_bytes()));
            immediates.extend(parts.iter().flat_map(|([_, second], _)| second.to_ne_bytes()));
            let (family, variant) = self.key;
            launches.push(Merged {
                key: (family, variant * 64 + many as u64),
                bound: inputs.chain(outputs).collect(),
                outputs: outputs.len(),
                immediates,
                groups: parts.iter().map(|(_, groups)| *groups as u64).sum(),
                shader: (variant, many),
            });
            from = to;
        }
        launches
    }
}

/// A launch on several parts.
pub(super) struct Merged<'a> {
    pub(super) key: Key,
    /// The buffers; the last `outputs` are written.
    pub(super) bound: Vec<&'a Block>,
    pub(super) outputs: usize,
    pub(super) immediates: Vec<u8>,
    pub(super) groups: u64,
    /// The kernel's variant, and the number of parts.
    pub(super) shader: (u64, u32),
}

/// The buffers' numbers.
pub(super) fn ids(buffers: &[&Buffer]) -> impl Iterator<Item = u32> + Clone {
    buffers.iter().map(|buffer| buffer.block().id)
}
