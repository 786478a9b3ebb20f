//! Complete shaders of users: they have an entry point of their own, so the threads of a workgroup
//! may share memory and wait for each other.

use std::hash::{Hash, Hasher};

use gradus_base::{DType, Result, bail};
use gradus_shaders::{Needs, Shader};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use rustc_hash::FxHasher;

use super::context::Launch;
use super::pipelines::IMMEDIATES;
use super::view::{View, ViewMut};

/// A complete compute shader of a user's own.
///
/// Its buffers are arrays of f32 in group 0: the inputs (`var<storage, read>`) at bindings 0, 1, …
/// and the result (`var<storage, read_write>`) at the next one. Small arguments are one
/// `var<immediate>`. The device checks every index and ends every loop, but workgroup memory is not
/// zeroed.
#[derive(Clone, Copy, Debug, Hash)]
pub struct CompleteShader {
    /// The name in errors and profiles.
    pub name: &'static str,
    /// WGSL.
    pub wgsl: &'static str,
    /// The name of the entry point.
    pub entry: &'static str,
    /// The number of inputs.
    pub inputs: u32,
}

impl CompleteShader {
    /// Whether the text is WGSL that every adapter takes, with this entry point, and takes
    /// immediates of `bytes` bytes at most. The error shows the place in the text, in a file called
    /// `path`.
    ///
    /// ```
    /// let wgsl = "@compute @workgroup_size(64) fn main() { let x = sinus(1.0); }";
    /// let shader = gradus_gpu::CompleteShader { name: "wave", wgsl, entry: "main", inputs: 0 };
    /// let error = shader.validate("wave.wgsl", 0).unwrap_err();
    /// assert!(error.contains("sinus") && error.contains("wave.wgsl:1:"), "{error}");
    /// ```
    ///
    /// # Errors
    /// What `naga` says of the text; that the entry point is missing, or the immediates are larger.
    pub fn validate(&self, path: &str, bytes: usize) -> Result<(), String> {
        let module = naga::front::wgsl::parse_str(self.wgsl)
            .map_err(|error| error.emit_to_string_with_path(self.wgsl, path))?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::IMMEDIATES);
        let valid = validator.validate(&module);
        valid.map_err(|error| error.emit_to_string_with_path(self.wgsl, path))?;
        let is_entry = |e: &naga::EntryPoint| {
            e.stage == ShaderStage::Compute && e.name == self.entry
        };
        if !module.entry_points.iter().any(is_entry) {
            return Err(format!("{path} has no entry point `@compute fn {}`", self.entry));
        }
        match immediates(&module) {
            wanted if wanted > bytes.min(IMMEDIATES as usize) => Err(format!(
                "{path} wants {wanted} bytes of immediates, but gets {bytes} (at most {IMMEDIATES})"
            )),
            _ => Ok(()),
        }
    }

    fn shader(&self) -> Shader {
        Shader {
            label: format!("complete.{}", self.name),
            source: self.wgsl.into(),
            entry: self.entry,
            inputs: self.inputs,
            outputs: 1,
            needs: Needs { checks: true, ..Needs::default() },
        }
    }
}

/// The bytes of a module's immediates.
fn immediates(module: &Module) -> usize {
    let of = |(_, variable): (_, &naga::GlobalVariable)| match variable.space {
        AddressSpace::Immediate => module.types[variable.ty].inner.size(module.to_ctx()) as usize,
        _ => 0,
    };
    module.global_variables.iter().map(of).sum()
}

/// Runs `groups` workgroups, in one dimension, of a complete shader on contiguous inputs of f32. It
/// writes into `result` what it likes; the rest of `result` stays as it was.
///
/// ```
/// use std::sync::Arc;
///
/// use gradus_gpu::{CompleteShader, View, ViewMut, complete, gpu, gpus, transfer};
///
/// # fn main() -> gradus_base::Result<()> {
/// let Some(info) = gpus().into_iter().next() else { return Ok(()) }; // no GPU here
/// // The sum of 64 numbers, by a tree in workgroup memory.
/// let wgsl = "
///     @group(0) @binding(0) var<storage, read> x: array<f32>;
///     @group(0) @binding(1) var<storage, read_write> y: array<f32>;
///     var<workgroup> lanes: array<f32, 64>;
///     @compute @workgroup_size(64)
///     fn main(@builtin(local_invocation_index) t: u32) {
///         lanes[t] = x[t];
///         workgroupBarrier();
///         for (var half = 32u; half > 0u; half /= 2u) {
///             if (t < half) { lanes[t] += lanes[t + half]; }
///             workgroupBarrier();
///         }
///         if (t == 0u) { y[0] = lanes[0]; }
///     }";
/// let shader = CompleteShader { name: "sum", wgsl, entry: "main", inputs: 1 };
/// let gpu = gpu("example", info.index)?;
/// let x = transfer::upload("example", gpu, &[0.5f32; 64], &[64])?;
/// let (mut storage, dtype, layout) =
///     transfer::upload("example", gpu, &[-1f32; 2], &[2])?.into_parts();
/// let result = ViewMut::new(Arc::get_mut(&mut storage).unwrap(), dtype, &layout);
/// complete::run(&shader, &[x.view()], result, &[], 1)?;
/// let mut values = [0f32; 2];
/// transfer::start_reading("example", View::new(&storage, dtype, &layout))?.wait_into(&mut values)?;
/// assert_eq!(values, [32.0, -1.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the shader is not valid, its bindings are others, the number of inputs is another, a dtype is
/// not f32, the arrays are on several devices, or memory is short.
pub fn run(
    kernel: &CompleteShader,
    inputs: &[View],
    result: ViewMut,
    immediates: &[u8],
    groups: u32,
) -> Result<()> {
    let (op, gpu) = (kernel.name, result.gpu());
    if let Err(error) = kernel.validate(op, immediates.len()) {
        bail!(op, "the shader is not valid: {error}");
    }
    if inputs.len() != kernel.inputs as usize {
        bail!(op, "takes {} inputs, got {}", kernel.inputs, inputs.len());
    }
    let dtypes = inputs.iter().map(|x| x.dtype()).chain([result.dtype()]);
    if let Some(dtype) = dtypes.into_iter().find(|&dtype| dtype != DType::F32) {
        bail!(op, "computes on f32, got {dtype}; convert with to_dtype");
    }
    if inputs.iter().any(|x| !std::ptr::eq(x.gpu(), gpu)) {
        bail!(op, "the arrays are on several devices; move them to one");
    }
    if groups == 0 {
        return Ok(());
    }
    let as_is = |x: &View| x.is_contiguous() && x.start() == 0;
    let inputs: Vec<_> = inputs.iter().map(|x| x.or_copy(op, as_is(x))).collect::<Result<_>>()?;
    let mut hasher = FxHasher::default();
    kernel.hash(&mut hasher);
    let launch = Launch {
        op,
        key: (op, hasher.finish()),
        inputs: &inputs.iter().map(|x| x.buffer()).collect::<Vec<_>>(),
        outputs: &[result.buffer()],
        immediates,
        groups: gpu.grid(op, groups.into())?,
    };
    gpu.launch(&launch, || kernel.shader())
}
