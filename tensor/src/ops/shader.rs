//! Whole compute shaders of users.

pub use gradus_gpu::UserShader;

use super::dispatch::common;
use super::kernels::{Gpu, Kernels};
use crate::{Device, Result, Tensor, bail};

const OP: &str = "shader";

/// Launches the entry point `entry` of a user's shader on tensors of one GPU. It writes the
/// `outputs` in place. Its buffers are, in group 0 and in this order, the `inputs`, which are
/// contiguous, and the `outputs`; `arguments` are its `var<immediate>`, at most 32 words.
///
/// Every index is checked, so a wrong shader gives wrong numbers, but reads no memory that is not
/// its own. For a function of single elements [`Tensor::custom`] is simpler, and has a twin on the
/// CPU.
///
/// ```
/// use gradus_tensor::ops::shader::{UserShader, launch};
/// use gradus_tensor::{Device, Tensor, gpus};
///
/// let reversed = UserShader::parse(
///     "reverse.wgsl",
///     "var<immediate> n: u32;
///      @group(0) @binding(0) var<storage, read> x: array<f32>;
///      @group(0) @binding(1) var<storage, read_write> y: array<f32>;
///      @compute @workgroup_size(64)
///      fn reverse(@builtin(global_invocation_id) id: vec3<u32>) {
///          if (id.x < n) { y[id.x] = x[n - 1u - id.x]; }
///      }",
/// )?;
/// let Some(gpu) = gpus().into_iter().next() else { return Ok(()) }; // no GPU here
/// let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?.to_device(Device::gpu(gpu.index)?)?;
/// let mut y = x.zeros_like()?;
/// launch(&reversed, "reverse", &[&x], &mut [&mut y], &[3], [1, 1, 1])?;
/// assert_eq!(y.to_vec::<f32>()?, [3.0, 2.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If there is no output, the tensors lie on the CPU or on several devices, an input is not
/// contiguous, the numbers of buffers or workgroups are not the shader's or the device's, or it
/// does not compile there.
pub fn launch(
    shader: &UserShader,
    entry: &str,
    inputs: &[&Tensor],
    outputs: &mut [&mut Tensor],
    arguments: &[u32],
    groups: [u32; 3],
) -> Result<()> {
    let all: Vec<&Tensor> = inputs.iter().copied().chain(outputs.iter().map(|y| &**y)).collect();
    if common(OP, &all)? == Device::Cpu {
        bail!(OP, Device, "a shader runs on a GPU, and the tensors lie on the CPU; use to_device");
    }
    let views = inputs.iter().map(|x| Gpu::view(x)).collect();
    let written = outputs.iter_mut().map(|y| Gpu::view_mut(y, OP)).collect::<Result<_>>()?;
    let bytes: Vec<u8> = arguments.iter().flat_map(|word| word.to_le_bytes()).collect();
    gradus_gpu::shader::launch(OP, shader, entry, (views, written), &bytes, groups)
}
