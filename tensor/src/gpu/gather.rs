//! Launches of one kernel on many tensors, one after the other, as few: an optimiser's step over all
//! parameters.
//!
//! [`Gpu::gather`] keeps a launch back. As long as launches of the same kernel with the same arguments
//! follow, they are gathered; any other launch, a submit or a read records them first, up to
//! [`gradus_shaders::optim::MANY`] tensors a launch.

use super::context::{Gpu, IMMEDIATES, Key, Recorder, lock};
use super::memory::{Block, Buffer};
use crate::{Result, profile};
use gradus_shaders::Shader;
use gradus_shaders::optim::{MANY, STEP_CHUNK};

/// A launch on one tensor, which may be gathered.
pub(crate) struct Part<'a> {
    /// The operation, for messages.
    pub op: &'static str,
    /// The kernel's family and variant.
    pub key: Key,
    /// Buffers that all parts read.
    pub common: &'a [&'a Buffer],
    /// Arguments that all parts have: the immediates up to the numbers of elements and their starts.
    pub args: &'a [u8],
    /// Buffers of this tensor that are read, and those that are written. Elements begin at 0, but those that are
    /// read at `start`.
    pub inputs: &'a [&'a Buffer],
    pub outputs: &'a [&'a Buffer],
    pub numel: u32,
    pub start: u32,
    /// The kernel of this variant for a number of tensors.
    pub shader: fn(u64, u32) -> Shader,
}

/// What is kept back.
pub(super) struct Gathered {
    op: &'static str,
    key: Key,
    common: Vec<Block>,
    args: Vec<u8>,
    members: Vec<Member>,
    shader: fn(u64, u32) -> Shader,
    /// The first part's call, for the profile.
    call: Option<usize>,
}

struct Member {
    inputs: Vec<Block>,
    outputs: Vec<Block>,
    numel: u32,
    start: u32,
}

fn blocks(buffers: &[&Buffer]) -> Vec<Block> {
    buffers.iter().map(|buffer| buffer.block().clone()).collect()
}

fn same(blocks: &[Block], buffers: &[&Buffer]) -> bool {
    blocks.len() == buffers.len() && blocks.iter().zip(buffers).all(|(a, b)| a.id == b.block().id)
}

impl Gathered {
    /// Whether the part may be recorded together with these: nothing that either writes is used by the
    /// other.
    fn takes(&self, part: &Part) -> bool {
        let uses = |blocks: &[Block], buffers: &[&Buffer]| {
            blocks.iter().any(|a| buffers.iter().any(|b| a.id == b.block().id))
        };
        self.key == part.key
            && self.args == part.args
            && same(&self.common, part.common)
            && !uses(&self.common, part.outputs)
            && self.members.iter().all(|member| {
                !uses(&member.outputs, part.inputs)
                    && !uses(&member.outputs, part.outputs)
                    && !uses(&member.inputs, part.outputs)
            })
    }
}

impl Gpu {
    /// Records a launch on one tensor, with those before and after it if they are alike.
    pub(crate) fn gather(&self, part: &Part) -> Result<()> {
        let mut recorder = lock(&self.recorder);
        let started = std::time::Instant::now();
        if recorder.gathered.as_ref().is_some_and(|gathered| !gathered.takes(part)) {
            self.record_gathered(&mut recorder)?;
        }
        let gathered = recorder.gathered.get_or_insert_with(|| Gathered {
            op: part.op,
            key: part.key,
            common: blocks(part.common),
            args: part.args.to_vec(),
            members: Vec::new(),
            shader: part.shader,
            call: profile::open_call(),
        });
        gathered.members.push(Member {
            inputs: blocks(part.inputs),
            outputs: blocks(part.outputs),
            numel: part.numel,
            start: part.start,
        });
        let full = gathered.members.len() == MANY[0] as usize;
        recorder.counters.encode_ns += started.elapsed().as_nanos() as u64;
        if full {
            self.record_gathered(&mut recorder)?;
        }
        Ok(())
    }

    /// Records what is kept back.
    pub(super) fn record_gathered(&self, recorder: &mut Recorder) -> Result<()> {
        let Some(gathered) = recorder.gathered.take() else { return Ok(()) };
        recorder.call = gathered.call;
        let mut members = &gathered.members[..];
        while let Some(first) = members.first() {
            let bound = first.inputs.len() + first.outputs.len();
            let fits = |&&many: &&u32| {
                let bindings = many as usize * bound + gathered.common.len();
                many as usize <= members.len() && (many == 1 || bindings <= self.most_bindings)
            };
            let many = *MANY.iter().find(fits).unwrap_or(&1);
            let (now, later) = members.split_at(many as usize);
            members = later;
            let inputs: Vec<&Block> =
                now.iter().flat_map(|m| &m.inputs).chain(&gathered.common).collect();
            let outputs: Vec<&Block> = now.iter().flat_map(|m| &m.outputs).collect();
            let mut immediates = gathered.args.clone();
            let mut chunks = 0;
            for member in now {
                immediates.extend(member.numel.to_ne_bytes());
                chunks += member.numel.div_ceil(STEP_CHUNK) as u64;
            }
            immediates.extend(now.iter().flat_map(|member| member.start.to_ne_bytes()));
            assert!(immediates.len() <= IMMEDIATES as usize, "{}", gathered.op);
            let (family, variant) = gathered.key;
            let key = (family, variant * 64 + many as u64);
            let groups = self.grid(gathered.op, chunks)?;
            let shader = || (gathered.shader)(variant, many);
            self.record(
                recorder,
                gathered.op,
                key,
                &inputs,
                &outputs,
                &immediates,
                groups,
                shader,
            )?;
        }
        Ok(())
    }
}
