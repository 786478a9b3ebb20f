//! Kernels of users: launches of the shader that `shaders/src/custom.rs` puts around their text.

use std::hash::{Hash, Hasher};

use gradus_cpu::CustomKernel;
use gradus_shaders::{Shader, WORKGROUP, custom};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use rustc_hash::FxHasher;

use super::context::Launch;
use super::storage::output;
use crate::{DType, Result, Tensor, bail};

fn shader<K: CustomKernel>() -> Shader {
    custom::element(K::NAME, K::WGSL, K::INPUTS as u32)
}

/// Whether the kernel's text is WGSL that every adapter takes; the error shows the place.
pub(crate) fn validate<K: CustomKernel>() -> Result<(), String> {
    let shader = shader::<K>();
    let module = naga::front::wgsl::parse_str(&shader.source)
        .map_err(|error| error.emit_to_string(&shader.source))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::IMMEDIATES);
    let valid = validator.validate(&module);
    valid.map(|_| ()).map_err(|error| error.emit_to_string(&shader.source))
}

/// The number that tells kernels of one name apart.
fn variant<K: CustomKernel>() -> u64 {
    let mut hasher = FxHasher::default();
    (K::WGSL, K::INPUTS).hash(&mut hasher);
    hasher.finish()
}

/// The result of kernel `K` on contiguous inputs of f32.
pub(crate) fn run<K: CustomKernel>(inputs: &[Tensor], shape: &[usize]) -> Result<Tensor> {
    let dtype = inputs[0].dtype();
    if dtype != DType::F32 {
        bail!(K::NAME, "computes on f32 on a GPU, got {dtype}; convert with to_dtype");
    }
    let gpu = inputs[0].gpu();
    let result = output(K::NAME, gpu, shape, dtype)?;
    if result.numel() == 0 {
        return Ok(result);
    }
    // The text indexes buffers from their beginning.
    let inputs: Vec<Tensor> = inputs.iter().map(from_beginning).collect::<Result<_>>()?;
    let buffers: Vec<_> = inputs.iter().map(|input| input.buffer()).collect();
    let numel = result.numel() as u32;
    let launch = Launch {
        op: K::NAME,
        key: (K::NAME, variant::<K>()),
        inputs: &buffers,
        outputs: &[result.buffer()],
        immediates: bytemuck::bytes_of(&numel),
        groups: gpu.grid(K::NAME, u64::from(numel.div_ceil(WORKGROUP)))?,
    };
    gpu.launch(&launch, shader::<K>)?;
    Ok(result)
}

fn from_beginning(input: &Tensor) -> Result<Tensor> {
    if input.start() == 0 { Ok(input.clone()) } else { input.copy() }
}
