//! Cross-entropy: launches of `cross_entropy.wgsl`.

use gradus_base::op::cross_entropy::{Logits, Reduction, check_targets};
use gradus_base::{DType, Result, bail};
use gradus_shaders::{Shader, WORKGROUP, cross_entropy as shaders};

use super::context::{Gpu, Launch};
use super::copy::full;
use super::transfer;
use super::view::{Array, View};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    rows: u32,
    classes: u32,
    x_offset: u32,
    y_offset: u32,
    weight_offset: u32,
    lse_offset: u32,
    grad_offset: u32,
    grad_step: u32,
    ignores: u32,
    ignore: u32,
    mean: u32,
    hard: f32,
    soft: f32,
}

impl Args {
    /// Also checks the dtype and the targets.
    fn new(op: &'static str, logits: Logits<View>) -> Result<Args> {
        let Logits { x, targets, weight, options } = logits;
        let (rows, classes) = (x.shape()[0], x.shape()[1]);
        if x.dtype() != DType::F32 {
            bail!(op, DType, "computes on f32 on a GPU, got {}; convert with to_dtype", x.dtype());
        }
        let here = transfer::values(op, targets)?;
        check_targets(op, &here, classes, options.ignore_index)?;
        Ok(Args {
            rows: rows as u32,
            classes: classes as u32,
            x_offset: x.start(),
            y_offset: targets.start(),
            weight_offset: weight.map_or(0, View::start),
            lse_offset: 0,
            grad_offset: 0,
            grad_step: (options.reduction == Reduction::None) as u32,
            ignores: options.ignore_index.is_some() as u32,
            ignore: options.ignore_index.unwrap_or(0),
            mean: (options.reduction == Reduction::Mean) as u32,
            hard: (1.0 - options.label_smoothing) as f32,
            soft: (options.label_smoothing / classes as f64) as f32,
        })
    }
}

/// The arguments that all launches of one call share.
struct Call<'a> {
    op: &'static str,
    gpu: &'static Gpu,
    args: Args,
    weight: Option<View<'a>>,
}

/// One launch of a call: the kernel's name and variant, what it reads besides the class weights,
/// what it writes, and its workgroups.
struct Step<'a> {
    kernel: (&'static str, u32),
    inputs: &'a [View<'a>],
    outputs: &'a [&'a Array],
    groups: u64,
}

impl Call<'_> {
    fn launch(&self, step: &Step, shader: impl FnOnce(bool) -> Shader) -> Result<()> {
        let weighted = self.weight.is_some();
        let inputs = step.inputs.iter().copied().chain(self.weight);
        let (name, variant) = step.kernel;
        let launch = Launch {
            op: self.op,
            key: (name, variant as u64 * 2 + weighted as u64),
            inputs: &inputs.map(View::buffer).collect::<Vec<_>>(),
            outputs: &step.outputs.iter().map(|t| t.buffer()).collect::<Vec<_>>(),
            immediates: bytemuck::bytes_of(&self.args),
            groups: self.gpu.grid(self.op, step.groups)?,
        };
        self.gpu.launch(&launch, || shader(weighted))
    }
}

/// The loss, and the parts of each row's lse. Inputs are contiguous and of fitting shapes.
///
/// # Errors
/// If the dtype is not f32, a target is neither a class nor ignored, or memory is short.
pub fn forward(logits: Logits<View>) -> Result<(Array, Array)> {
    let Logits { x, targets, weight, options } = logits;
    let (op, gpu, n) = ("cross_entropy", x.gpu(), x.shape()[0]);
    let args = Args::new(op, logits)?;
    let call = Call { op, gpu, args, weight };
    let losses = Array::new(op, gpu, &[n], DType::F32)?;
    let lse = Array::new(op, gpu, &[n, 2], DType::F32)?;
    if n > 0 {
        let threads = shaders::threads(x.shape()[1]);
        let kernel = ("cross_entropy.rows", threads);
        let (inputs, outputs) = (&[x, targets], &[&losses, &lse]);
        let step = Step { kernel, inputs, outputs, groups: n as u64 };
        call.launch(&step, |weighted| shaders::rows(weighted, threads))?;
    }
    let loss = match options.reduction {
        Reduction::None => losses,
        // Without rows the sum is 0 and the mean NaN.
        Reduction::Sum if n == 0 => full(op, gpu, &[], 0.0, DType::F32)?,
        Reduction::Mean if n == 0 => full(op, gpu, &[], f64::NAN, DType::F32)?,
        Reduction::Sum | Reduction::Mean => {
            let loss = Array::new(op, gpu, &[], DType::F32)?;
            let (inputs, outputs) = (&[losses.view(), targets], &[&loss]);
            let step = Step { kernel: ("cross_entropy.total", 0), inputs, outputs, groups: 1 };
            call.launch(&step, shaders::total)?;
            loss
        }
    };
    Ok((loss, lse))
}

/// The gradient of the logits. Inputs are contiguous and of fitting shapes.
///
/// # Errors
/// As [`forward`].
pub fn backward(logits: Logits<View>, lse: View, grad: View) -> Result<Array> {
    let Logits { x, targets, weight, .. } = logits;
    let (op, gpu) = ("cross_entropy_backward", x.gpu());
    let mut args = Args::new(op, logits)?;
    (args.lse_offset, args.grad_offset) = (lse.start(), grad.start());
    let call = Call { op, gpu, args, weight };
    let dx = Array::new(op, gpu, x.shape(), DType::F32)?;
    if dx.numel() == 0 {
        return Ok(dx);
    }
    let terms = Array::new(op, gpu, &[2], DType::F32)?;
    let kernel = ("cross_entropy.terms", 0);
    let step = Step { kernel, inputs: &[targets], outputs: &[&terms], groups: 1 };
    call.launch(&step, shaders::terms)?;
    let kernel = ("cross_entropy.backward", 0);
    let inputs = &[x, targets, lse, grad, terms.view()];
    let groups = (dx.numel() as u64).div_ceil(WORKGROUP as u64);
    call.launch(&Step { kernel, inputs, outputs: &[&dx], groups }, shaders::backward)?;
    Ok(dx)
}
