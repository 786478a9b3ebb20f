//! Merges launches of one kernel on many tensors into few: an optimiser's step over all parameters,
//! the sums at the end of the derivatives of layer norms.
//!
//! [`Gpu::gather`] delays a launch and collects others of the same kernel and the same arguments,
//! up to [`gradus_shaders::MANY`] tensors. It records them when there are that many; before a
//! launch that reads their outputs or writes one of their buffers; and before a submit or a read.
//! So no delayed launch depends on another, and their order does not matter.

use std::sync::Arc;

use super::context::{Gpu, IMMEDIATES, Key, Recorder};
use super::memory::{Block, Buffer};
use super::sync::lock;
use crate::{Result, profile};
use gradus_shaders::{MANY, Shader};

/// A storage that must outlive a launch.
pub(crate) type Held = Arc<dyn Send + Sync>;

/// A launch on one tensor, which may be gathered.
pub(crate) struct Part<'a> {
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
    op: &'static str,
    key: Key,
    common: Vec<Block>,
    args: Vec<u8>,
    /// The inputs of all parts, one part after another.
    inputs: Vec<Block>,
    outputs: Vec<Block>,
    parts: Vec<([u32; 2], u32)>,
    held: Vec<Held>,
    shader: fn(u64, u32) -> Shader,
    /// The first part's call, for the profile.
    call: Option<usize>,
    /// The numbers of the buffers that it reads, and below them of those that it writes.
    read: Vec<u32>,
    written: Vec<u32>,
}

impl Gathered {
    fn new(part: &Part) -> Gathered {
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

    fn push(&mut self, part: &Part) {
        self.inputs.extend(part.inputs.iter().map(|buffer| buffer.block().clone()));
        self.outputs.extend(part.outputs.iter().map(|buffer| buffer.block().clone()));
        self.read.extend(ids(part.inputs));
        self.written.extend(ids(part.outputs));
        self.parts.push((part.numbers, part.groups));
        self.held.extend(part.held.clone());
    }

    /// Whether a launch that reads and writes these buffers must come after.
    fn precedes(
        &self,
        mut read: impl Iterator<Item = u32>,
        mut written: impl Iterator<Item = u32>,
    ) -> bool {
        read.any(|id| self.written.contains(&id))
            || written.any(|id| self.written.contains(&id) || self.read.contains(&id))
    }

    /// Whether a part can go into the same launch, if it does not depend on these parts.
    fn is_like(&self, part: &Part) -> bool {
        self.key == part.key
            && self.args == part.args
            && self.common.iter().map(|block| block.id).eq(ids(part.common))
    }
}

/// The buffers' numbers.
pub(super) fn ids(buffers: &[&Buffer]) -> impl Iterator<Item = u32> + Clone {
    buffers.iter().map(|buffer| buffer.block().id)
}

impl Gpu {
    /// Delays a launch on one tensor, to record it with similar ones.
    pub(crate) fn gather(&self, part: &Part) -> Result<()> {
        let mut recorder = lock(&self.recorder);
        let read = ids(part.inputs).chain(ids(part.common));
        self.record_preceding(&mut recorder, read, ids(part.outputs))?;
        let started = std::time::Instant::now();
        let gathered = &mut recorder.gathered;
        let at = gathered.iter().position(|gathered| gathered.is_like(part));
        let at = at.unwrap_or_else(|| {
            gathered.push(Gathered::new(part));
            gathered.len() - 1
        });
        gathered[at].push(part);
        let full = gathered[at].parts.len() == MANY[0] as usize;
        recorder.counters.encode_ns += started.elapsed().as_nanos() as u64;
        if full {
            let gathered = recorder.gathered.remove(at);
            self.record_parts(&mut recorder, gathered)?;
        }
        Ok(())
    }

    /// Records the delayed launches that must come before one that reads and writes these buffers.
    pub(super) fn record_preceding(
        &self,
        recorder: &mut Recorder,
        read: impl Iterator<Item = u32> + Clone,
        written: impl Iterator<Item = u32> + Clone,
    ) -> Result<()> {
        let mut at = 0;
        while at < recorder.gathered.len() {
            if recorder.gathered[at].precedes(read.clone(), written.clone()) {
                let gathered = recorder.gathered.remove(at);
                self.record_parts(recorder, gathered)?;
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Records all delayed launches.
    pub(super) fn record_gathered(&self, recorder: &mut Recorder) -> Result<()> {
        for gathered in std::mem::take(&mut recorder.gathered) {
            self.record_parts(recorder, gathered)?;
        }
        Ok(())
    }

    fn record_parts(&self, recorder: &mut Recorder, gathered: Gathered) -> Result<()> {
        recorder.call = gathered.call;
        let count = gathered.parts.len();
        let (reads, writes) = (gathered.inputs.len() / count, gathered.outputs.len() / count);
        let mut from = 0;
        while from < count {
            let fits = |&&many: &&u32| {
                let bindings = many as usize * (reads + writes) + gathered.common.len();
                many as usize <= count - from && (many == 1 || bindings <= self.most_bindings)
            };
            let many = *MANY.iter().find(fits).unwrap_or(&1);
            let to = from + many as usize;
            let inputs = gathered.inputs[from * reads..to * reads].iter().chain(&gathered.common);
            let outputs = &gathered.outputs[from * writes..to * writes];
            let bound: Vec<&Block> = inputs.chain(outputs).collect();
            let parts = &gathered.parts[from..to];
            let mut immediates = gathered.args.clone();
            immediates.extend(parts.iter().flat_map(|([first, _], _)| first.to_ne_bytes()));
            immediates.extend(parts.iter().flat_map(|([_, second], _)| second.to_ne_bytes()));
            assert!(immediates.len() <= IMMEDIATES as usize, "{}", gathered.op);
            let (family, variant) = gathered.key;
            let key = (family, variant * 64 + many as u64);
            let groups = parts.iter().map(|(_, groups)| *groups as u64).sum();
            let groups = self.grid(gathered.op, groups)?;
            let shader = || (gathered.shader)(variant, many);
            let outputs = outputs.len();
            self.record(recorder, gathered.op, key, &bound, outputs, &immediates, groups, shader)?;
            from = to;
        }
        Ok(())
    }
}
