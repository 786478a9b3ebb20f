//! C = A·B, A `[m, k]`, B `[k, n]`, C `[m, n]`, all row-major.

mod bf16;
mod blocks;
mod epilogue;
mod gpu;
mod ijk;
mod ikj;
mod int8;
mod panels;
mod reference;
mod register_tile;
mod shipped;
mod threads;
mod wide;

use std::sync::Arc;

use gradus_cli::Outcome;
use gradus_tensor::{Device, Result, Tensor};

use crate::check::Expected;
use crate::family::{self, Lab, Ready, Run, Settings, Slices, Tensors, Work};
use crate::step::{Step, step};
use reference::Reference;

#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub m: usize,
    pub k: usize,
    pub n: usize,
}

/// How a step computes, and what it must give.
enum How {
    /// C from A and B.
    Slices(fn(Sizes, &[f32], &[f32], &mut [f32])),
    /// C from A and B by the engine.
    Product(fn(&Tensor, &Tensor) -> Result<Tensor>),
    /// GELU(C + bias) from A, Bᵀ and the bias.
    Gelu(fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>),
    /// C from A and Bᵀ in numbers of this kind.
    Low(fn(&Tensor, &Tensor) -> Result<Tensor>, reference::Rounding),
}

/// The steps on the CPU.
const CPU: &[(Step, How)] = &[
    (step!("bench/lab/src/matmul/ijk.rs"), How::Slices(ijk::product)),
    (step!("bench/lab/src/matmul/ikj.rs"), How::Slices(ikj::product)),
    (step!("bench/lab/src/matmul/register_tile.rs"), How::Slices(register_tile::product)),
    (step!("bench/lab/src/matmul/panels.rs"), How::Slices(panels::product)),
    (step!("bench/lab/src/matmul/blocks.rs"), How::Slices(blocks::product)),
    (step!("bench/lab/src/matmul/wide.rs"), How::Slices(wide::product)),
    (step!("bench/lab/src/matmul/threads.rs"), How::Slices(threads::product)),
    (
        step!(
            "bench/lab/src/matmul/shipped.rs",
            "tensor/cpu/src/product/driver.rs",
            "tensor/cpu/src/product/vectors.rs"
        ),
        How::Product(shipped::product),
    ),
    (
        step!("bench/lab/src/matmul/epilogue.rs", "tensor/cpu/src/product/epilogue.rs"),
        How::Gelu(epilogue::product),
    ),
    (step!("bench/lab/src/matmul/bf16.rs"), How::Low(bf16::product, reference::Rounding::Bf16)),
    (
        step!("bench/lab/src/matmul/int8.rs", "tensor/cpu/src/product/rounding.rs"),
        How::Low(int8::product, reference::Rounding::Int8),
    ),
];

/// The steps, for `--show` and `list`.
pub fn steps(on_gpu: bool) -> Vec<Step> {
    match on_gpu {
        true => gpu::steps(),
        false => family::steps(CPU),
    }
}

/// The lab. `mine` is one's own shader.
pub fn lab(settings: &Settings, mine: Option<Step>) -> Outcome<Lab> {
    match settings.device {
        Device::Cpu => cpu(settings),
        _ => gpu::lab(settings, mine),
    }
}

/// The operands.
struct Problem {
    s: Sizes,
    a: Tensor,
    b: Tensor,
    bias: Tensor,
}

/// The lab on the CPU.
fn cpu(settings: &Settings) -> Outcome<Lab> {
    let problem = Problem::new(settings)?;
    let s = problem.s;
    let (a, b) = (Arc::new(problem.a.to_vec::<f32>()?), Arc::new(problem.b.to_vec::<f32>()?));
    let weight = problem.b.t()?.contiguous()?;
    let reference = Reference::new(&problem.a, &problem.b)?;
    let plain = Arc::new(vec![reference.product()?]);
    let ready = |_: &Step, how: &How| -> Ready {
        let (ta, tb, w, bias) =
            (problem.a.clone(), problem.b.clone(), weight.clone(), problem.bias.clone());
        let ready: (Arc<Vec<Expected>>, Box<dyn Run>) = match *how {
            How::Slices(f) => {
                let (a, b) = (a.clone(), b.clone());
                let run = Slices::new(&[s.m * s.n], move |c| f(s, &a, &b, &mut c[0]));
                (plain.clone(), Box::new(run))
            }
            How::Product(f) => {
                (plain.clone(), Box::new(Tensors::new(move || Ok(vec![f(&ta, &tb)?]))))
            }
            How::Gelu(f) => {
                let run = Tensors::new(move || Ok(vec![f(&ta, &w, &bias)?]));
                (Arc::new(vec![reference.gelu(&problem.bias)?]), Box::new(run))
            }
            How::Low(f, rounding) => {
                let run = Tensors::new(move || Ok(vec![f(&ta, &w)?]));
                (Arc::new(vec![reference.rounded(rounding)?]), Box::new(run))
            }
        };
        Ok(Ok(ready))
    };
    let (candidates, missing) = family::candidates(CPU, None, ready)?;
    Ok(Lab { title: problem.title(), work: problem.work(), candidates, missing })
}

impl Problem {
    fn new(settings: &Settings) -> Outcome<Problem> {
        let [m, k, n] = settings.sizes("MxKxN", 768, |n| [n; 3])?;
        Ok(Problem {
            s: Sizes { m, k, n },
            a: settings.normal("a", &[m, k])?,
            b: settings.normal("b", &[k, n])?,
            bias: settings.normal("bias", &[n])?,
        })
    }

    fn title(&self) -> String {
        let Sizes { m, k, n } = self.s;
        format!("C = A·B, A [{m}, {k}], B [{k}, {n}], f32")
    }

    fn work(&self) -> Work {
        let Sizes { m, k, n } = self.s;
        let numbers = m * k + k * n + m * n;
        Work { flops: 2.0 * (m * k * n) as f64, bytes: 4.0 * numbers as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::compare;

    /// The reference is the formula in f64.
    #[test]
    fn the_reference_is_the_formula() {
        let settings = Settings { device: Device::Cpu, size: vec![5, 7, 3], seed: 3 };
        let p = Problem::new(&settings).unwrap();
        let (a, b) = (p.a.to_vec::<f32>().unwrap(), p.b.to_vec::<f32>().unwrap());
        let product = Reference::new(&p.a, &p.b).unwrap().product().unwrap();
        for (at, value) in product.values.iter().enumerate() {
            let terms = (0..7).map(|p| f64::from(a[at / 3 * 7 + p]) * f64::from(b[p * 3 + at % 3]));
            assert!((terms.sum::<f64>() - value).abs() < 1e-12);
        }
    }

    /// The bound lets every order of summation pass, and nothing that forgets a single product.
    #[test]
    fn a_step_that_forgets_a_product_is_wrong() {
        let settings = Settings { device: Device::Cpu, size: vec![9, 301, 11], seed: 3 };
        let p = Problem::new(&settings).unwrap();
        let expected = [Reference::new(&p.a, &p.b).unwrap().product().unwrap()];
        let (a, b) = (p.a.to_vec::<f32>().unwrap(), p.b.to_vec::<f32>().unwrap());
        let without = |forgotten: usize| {
            let mut c = vec![0f32; 9 * 11];
            for (at, sum) in c.iter_mut().enumerate() {
                for p in (0..301).rev().filter(|&p| p != forgotten) {
                    *sum += a[at / 11 * 301 + p] * b[p * 11 + at % 11];
                }
            }
            compare(&expected, &[c]).wrong
        };
        assert_eq!(without(301), None);
        for forgotten in [0, 150, 300] {
            assert!(without(forgotten).is_some(), "without product {forgotten}");
        }
    }
}
