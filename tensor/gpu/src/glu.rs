//! Gated linear units: launches of `glu.wgsl`.

use gradus_base::Result;
use gradus_base::op::glu::Glu;
use gradus_shaders as shaders;

use super::context::Launch;
use super::storage::float;
use super::view::{Array, View};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    numel: u32,
    m: u32,
    x_offset: u32,
    g_offset: u32,
    gate: u32,
    other: u32,
}

impl Args {
    /// `x` is contiguous, its last dimension 2·m.
    fn new(x: View, options: Glu) -> Args {
        let m = x.shape().last().map_or(0, |n| n / 2) as u32;
        let (gate, other) = if options.gate_first { (0, m) } else { (m, 0) };
        let numel = (x.numel() / 2) as u32;
        Args { numel, m, x_offset: x.start(), g_offset: 0, gate, other }
    }
}

/// `x` is contiguous, its last dimension 2·m.
///
/// # Errors
/// If the dtype is neither f32 nor f16, or memory is short.
pub fn glu(x: View, options: Glu) -> Result<Array> {
    let op = "glu";
    let (gpu, scalar, args) = (x.gpu(), float(op, x.dtype())?, Args::new(x, options));
    let mut shape = x.shape().to_vec();
    shape.iter_mut().last().into_iter().for_each(|n| *n /= 2);
    let y = Array::new(op, gpu, &shape, x.dtype())?;
    if args.numel > 0 {
        let launch = Launch {
            op,
            key: (options.gate.unary().name(), 512 + scalar.code()),
            inputs: &[x.buffer()],
            outputs: &[y.buffer()],
            immediates: bytemuck::bytes_of(&args),
            groups: gpu.grid(op, (args.numel as u64).div_ceil(shaders::WORKGROUP as u64))?,
        };
        gpu.launch(&launch, || shaders::glu::glu(options.gate.unary().name(), scalar))?;
    }
    Ok(y)
}

/// The gradient of `x`; both are contiguous.
///
/// # Errors
/// As [`glu`].
pub fn glu_backward(x: View, grad: View, options: Glu) -> Result<Array> {
    let op = "glu_backward";
    let (gpu, scalar, mut args) = (x.gpu(), float(op, x.dtype())?, Args::new(x, options));
    let dx = Array::new(op, gpu, x.shape(), x.dtype())?;
    args.g_offset = grad.start();
    if args.numel > 0 {
        let launch = Launch {
            op,
            key: (options.gate.unary().name(), 768 + scalar.code()),
            inputs: &[x.buffer(), grad.buffer()],
            outputs: &[dx.buffer()],
            immediates: bytemuck::bytes_of(&args),
            groups: gpu.grid(op, (args.numel as u64).div_ceil(shaders::WORKGROUP as u64))?,
        };
        gpu.launch(&launch, || shaders::glu::glu_backward(options.gate.unary().name(), scalar))?;
    }
    Ok(dx)
}
