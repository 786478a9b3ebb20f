//! Random small graphs: values and gradients in f64 agree with finite differences, with the
//! composed forms of fused operations, and with a recorded backward; those in f32, on the CPU and
//! on a GPU, agree with f64.
//!
//! A graph is a list of steps. Each step takes two of the matrices made so far and makes another.
//! Results that could grow pass through tanh, so that numbers stay near 1. Functions with kinks get
//! only leaves, in which no two numbers are close, because rounding would decide at a kink. A
//! failure is shrunk to few steps and printed.

use gradus::autograd::ops::attention::attention_composed;
use gradus::autograd::ops::cross_entropy::cross_entropy_composed;
use gradus::autograd::ops::layer_norm::{dropout_add_layer_norm_composed, layer_norm_composed};
use gradus::autograd::ops::matmul::{linear_cat_composed, linear_gelu_composed};
use gradus::autograd::{BackwardOptions, GradCheck, Var, checkpoint, grad, gradcheck};
use gradus::tensor::ops::attention::Attention;
use gradus::tensor::ops::cross_entropy::CrossEntropy;
use gradus::tensor::{DType, Device, Result, RngKey, Tensor};
use gradus_testing::{assert_near, gpu, largest};
use proptest::prelude::*;

/// A step: the function, its two matrices, and a number for other choices.
type Step = (u8, u8, u8, u8);

/// The largest size of a matrix along either dimension.
const MAX_SIZE: usize = 8;
const EPS: f64 = 0.1;

struct Graph<'a> {
    leaves: &'a [Var],
    made: Vec<Var>,
    /// Whether the graph uses fused operations or their composed forms.
    fused: bool,
}

impl Graph<'_> {
    /// A second operand that broadcasts with `a`: `b`, or its mean.
    fn beside(a: &Var, b: &Var) -> Result<Var> {
        let fits = a.shape().iter().zip(b.shape()).all(|(&a, &b)| a == b || b == 1);
        if fits { Ok(b.clone()) } else { b.mean(&[], false)?.reshape(&[1, 1]) }
    }

    /// `b` if it is as wide as `a`, else `a`.
    fn as_wide(a: &Var, b: &Var) -> Var {
        if a.shape()[1] == b.shape()[1] { b.clone() } else { a.clone() }
    }

    fn ids(values: impl Iterator<Item = usize>, like: &Var) -> Result<Tensor> {
        let ids: Vec<u32> = values.map(|i| i as u32).collect();
        Tensor::from_slice(&ids, &[ids.len()])?.to_device(like.device())
    }

    fn smooth(&self, a: &Var, n: u8) -> Result<Var> {
        match n % 12 {
            0 => a.tanh(),
            1 => a.sigmoid(),
            2 => a.gelu(),
            3 => a.gelu_tanh(),
            4 => a.silu(),
            5 => a.softplus(),
            6 => a.erf(),
            7 => a.sin(),
            8 => a.cos(),
            9 => a.tanh()?.exp(),
            10 => a.square()?.add_scalar(1.0)?.log()?.add(&a.square()?.add_scalar(0.5)?.rsqrt()?),
            _ => a.square()?.add_scalar(0.3)?.sqrt()?.reciprocal(),
        }
    }

    /// Functions with kinks, of a leaf.
    fn kinked(&self, n: u8) -> Result<Var> {
        let x = &self.leaves[n as usize % self.leaves.len()];
        match n % 7 {
            0 => x.relu(),
            1 => x.abs(),
            2 => x.clamp(-0.7, 0.9),
            3 => x.max(&[1], true),
            4 => x.min(&[0], true),
            5 => x.maximum(&x.flip(&[0, 1])?.mul_scalar(0.37)?),
            _ => Ok(x.sort(1, n.is_multiple_of(2))?.0),
        }
    }

    fn binary(a: &Var, b: &Var, n: u8) -> Result<Var> {
        let b = Self::beside(a, b)?;
        match n % 6 {
            0 => a.add(&b)?.mul_scalar(0.7),
            1 => b.sub(a),
            2 => a.mul(&b)?.tanh(),
            3 => a.div(&b.square()?.add_scalar(1.0)?),
            4 => a.sigmoid()?.add_scalar(0.5)?.pow(&b.tanh()?),
            _ => {
                let mask = Self::ids((0..a.numel()).map(|i| (i + n as usize) % 3), a)?;
                let mask = mask.to_dtype(DType::U8)?.reshape(a.shape())?;
                a.where_(&mask, &b)
            }
        }
    }

    fn shaped(a: &Var, b: &Var, n: u8) -> Result<Var> {
        let [rows, columns] = [a.shape()[0], a.shape()[1]];
        match n % 8 {
            0 => a.t(),
            1 => a.narrow(1, columns / 2, columns - columns / 2),
            2 => a.narrow(0, 0, rows.div_ceil(2)),
            3 => a.flip(&[(n / 8 % 2) as isize]),
            4 if rows < MAX_SIZE => a.pad_zeros(0, 1, 0),
            5 if rows + b.shape()[0] <= MAX_SIZE => Var::cat(&[a, &Self::as_wide(a, b)], 0)
                .and_then(|y| y.narrow(0, 0, y.shape()[0].min(MAX_SIZE))),
            6 if rows == 1 => a.broadcast_to(&[3, columns]),
            _ => a.reshape(&[columns, rows]),
        }
    }

    fn indexed(a: &Var, n: u8) -> Result<Var> {
        let [rows, columns] = [a.shape()[0], a.shape()[1]];
        let at = |i: usize, size: usize| (i * 5 + n as usize) % size;
        let some = Self::ids((0..3).map(|i| at(i, rows)), a)?;
        match n % 4 {
            0 => a.index_select(0, &some),
            1 => a.embedding(&some),
            2 => a.index_add(0, &some, &a.index_select(0, &some)?.sin()?)?.tanh(),
            _ => {
                let ids = Self::ids((0..rows * 2).map(|i| at(i, columns)), a)?;
                let ids = ids.reshape(&[rows, 2])?;
                a.gather(1, &ids)?
                    .add(&a.scatter_add(1, &ids, &a.gather(1, &ids)?)?.mean(&[1], true)?)
            }
        }
    }

    fn reduced(&self, a: &Var, n: u8) -> Result<Var> {
        let dim = [(n / 8 % 2) as isize];
        let size = a.shape()[dim[0] as usize];
        match n % 7 {
            0 => a.sum(&dim, true)?.tanh(),
            1 => a.mean(&dim, true),
            2 => a.var(&dim, true, usize::from(size > 1)),
            3 if self.fused => a.logsumexp(&dim, true),
            3 => a.exp()?.sum(&dim, true)?.log(),
            4 => a.tanh()?.prod(&dim, true),
            5 if self.fused => a.softmax(dim[0]),
            5 => a.exp()?.div(&a.exp()?.sum(&dim, true)?),
            _ if self.fused => a.log_softmax(dim[0]),
            _ => a.sub(&a.exp()?.sum(&dim, true)?.log()?),
        }
    }

    /// The large operations, each fused or composed.
    fn layer(&self, a: &Var, b: &Var, n: u8) -> Result<Var> {
        let [rows, columns] = [a.shape()[0], a.shape()[1]];
        let w = &Self::as_wide(a, b);
        let row = |x: &Var| x.mean(&[0], false);
        let (scale, shift) = (&row(w)?.add_scalar(1.0)?, &row(a)?);
        let key = RngKey::new(n as u64);
        let offsets = Self::ids([0, rows / 2, rows].into_iter(), a)?;
        let options = Attention {
            heads: 1,
            scale: 0.6,
            dropout: (n / 8).is_multiple_of(2).then_some((0.3, key)),
            causal: (n / 16).is_multiple_of(2),
            window: (n / 32).is_multiple_of(2).then_some(1),
            ..Default::default()
        };
        // A bias of the scores: a row of odd size.
        let bias = &w.narrow(0, 0, 1)?.narrow(1, 0, (columns - 1) | 1)?;
        let y = match (n % 7, self.fused) {
            (0, true) => a.layer_norm(scale, Some(shift), EPS),
            (0, false) => layer_norm_composed(a, scale, Some(shift), EPS),
            (1, true) => {
                a.dropout_add_layer_norm(&a.sin()?, scale, Some(shift), EPS, Some((0.4, key)))
            }
            (1, false) => {
                let dropout = Some((0.4, key));
                dropout_add_layer_norm_composed(a, &a.sin()?, scale, Some(shift), EPS, dropout)
            }
            (2, true) => a.linear_gelu(w, None)?.tanh(),
            (2, false) => linear_gelu_composed(a, w, None)?.tanh(),
            (3, true) => a.attention(&a.sin()?, &a.cos()?, Some(bias), &offsets, &options),
            (3, false) => {
                attention_composed([a, &a.sin()?, &a.cos()?], Some(bias), &offsets, &options)
            }
            (4, fused) => {
                let targets = Self::ids((0..rows).map(|i| (i * 3 + n as usize) % columns), a)?;
                let options = CrossEntropy {
                    ignore_index: (columns > 1 && rows > 1).then_some(0),
                    label_smoothing: 0.1,
                    reduction: gradus::nn::Reduction::None,
                    ..CrossEntropy::default()
                };
                let loss = match fused {
                    true => a.cross_entropy(&targets, &options),
                    false => cross_entropy_composed(a, &targets, &options),
                };
                loss?.reshape(&[rows, 1])?.tanh()
            }
            (5, true) => a.linear_cat(&[w, a], &[])?.tanh(),
            (5, false) => linear_cat_composed(a, &[w, a], &[])?.tanh(),
            (_, true) => {
                let (x, w) = (a.clone(), w.clone());
                checkpoint(move || x.matmul(&w.t()?)?.tanh())
            }
            (_, false) => a.matmul(&w.t()?)?.tanh(),
        }?;
        // Limits the width.
        y.narrow(1, 0, y.shape()[1].min(MAX_SIZE))
    }

    fn take(&mut self, (what, a, b, n): Step) -> Result<()> {
        let at = |i: u8| self.made[i as usize % self.made.len()].clone();
        let (a, b) = (&at(a), &at(b));
        let y = match what % 8 {
            0 => self.smooth(a, n),
            1 => self.kinked(n),
            2 => Self::binary(a, b, n),
            3 => Self::shaped(a, b, n),
            4 => Self::indexed(a, n),
            5 => self.reduced(a, n),
            6 => a.dropout(0.3, RngKey::new(n as u64)),
            _ => self.layer(a, b, n),
        }?;
        assert_eq!(y.rank(), 2, "{what} {n}");
        self.made.push(y);
        Ok(())
    }
}

/// The value of the graph of these steps: one number, which depends on every matrix.
fn value(steps: &[Step], leaves: &[Var], fused: bool) -> Result<Var> {
    let mut graph = Graph { leaves, made: leaves.to_vec(), fused };
    for &step in steps {
        graph.take(step)?;
    }
    let mut sum = Var::constant(Tensor::zeros_on(&[], leaves[0].dtype(), leaves[0].device())?);
    for (i, made) in graph.made.iter().enumerate() {
        let weights = Tensor::rand(made.shape(), DType::F32, RngKey::new(i as u64))?;
        let weights = weights.to_dtype(made.dtype())?.to_device(made.device())?;
        sum = sum.add(&made.sin()?.mul(&Var::constant(weights))?.sum_all()?)?;
    }
    Ok(sum)
}

/// Three matrices whose numbers are neither close to each other nor to 0: multiples of a sixteenth.
fn leaves(seed: u64) -> Vec<Tensor> {
    let shapes = [[3, 4], [4, 4], [1, 4]];
    let mut order: Vec<usize> = (0..32).collect();
    RngKey::new(seed).shuffle(&mut order);
    let mut numbers = order.into_iter().map(|i| (i as f64 - 15.5) / 10.0);
    let mut of = |shape: [usize; 2]| {
        let values: Vec<f64> = numbers.by_ref().take(shape[0] * shape[1]).collect();
        let values = Tensor::from_slice(&values, &shape).unwrap();
        // Rounded to f32, so that all dtypes start from the same numbers.
        values.to_dtype(DType::F32).unwrap()
    };
    shapes.map(&mut of).to_vec()
}

/// The value and the gradients, in f64 on the CPU.
fn outcome(
    steps: &[Step],
    leaves: &[Tensor],
    (dtype, device): (DType, Device),
    fused: bool,
    create_graph: bool,
) -> Vec<Vec<f64>> {
    let place = |t: &Tensor| Var::leaf(t.to_dtype(dtype).unwrap().to_device(device).unwrap());
    let leaves: Vec<Var> = leaves.iter().map(place).collect();
    let y = value(steps, &leaves, fused).unwrap();
    let options = BackwardOptions { create_graph, retain_graph: create_graph };
    let grads = grad(std::slice::from_ref(&y), &leaves, None, options).unwrap();
    let mut all = vec![y.tensor().to_f64_vec()];
    all.extend(grads.iter().map(|g| g.as_ref().unwrap().tensor().to_f64_vec()));
    all
}

fn assert_close(what: &str, ours: &[Vec<f64>], truth: &[Vec<f64>], tolerance: f64) {
    let within = tolerance * truth.iter().fold(1.0, |m, numbers| largest(numbers, m));
    for (i, (ours, truth)) in ours.iter().zip(truth).enumerate() {
        assert_near(&format!("{what}, result {i}"), ours, truth, |_| within);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 1..14)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { max_shrink_iters: 400, ..gradus_testing::cases(cases) }
}

const CPU64: (DType, Device) = (DType::F64, Device::Cpu);

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn gradients_agree_with_finite_differences(steps in steps(), seed in 0u64..1000) {
        let wide: Vec<Tensor> =
            leaves(seed).iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect();
        let options = GradCheck::new(format!("{steps:?}"), seed);
        gradcheck(|v| value(&steps, v, true), &wide, &options).unwrap();
    }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn all_ways_agree(steps in steps(), seed in 0u64..1000) {
        let leaves = leaves(seed);
        let truth = outcome(&steps, &leaves, CPU64, true, false);
        assert_close("composed", &outcome(&steps, &leaves, CPU64, false, false), &truth, 1e-11);
        assert_close("recorded", &outcome(&steps, &leaves, CPU64, true, true), &truth, 1e-11);
        let cpu = (DType::F32, Device::Cpu);
        assert_close("f32", &outcome(&steps, &leaves, cpu, true, false), &truth, 2e-5);
        assert_close("f32 composed", &outcome(&steps, &leaves, cpu, false, false), &truth, 2e-5);
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn a_gpu_agrees(steps in steps(), seed in 0u64..1000) {
        let Some(device) = gpu() else { return Ok(()) };
        let leaves = leaves(seed);
        let truth = outcome(&steps, &leaves, CPU64, true, false);
        let ours = outcome(&steps, &leaves, (DType::F32, device), true, false);
        assert_close("GPU", &ours, &truth, 5e-5);
    }
}
