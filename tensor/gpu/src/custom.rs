//! Kernels of users: launches of the shader that `shaders/src/custom.rs` puts around their text.

use std::hash::{Hash, Hasher};

use gradus_base::{DType, Result, bail};
use gradus_shaders::{Shader, WORKGROUP, custom};
use naga::valid::Capabilities;
use rustc_hash::FxHasher;

use super::context::Launch;
use super::shader::validated;
use super::view::{Array, View};

/// A kernel of a user's own, each element of whose result is a function of the inputs.
#[derive(Clone, Copy, Hash)]
pub struct CustomShader {
    /// The name in errors and profiles.
    pub name: &'static str,
    /// WGSL that defines `fn element(i: u32) -> f32` over the inputs `in0`, `in1`, …
    pub wgsl: &'static str,
    /// The number of inputs.
    pub inputs: u32,
}

impl CustomShader {
    fn shader(&self) -> Shader {
        custom::element(self.name, self.wgsl, self.inputs)
    }

    /// The number that tells kernels of one name apart.
    fn variant(&self) -> u64 {
        let mut hasher = FxHasher::default();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Whether the kernel's text is WGSL that every adapter takes; the error shows the place in a file
/// that has the kernel's name.
///
/// # Errors
/// What `naga` says of the text.
pub fn validate(kernel: &CustomShader) -> Result<(), String> {
    validated(kernel.name, &kernel.shader().source, Capabilities::IMMEDIATES).map(drop)
}

/// The result of a kernel on contiguous inputs of f32.
///
/// # Errors
/// If the dtype is not f32, or memory is short.
pub fn run(kernel: &CustomShader, inputs: Vec<View>, shape: &[usize]) -> Result<Array> {
    let (op, dtype, gpu) = (kernel.name, inputs[0].dtype(), inputs[0].gpu());
    if dtype != DType::F32 {
        bail!(op, "computes on f32 on a GPU, got {dtype}; convert with to_dtype");
    }
    let result = Array::new(op, gpu, shape, dtype)?;
    if result.numel() == 0 {
        return Ok(result);
    }
    // The text indexes buffers from their beginning.
    let inputs: Vec<_> =
        inputs.into_iter().map(|x| x.or_copy(op, x.start() == 0)).collect::<Result<_>>()?;
    let numel = result.numel() as u32;
    let launch = Launch {
        op,
        key: (op, kernel.variant()),
        inputs: &inputs.iter().map(|x| x.buffer()).collect::<Vec<_>>(),
        outputs: &[result.buffer()],
        immediates: bytemuck::bytes_of(&numel),
        groups: gpu.grid(op, u64::from(numel.div_ceil(WORKGROUP)))?,
    };
    gpu.launch(&launch, || kernel.shader())?;
    Ok(result)
}
