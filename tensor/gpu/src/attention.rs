//! Attention over packed sequences: launches of `attention.wgsl`.
//!
//! The denominators are f32 for every dtype of the operands.

use gradus_base::op::attention::{Attention, GradientLayout, Sequences, Sight};
use gradus_base::op::reduce::ReduceOp;
use gradus_base::{DType, Result, bail};
use gradus_shaders as shaders;
use gradus_shaders::attention::Variant;

use super::context::{Gpu, Launch};
use super::copy::{convert, full};
use super::drops::Drops;
use super::memory::Buffer;
use super::reduce;
use super::storage::float;
use super::view::{Array, View, ViewOrCopy};

const OP: &str = "attention";

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    tokens: u32,
    heads: u32,
    sequences: u32,
    units: u32,
    q: [u32; 2],
    k: [u32; 2],
    v: [u32; 2],
    g: [u32; 2],
    offsets_start: u32,
    l_start: u32,
    scale: f32,
    least: u32,
    keep: f32,
    key: [u32; 2],
    threads: u32,
    piece: u32,
    d_row: u32,
    d_part: u32,
    before: u32,
    ahead: u32,
    bias_start: u32,
    reach: u32,
}

/// The first element, and the distance between rows.
fn rows(x: View) -> [u32; 2] {
    [x.start(), x.strides()[0] as u32]
}

impl Args {
    fn new(q: View, k: View, v: View, offsets: View, options: &Attention) -> Args {
        let (tokens, heads) = (q.shape()[0] as u32, options.heads as u32);
        let drops = Drops::of(options.dropout);
        Args {
            tokens,
            heads,
            sequences: offsets.numel() as u32 - 1,
            units: 0,
            q: rows(q),
            k: rows(k),
            v: rows(v),
            g: [0; 2],
            offsets_start: offsets.start(),
            l_start: 0,
            scale: options.scale as f32,
            least: drops.least,
            keep: drops.scale,
            key: drops.key,
            threads: shaders::attention::THREADS,
            piece: 0,
            d_row: 0,
            d_part: 0,
            before: 0,
            ahead: 0,
            bias_start: 0,
            reach: 0,
        }
        .seeing(options.sight())
    }

    /// How far the walk goes before and after a row's token.
    fn seeing(mut self, sight: Sight) -> Args {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (self.before, self.ahead) = (count(sight.before), count(sight.after.saturating_add(1)));
        self
    }

    /// One workgroup for each head, of size `d`, of each block of tokens.
    fn groups(&mut self, gpu: &Gpu, d: u32) -> Result<[u32; 3]> {
        let units = self.tokens.div_ceil(shaders::attention::block(d)) as u64 * self.heads as u64;
        let Ok(counted) = u32::try_from(units) else {
            bail!(
                OP,
                Device,
                "{} tokens and {} heads are more than one launch takes",
                self.tokens,
                self.heads
            );
        };
        self.units = counted;
        gpu.grid(OP, units)
    }
}

/// The operands as kernels read them.
struct Operands<'a> {
    q: ViewOrCopy<'a>,
    k: ViewOrCopy<'a>,
    v: ViewOrCopy<'a>,
    /// In f32.
    bias: Option<ViewOrCopy<'a>>,
    offsets: ViewOrCopy<'a>,
    variant: Variant,
}

/// A matrix whose columns lie next to each other: itself, or a copy where they do not.
fn unit_columns(x: View) -> Result<ViewOrCopy> {
    x.or_copy(OP, x.strides()[1] == 1)
}

impl<'a> Operands<'a> {
    fn new(
        sequences: Sequences<View<'a>>,
        options: &Attention,
        bias_gradient: bool,
    ) -> Result<Self> {
        let Sequences { q, k, v, bias, offsets, .. } = sequences;
        let variant = Variant {
            scalar: float(OP, q.dtype())?,
            d: (q.shape()[1] / options.heads) as u32,
            dropout: options.dropout.is_some(),
            bias: bias.is_some(),
            bias_gradient,
        };
        let bias = bias.map(|bias| bias.contiguous_in(OP, DType::F32)).transpose()?;
        let (q, k, v) = (unit_columns(q)?, unit_columns(k)?, unit_columns(v)?);
        Ok(Operands { q, k, v, bias, offsets: offsets.contiguous(OP)?, variant })
    }

    fn args(&self, options: &Attention) -> Args {
        let (q, k, v) = (self.q.view(), self.k.view(), self.v.view());
        let mut args = Args::new(q, k, v, self.offsets.view(), options);
        args.piece = shaders::attention::piece(self.variant.d);
        if let Some(bias) = &self.bias {
            (args.bias_start, args.reach) = (bias.start(), bias.view().shape()[1] as u32 / 2);
        }
        args
    }

    /// The buffers of query, key, value and offsets, of `more`, and of the bias if there is one.
    fn buffers<'b>(&'b self, more: &[&'b Buffer]) -> Vec<&'b Buffer> {
        let first = [&self.q, &self.k, &self.v, &self.offsets].map(ViewOrCopy::buffer);
        let bias = self.bias.iter().map(ViewOrCopy::buffer);
        first.into_iter().chain(more.iter().copied()).chain(bias).collect()
    }
}

/// The output `[tokens, heads·d]`, and the logarithms of the denominators `[heads, tokens]`.
///
/// # Errors
/// If the dtype is neither f32 nor f16, the launch is too large, or memory is short.
pub fn forward(sequences: Sequences<View>, options: &Attention) -> Result<(Array, Array)> {
    let (q, gpu) = (sequences.q, sequences.q.gpu());
    let out = Array::new(OP, gpu, q.shape(), q.dtype())?;
    let lse = Array::new(OP, gpu, &[options.heads, q.shape()[0]], DType::F32)?;
    if q.shape()[0] == 0 {
        return Ok((out, lse));
    }
    let operands = Operands::new(sequences, options, false)?;
    let mut args = operands.args(options);
    let groups = args.groups(gpu, operands.variant.d)?;
    let launch = Launch {
        op: OP,
        key: ("attention.forward", operands.variant.key()),
        inputs: &operands.buffers(&[]),
        outputs: &[out.buffer(), lse.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups,
    };
    gpu.launch(&launch, || shaders::attention::forward(operands.variant))?;
    Ok((out, lse))
}

/// The gradients of query, key and value in one array, as `layout` says, and that of the bias if
/// it is wanted.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    sequences: Sequences<View>,
    lse: View,
    grad: View,
    options: &Attention,
    layout: GradientLayout,
) -> Result<(Array, Option<Array>)> {
    let (q, gpu) = (sequences.q, sequences.q.gpu());
    let (tokens, wanted) = (q.shape()[0], sequences.bias.filter(|_| layout.bias));
    let grads = Array::new(OP, gpu, &[3 * q.numel()], q.dtype())?;
    if tokens == 0 {
        let dbias = wanted.map(|bias| full(OP, gpu, bias.shape(), 0.0, bias.dtype()));
        return Ok((grads, dbias.transpose()?));
    }
    let grad = grad.to_dtype(OP, q.dtype())?;
    let grad = unit_columns(grad.view())?;
    let lse = lse.contiguous_in(OP, DType::F32)?;
    let operands = Operands::new(sequences, options, wanted.is_some())?;
    // For each row: the logarithm of the denominator, and Σ dP·P.
    let sums = Array::new(OP, gpu, &[2, options.heads, tokens], DType::F32)?;
    let blocks = tokens.div_ceil(shaders::attention::block(operands.variant.d) as usize);
    let parts = wanted.map(|bias| parts(gpu, blocks, bias)).transpose()?;
    let mut args = operands.args(options);
    let groups = args.groups(gpu, operands.variant.d)?;
    (args.g, args.l_start) = (rows(grad.view()), lse.start());
    (args.d_row, args.d_part) = (layout.row as u32, layout.part as u32);
    let variant = operands.variant;
    let launch = Launch {
        op: OP,
        key: ("attention.backward_q", variant.key()),
        inputs: &operands.buffers(&[lse.buffer(), grad.buffer()]),
        outputs: &[&grads, &sums].into_iter().chain(&parts).map(Array::buffer).collect::<Vec<_>>(),
        immediates: bytemuck::bytes_of(&args),
        groups,
    };
    gpu.launch(&launch, || shaders::attention::backward_q(variant))?;
    let args = args.seeing(options.sight().reversed());
    let launch = Launch {
        op: OP,
        key: ("attention.backward_k", Variant { bias_gradient: false, ..variant }.key()),
        inputs: &operands.buffers(&[sums.buffer(), grad.buffer()]),
        outputs: &[grads.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups,
    };
    gpu.launch(&launch, || shaders::attention::backward_k(variant))?;
    let total = |parts| total(parts, wanted.map_or(DType::F32, |bias| bias.dtype()));
    Ok((grads, parts.map(total).transpose()?))
}

/// Memory for the gradient of the bias by blocks of tokens: `[blocks, heads, 2·reach + 1]`.
fn parts(gpu: &'static Gpu, blocks: usize, bias: View) -> Result<Array> {
    Array::new(OP, gpu, &[blocks, bias.shape()[0], bias.shape()[1]], DType::F32)
}

/// The sum of the blocks' gradients.
fn total(parts: Array, dtype: DType) -> Result<Array> {
    let (blocks, shape) = (parts.shape()[0], parts.shape()[1..].to_vec());
    let sums = match blocks {
        1 => parts,
        _ => reduce::forward(parts.view(), ReduceOp::Sum, &[0], blocks)?,
    };
    let sums = sums.reshape(&shape);
    if dtype == DType::F32 { Ok(sums) } else { convert(OP, sums.view(), dtype) }
}
