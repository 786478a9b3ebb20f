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
        let is_entry =
            |e: &naga::EntryPoint| e.stage == ShaderStage::Compute && e.name == self.entry;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{gpu, gpus, transfer};

    const SCALE: &str = "
        struct Arguments { n: u32, factor: f32 }
        var<immediate> arguments: Arguments;
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if (id.x < arguments.n) { y[id.x] = arguments.factor * x[id.x]; }
        }";

    fn scale() -> CompleteShader {
        CompleteShader { name: "scale", wgsl: SCALE, entry: "main", inputs: 1 }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(scale().validate("scale.wgsl", 8), Ok(()));
        let other = CompleteShader { entry: "run", ..scale() }.validate("scale.wgsl", 8);
        assert!(other.unwrap_err().contains("scale.wgsl has no entry point `@compute fn run`"));
        let short = scale().validate("scale.wgsl", 4).unwrap_err();
        assert!(short.contains("wants 8 bytes of immediates, but gets 4"), "{short}");
        let wgsl = "@compute @workgroup_size(1) fn main() { lanes[0] = 1.0; }";
        let error = CompleteShader { wgsl, ..scale() }.validate("lanes.wgsl", 0).unwrap_err();
        assert!(error.contains("lanes.wgsl:1:41"), "{error}");
    }

    #[test]
    fn it_writes_a_part_of_the_result() {
        let Some(info) = gpus().into_iter().next() else { return };
        let gpu = gpu("test", info.index).unwrap();
        let up = |x: &[f32]| transfer::upload("test", gpu, x, &[x.len()]).unwrap();
        let x = up(&[0.0, 1.0, 2.0, 3.0]);
        // A view that begins later is read from its beginning.
        let layout = gradus_base::Layout { offset: 1, ..gradus_base::Layout::contiguous(&[3]) };
        let (mut storage, dtype, whole) = up(&[7.0; 5]).into_parts();
        let arguments = [3u32.to_ne_bytes(), 2f32.to_ne_bytes()].concat();
        let mut launch = |shader: CompleteShader, inputs: &[View], arguments: &[u8]| {
            let result = ViewMut::new(Arc::get_mut(&mut storage).unwrap(), dtype, &whole);
            run(&shader, inputs, result, arguments, 1).map_err(|error| error.to_string())
        };
        launch(scale(), &[x.view().with(&layout)], &arguments).unwrap();
        let none = launch(scale(), &[], &arguments).unwrap_err();
        assert!(none.contains("[scale] takes 1 inputs, got 0"), "{none}");
        let short = launch(scale(), &[x.view()], &arguments[..4]).unwrap_err();
        assert!(short.contains("[scale]") && short.contains("immediates"), "{short}");
        let bound = launch(CompleteShader { inputs: 0, ..scale() }, &[], &arguments).unwrap_err();
        assert!(bound.contains("does not compile"), "{bound}");
        let mut values = [0f32; 5];
        let view = View::new(&storage, dtype, &whole);
        transfer::start_reading("test", view).unwrap().wait_into(&mut values).unwrap();
        assert_eq!(values, [2.0, 4.0, 6.0, 7.0, 7.0]);
    }
}
