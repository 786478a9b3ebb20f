//! Kernels of users: `out[i] = f(inputs, i)` by a function over slices.
//!
//! Split: the result, into pieces of [`TASK`] elements. The function is compiled for the widest
//! registers, if it is inlined into [`CustomKernel::fill`] (see `simd.rs`).

use gradus_base::{Result, dispatch_float};

use super::math::Float;
use super::parallel;
use super::simd;
use super::storage::Output;
use super::view::{Array, View};

/// Elements of one task.
const TASK: usize = 16 * 1024;

/// An operation of a user's own, each element of whose result is a function of the inputs: for the CPU
/// a function over slices, for GPUs a text in WGSL. `Tensor::custom` runs it.
pub trait CustomKernel: Send + Sync + 'static {
    /// The name in errors, profiles and graphs.
    const NAME: &'static str;

    /// The number of inputs.
    const INPUTS: usize;

    /// WGSL that defines `fn element(i: u32) -> f32`: the element at flat index i of the result. It
    /// reads the inputs, in row-major order, as `in0[j]`, `in1[j]`, …
    const WGSL: &'static str;

    /// Nanoseconds that one element takes on one core: enough of them are worth several threads.
    const NANOSECONDS: f64 = 1.0;

    /// Writes elements `first..first + out.len()` of the result. The inputs are whole, in row-major
    /// order. In f32 this computes the same as [`WGSL`](CustomKernel::WGSL); in f64 it serves gradient
    /// checks. Mark it `#[inline(always)]`, and the closures in it.
    fn fill<T: Float>(inputs: &[&[T]], first: usize, out: &mut [T]);
}

/// The result of kernel `K` on contiguous inputs of one dtype.
///
/// # Errors
/// If the dtype is neither f32 nor f64, or memory is short.
pub fn run<K: CustomKernel>(inputs: Vec<View>, shape: &[usize]) -> Result<Array> {
    dispatch_float!(K::NAME, inputs[0].dtype(), run_of::<K, T>(&inputs, shape))
}

fn run_of<K: CustomKernel, T: Float>(inputs: &[View], shape: &[usize]) -> Result<Array> {
    let mut out = Output::<T>::new(K::NAME, shape)?;
    let inputs: Vec<&[T]> = inputs.iter().map(|input| input.slice()).collect();
    parallel::rows_ragged(out.slice_mut(), TASK, K::NANOSECONDS, |first, piece| {
        simd::dispatch::<true, T, _>(
            #[inline(always)]
            || K::fill(&inputs, first, piece),
        );
    });
    Ok(out.into_array(shape))
}
