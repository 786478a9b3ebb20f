//! Attention over packed sequences: launches of `attention.wgsl`.
//!
//! The denominators are f32 for every dtype of the operands.

use gradus_base::op::attention::{Attention, GradientLayout, Sequences};
use gradus_base::{DType, Result, bail};
use gradus_shaders as shaders;

use super::context::{Gpu, Launch};
use super::drops::Drops;
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
    block: u32,
    piece: u32,
    d_row: u32,
    d_part: u32,
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
            block: shaders::attention::BLOCK,
            piece: 0,
            d_row: 0,
            d_part: 0,
        }
    }

    /// One workgroup for each head of each block of tokens.
    fn groups(&mut self, gpu: &Gpu) -> Result<[u32; 3]> {
        let units = self.tokens.div_ceil(shaders::attention::BLOCK) as u64 * self.heads as u64;
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

/// A number for each variant of a kernel.
fn variant(scalar: shaders::Scalar, d: usize, options: &Attention) -> u64 {
    ((d as u64) << 8) + scalar.code() * 2 + options.dropout.is_some() as u64
}

/// A matrix whose columns lie next to each other: itself, or a copy where they do not.
fn unit_columns(x: View) -> Result<ViewOrCopy> {
    x.or_copy(OP, x.strides()[1] == 1)
}

/// The output `[tokens, heads·d]`, and the logarithms of the denominators `[heads, tokens]`.
///
/// # Errors
/// If the dtype is neither f32 nor f16, the launch is too large, or memory is short.
pub fn forward(sequences: Sequences<View>, options: &Attention) -> Result<(Array, Array)> {
    let Sequences { q, k, v, offsets, .. } = sequences;
    let scalar = float(OP, q.dtype())?;
    let (gpu, tokens, d) = (q.gpu(), q.shape()[0], q.shape()[1] / options.heads);
    let out = Array::new(OP, gpu, q.shape(), q.dtype())?;
    let lse = Array::new(OP, gpu, &[options.heads, tokens], DType::F32)?;
    if tokens == 0 {
        return Ok((out, lse));
    }
    let (q, k, v) = (unit_columns(q)?, unit_columns(k)?, unit_columns(v)?);
    let offsets = offsets.contiguous(OP)?;
    let mut args = Args::new(q.view(), k.view(), v.view(), offsets.view(), options);
    let groups = args.groups(gpu)?;
    args.piece = shaders::attention::piece(d as u32, false);
    let launch = Launch {
        op: OP,
        key: ("attention.forward", variant(scalar, d, options)),
        inputs: &[q.buffer(), k.buffer(), v.buffer(), offsets.buffer()],
        outputs: &[out.buffer(), lse.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups,
    };
    gpu.launch(&launch, || {
        shaders::attention::forward(scalar, d as u32, options.dropout.is_some())
    })?;
    Ok((out, lse))
}

/// The gradients of query, key and value in one array, as `layout` says.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    sequences: Sequences<View>,
    lse: View,
    grad: View,
    options: &Attention,
    layout: GradientLayout,
) -> Result<Array> {
    let Sequences { q, k, v, offsets, .. } = sequences;
    let scalar = float(OP, q.dtype())?;
    let (gpu, tokens, d) = (q.gpu(), q.shape()[0], q.shape()[1] / options.heads);
    let grads = Array::new(OP, gpu, &[3 * q.numel()], q.dtype())?;
    if tokens == 0 {
        return Ok(grads);
    }
    let grad = grad.to_dtype(OP, q.dtype())?;
    let grad = unit_columns(grad.view())?;
    let (q, k, v) = (unit_columns(q)?, unit_columns(k)?, unit_columns(v)?);
    let lse = lse.contiguous_in(OP, DType::F32)?;
    let offsets = offsets.contiguous(OP)?;
    // For each row: the logarithm of the denominator, and Σ dP·P.
    let sums = Array::new(OP, gpu, &[2, options.heads, tokens], DType::F32)?;
    let mut args = Args::new(q.view(), k.view(), v.view(), offsets.view(), options);
    let groups = args.groups(gpu)?;
    args.piece = shaders::attention::piece(d as u32, true);
    args.g = rows(grad.view());
    args.l_start = lse.start();
    (args.d_row, args.d_part) = (layout.row as u32, layout.part as u32);
    let dropout = options.dropout.is_some();
    let [q, k, v, offsets] = [q.buffer(), k.buffer(), v.buffer(), offsets.buffer()];
    let mut launch = Launch {
        op: OP,
        key: ("attention.backward_q", variant(scalar, d, options)),
        inputs: &[q, k, v, offsets, lse.buffer(), grad.buffer()],
        outputs: &[grads.buffer(), sums.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups,
    };
    gpu.launch(&launch, || shaders::attention::backward_q(scalar, d as u32, dropout))?;
    launch.key.0 = "attention.backward_k";
    let inputs = [q, k, v, offsets, sums.buffer(), grad.buffer()];
    launch.inputs = &inputs;
    let outputs = [grads.buffer()];
    launch.outputs = &outputs;
    gpu.launch(&launch, || shaders::attention::backward_k(scalar, d as u32, dropout))?;
    Ok(grads)
}
