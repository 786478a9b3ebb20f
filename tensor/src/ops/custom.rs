//! Kernels of users.

use std::any::TypeId;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

pub use gradus_cpu::{CustomKernel, Float};
use gradus_gpu::CustomShader;

use super::dispatch::{begin, end};
use super::kernels::{Argument, Cpu, Gpu, tensors_of};
use crate::{DType, Device, Result, Tensor, bail};

impl Tensor {
    /// The result, of shape `shape`, of a user's own kernel on `inputs` of one dtype and one device:
    /// f32 or f64 on the CPU, f32 on GPUs. The kernel sees the inputs in row-major order. Make it an
    /// operation with a gradient by `Var::custom` of `gradus_autograd`.
    ///
    /// ```
    /// use gradus_tensor::ops::custom::{CustomKernel, Float};
    /// use gradus_tensor::Tensor;
    ///
    /// /// a² + b
    /// struct SquareAdd;
    ///
    /// impl CustomKernel for SquareAdd {
    ///     const NAME: &'static str = "square_add";
    ///     const INPUTS: usize = 2;
    ///     const WGSL: &'static str =
    ///         "fn element(i: u32) -> f32 { return in0[i] * in0[i] + in1[i]; }";
    ///
    ///     #[inline(always)]
    ///     fn fill<T: Float>(inputs: &[&[T]], first: usize, out: &mut [T]) {
    ///         let (a, b) = (&inputs[0][first..], &inputs[1][first..]);
    ///         for (i, y) in out.iter_mut().enumerate() {
    ///             *y = a[i] * a[i] + b[i];
    ///         }
    ///     }
    /// }
    ///
    /// let a = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
    /// let b = Tensor::from_slice(&[10f32, 20.0, 30.0], &[3])?;
    /// let y = Tensor::custom::<SquareAdd>(&[&a, &b], &[3])?;
    /// assert_eq!(y.to_vec::<f32>()?, [11.0, 24.0, 39.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the number of inputs is not the kernel's, their dtypes or devices differ, the dtype is not one
    /// of those above, the WGSL is not valid (on any device: it is checked once), or memory is short.
    pub fn custom<K: CustomKernel>(inputs: &[&Tensor], shape: &[usize]) -> Result<Tensor> {
        check::<K>(inputs)?;
        let (device, span) = begin(K::NAME, inputs)?;
        let result = contiguous(inputs).and_then(|inputs| match device {
            Device::Cpu => tensors_of(|| {
                gradus_cpu::custom::run::<K>(Argument::<Cpu>::take(&inputs, K::NAME)?, shape)
            }),
            Device::Gpu(_) => tensors_of(|| {
                let inputs = Argument::<Gpu>::take(&inputs, K::NAME)?;
                gradus_gpu::custom::run(&shader::<K>(), inputs, shape)
            }),
        });
        end(span, &result);
        result
    }
}

fn contiguous(inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    inputs.iter().map(|input| input.contiguous()).collect()
}

/// The kernel as GPUs run it.
fn shader<K: CustomKernel>() -> CustomShader {
    CustomShader { name: K::NAME, wgsl: K::WGSL, inputs: K::INPUTS as u32 }
}

fn check<K: CustomKernel>(inputs: &[&Tensor]) -> Result<()> {
    if inputs.len() != K::INPUTS || inputs.is_empty() {
        bail!(K::NAME, "takes {} inputs, at least one; got {}", K::INPUTS, inputs.len());
    }
    let dtypes: Vec<DType> = inputs.iter().map(|input| input.dtype()).collect();
    if dtypes.iter().any(|&dtype| dtype != dtypes[0]) {
        bail!(K::NAME, "the inputs are {dtypes:?}; convert them to one dtype with to_dtype");
    }
    check_wgsl::<K>()
}

/// Parses and validates the kernel's WGSL, once a process.
fn check_wgsl<K: CustomKernel>() -> Result<()> {
    static CHECKED: Mutex<Option<HashSet<TypeId>>> = Mutex::new(None);
    let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    let checked = checked.get_or_insert_default();
    if !checked.contains(&TypeId::of::<K>()) {
        if let Err(error) = gradus_gpu::custom::validate(&shader::<K>()) {
            bail!(K::NAME, "the kernel's WGSL is not valid: {error}");
        }
        checked.insert(TypeId::of::<K>());
    }
    Ok(())
}
