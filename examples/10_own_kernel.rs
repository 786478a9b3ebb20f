//! An operation with kernels of your own: Snake, x + sin²x (Ziyin, Hartwig & Ueda, arXiv:2006.08195),
//! for the CPU and for GPUs, with its gradient.
//!
//! `cargo run --release --example 10_own_kernel`

use gradus::autograd::{GradCheck, gradcheck, gradgradcheck};
use gradus::prelude::*;
use gradus::tensor::gpus;
use gradus::tensor::ops::custom::{CustomKernel, Float};

struct Snake;

impl CustomKernel for Snake {
    const NAME: &'static str = "snake";
    const INPUTS: usize = 1;

    /// GPUs: the element at flat index i of the result. naga checks the text before its first use.
    const WGSL: &'static str = "
        fn element(i: u32) -> f32 {
            let s = sin(in0[i]);
            return in0[i] + s * s;
        }";

    /// The CPU: a piece of the result, which begins at element `first`. The engine splits the work
    /// between threads and compiles this for the widest registers.
    #[inline(always)]
    fn fill<T: Float>(inputs: &[&[T]], first: usize, out: &mut [T]) {
        for (y, &x) in out.iter_mut().zip(&inputs[0][first..]) {
            let s = x.sin();
            *y = x + s * s;
        }
    }
}

/// The operation: its value comes from the kernel, its rule is written in other operations, so that it
/// can be differentiated again. d(x + sin²x)/dx = 1 + sin 2x.
fn snake(x: &Var) -> Result<Var> {
    let y = Tensor::custom::<Snake>(&[x.tensor()], x.shape())?;
    Var::custom("snake", y, &[x], |context| {
        let slope = context.input(0).mul_scalar(2.0)?.sin()?.add_scalar(1.0)?;
        Ok(vec![Some(context.grad().mul(&slope)?)])
    })
}

fn main() -> Result<()> {
    // Finite differences in f64 agree with the rule, and with the rule's own rule.
    let x = Tensor::randn(&[5, 7], DType::F64, RngKey::new(1))?;
    let check = GradCheck::new("snake", 1);
    gradcheck(|v| snake(&v[0]), std::slice::from_ref(&x), &check)?;
    gradgradcheck(|v| snake(&v[0]), std::slice::from_ref(&x), &check)?;
    println!("the gradient agrees with finite differences");

    let x = x.to_dtype(DType::F32)?;
    let on_cpu = snake(&Var::constant(x.clone()))?;
    println!("snake of the first row: {}", on_cpu.tensor().narrow(0, 0, 1)?);
    if let Some(info) = gpus().first() {
        let there = Var::constant(x.to_device(Device::gpu(info.index)?)?);
        let difference = (snake(&there)?.tensor().to_device(Device::Cpu)? - on_cpu.tensor())?;
        let largest = difference.abs()?.max(&[], false)?.item()?;
        println!("on {} it differs by at most {largest:.1e}", info.name);
        assert!(largest < 1e-5);
    }
    Ok(())
}
