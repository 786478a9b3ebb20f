//! f16 and bf16 on the CPU. Operations compute in f32 and round once. The gradient of a 16-bit leaf is
//! the gradient in f32, rounded once, for every view between the leaf and its conversion to f32.

use gradus_autograd::{BackwardOptions, Gradients, Var, checkpoint, detect_anomaly, grad};
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{CrossEntropy, DType, Result, RngKey, Tensor};
use gradus_testing::{assert_near, largest};

const HALVES: [DType; 2] = [DType::F16, DType::BF16];
const CREATE: BackwardOptions = BackwardOptions { create_graph: true, retain_graph: true };

fn random(shape: &[usize], seed: u64, dtype: DType) -> Tensor {
    Tensor::randn(shape, DType::F32, RngKey::new(seed)).unwrap().to_dtype(dtype).unwrap()
}

fn ids(values: &[u32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape).unwrap()
}

/// PyTorch, torch.float16: x·x of [2, 3] has the gradient [4, 6].
#[test]
fn a_leaf_that_is_read_twice() {
    for dtype in HALVES {
        let x = Var::leaf(Tensor::from_slice(&[2f32, 3.0], &[2]).unwrap().to_dtype(dtype).unwrap());
        let wide = || x.to_dtype(DType::F32).unwrap();
        let y = || wide().mul(&wide()).unwrap().sum_all().unwrap();
        let grads = y().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().dtype(), dtype);
        assert_eq!(grads.get(&x).unwrap().to_f64_vec(), [4.0, 6.0]);
        let leaves = std::slice::from_ref(&x);
        let recorded = grad(&[y()], leaves, None, CREATE).unwrap().remove(0).unwrap();
        assert_eq!((recorded.dtype(), recorded.tensor().to_f64_vec()), (dtype, vec![4.0, 6.0]));
        // The second derivative of Σx² is 2.
        let again = recorded.to_dtype(DType::F32).unwrap().sum_all().unwrap();
        let second = grad(&[again], leaves, None, CREATE).unwrap().remove(0).unwrap();
        assert_eq!(second.tensor().to_f64_vec(), [2.0, 2.0]);
        // Five times, and over several backward passes.
        let mut sum = Gradients::default();
        for _ in 0..3 {
            sum.accumulate(y().backward().unwrap()).unwrap();
        }
        sum.scale(0.5).unwrap();
        assert_eq!(sum.get(&x).unwrap().to_f64_vec(), [6.0, 9.0]);
    }
}

type Way = Box<dyn Fn(&Var) -> Result<Var> + Send + Sync>;

/// Everything that takes 16 bits on the CPU, on `[3, 4]`.
fn ways() -> Vec<(&'static str, Way)> {
    let mask = || Tensor::from_slice(&[1u8, 0, 0, 1], &[4]).unwrap();
    let other = |x: &Var| Var::constant(Tensor::zeros(&[1, 4], x.dtype()).unwrap());
    vec![
        ("alias", Box::new(|x| x.alias())),
        ("reshape", Box::new(|x| x.reshape(&[2, 6]))),
        ("permute", Box::new(|x| x.permute(&[1, 0]))),
        ("narrow", Box::new(|x| x.narrow(1, 1, 2))),
        ("broadcast_to", Box::new(|x| x.broadcast_to(&[5, 3, 4]))),
        ("repeat", Box::new(|x| x.repeat(&[2, 3]))),
        ("sum_to", Box::new(|x| x.sum_to(&[3, 1]))),
        ("cat", Box::new(|x| Var::cat(&[x, &x.narrow(0, 0, 1)?, x], 0))),
        ("stack", Box::new(|x| Var::stack(&[x, x], 1))),
        ("pad_zeros", Box::new(|x| x.pad_zeros(0, 1, 2))),
        ("flip", Box::new(|x| x.flip(&[0, 1]))),
        ("where", Box::new(move |x| x.where_(&mask(), &other(x)))),
        ("where, broadcast", Box::new(move |x| x.narrow(0, 0, 1)?.where_(&mask(), x))),
        ("index_select", Box::new(|x| x.index_select(0, &ids(&[2, 0, 2, 2], &[4])))),
        ("gather", Box::new(|x| x.gather(1, &ids(&[0, 0, 3, 1, 1, 1], &[3, 2])))),
        ("embedding", Box::new(|x| x.embedding(&ids(&[1, 1, 0, 1], &[2, 2])))),
        ("index_add", Box::new(|x| x.index_add(0, &ids(&[1, 1], &[2]), &x.narrow(0, 0, 2)?))),
        ("scatter_add", Box::new(|x| x.scatter_add(1, &ids(&[0, 0, 1], &[3, 1]), x))),
        ("sort", Box::new(|x| Ok(x.sort(1, true)?.0))),
        ("topk", Box::new(|x| Ok(x.topk(2, 1, true)?.0))),
        (
            "checkpoint",
            Box::new(|x| {
                let x = x.clone();
                checkpoint(move || x.broadcast_to(&[2, 3, 4]))
            }),
        ),
    ]
}

/// The gradients of a leaf that `way` leads through, read three times: in 16 bits, and in f32 of
/// the same numbers.
#[test]
fn every_way_from_a_leaf_to_f32() {
    for dtype in HALVES {
        for (name, way) in ways() {
            let value = random(&[3, 4], 1, dtype);
            let gradient = |dtype: DType, options: BackwardOptions| {
                let x = Var::leaf(value.to_dtype(dtype).unwrap());
                let y = way(&x).and_then(|y| y.to_dtype(DType::F32));
                let y = y.unwrap_or_else(|e| panic!("{name} {dtype}: {e}"));
                // Powers of two, so that products are exact; sums round where the leaf is narrow.
                let weights = Tensor::full(y.shape(), 0.25, DType::F32).unwrap();
                let y = y.mul(&Var::constant(weights)).unwrap().sum_all().unwrap();
                let y = y.add(&x.to_dtype(DType::F32).unwrap().sum_all().unwrap()).unwrap();
                let y = y.add(&x.to_dtype(DType::F32).unwrap().sum_all().unwrap()).unwrap();
                let found = grad(&[y], std::slice::from_ref(&x), None, options);
                found.unwrap_or_else(|e| panic!("{name} {dtype}: {e}")).remove(0).unwrap()
            };
            let truth = gradient(DType::F32, BackwardOptions::default());
            for options in [BackwardOptions::default(), CREATE] {
                let ours = gradient(dtype, options);
                assert_eq!(ours.dtype(), dtype, "{name}");
                assert_eq!(
                    ours.tensor().to_f64_vec(),
                    truth.tensor().to_f64_vec(),
                    "{name} {dtype}"
                );
            }
        }
    }
}

/// Long sums are rounded once, at the end: 3,000 ones are 3,000 also in bf16, where 256 + 1 is 256.
#[test]
fn sums_are_rounded_once() {
    for (dtype, sum) in [(DType::F16, 3000.0), (DType::BF16, 3008.0)] {
        let x = Var::leaf(Tensor::ones(&[1], dtype).unwrap());
        let wide = x.broadcast_to(&[3000]).unwrap().to_dtype(DType::F32).unwrap();
        let grads = wide.sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_f64_vec(), [sum]);
        let table = Var::leaf(Tensor::ones(&[1, 1], dtype).unwrap());
        let rows = table.embedding(&ids(&[0; 3000], &[3000])).unwrap();
        let grads = rows.to_dtype(DType::F32).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&table).unwrap().to_f64_vec(), [sum]);
    }
}

/// An operation on two matrices `[3, 4]`, a weight `[4, 4]` and a vector `[4]`.
type Computation = Box<dyn Fn(&[Var]) -> Result<Var>>;

fn computations() -> Vec<(&'static str, Computation)> {
    let attention = Attention { heads: 2, scale: 0.7, ..Default::default() };
    let smoothed = CrossEntropy { label_smoothing: 0.1, ..CrossEntropy::default() };
    vec![
        ("add", Box::new(|v| v[0].add(&v[1]))),
        ("sub, broadcast", Box::new(|v| v[0].sub(&v[3]))),
        ("mul", Box::new(|v| v[0].mul(&v[1]))),
        ("div", Box::new(|v| v[0].div(&v[1]))),
        ("maximum", Box::new(|v| v[0].maximum(&v[1]))),
        ("relu", Box::new(|v| v[0].relu())),
        ("gelu", Box::new(|v| v[0].gelu())),
        ("exp", Box::new(|v| v[0].exp())),
        ("affine", Box::new(|v| v[0].affine(2.5, -1.0))),
        ("clamp", Box::new(|v| v[0].clamp(-0.5, 1.0))),
        ("sum", Box::new(|v| v[0].sum(&[0], false))),
        ("mean", Box::new(|v| v[0].mean(&[1], true))),
        ("var", Box::new(|v| v[0].var(&[1], false, 1))),
        ("max", Box::new(|v| v[0].max(&[0], false))),
        ("logsumexp", Box::new(|v| v[0].logsumexp(&[1], false))),
        ("softmax", Box::new(|v| v[0].softmax(1))),
        ("log_softmax", Box::new(|v| v[0].log_softmax(0))),
        ("matmul", Box::new(|v| v[0].matmul(&v[2]))),
        ("linear", Box::new(|v| v[0].linear(&v[2], Some(&v[3])))),
        ("linear_gelu", Box::new(|v| v[0].linear_gelu(&v[2], Some(&v[3])))),
        ("linear_cat", Box::new(|v| v[0].linear_cat(&[&v[2], &v[2]], &[&v[3], &v[3]]))),
        ("layer_norm", Box::new(|v| v[0].layer_norm(&v[3], Some(&v[3]), 1e-3))),
        ("dropout_add_layer_norm", {
            let dropout = Some((0.5, RngKey::new(1)));
            Box::new(move |v| v[0].dropout_add_layer_norm(&v[1], &v[3], None, 0.5, dropout))
        }),
        ("dropout", Box::new(|v| v[0].dropout(0.5, RngKey::new(1)))),
        ("cross_entropy", {
            Box::new(move |v| v[0].cross_entropy(&ids(&[0, 3, 1], &[3]), &smoothed))
        }),
        ("attention", {
            Box::new(move |v| {
                v[0].attention(&v[1], &v[0], None, &ids(&[0, 1, 3], &[3]), &attention)
            })
        }),
    ]
}

/// The value and the gradients of all inputs that the operation reads.
fn outcome(computation: &Computation, inputs: &[Tensor]) -> Vec<Option<Tensor>> {
    let leaves: Vec<Var> = inputs.iter().cloned().map(Var::leaf).collect();
    let y = computation(&leaves).unwrap();
    // Numbers that all dtypes hold.
    let seed = random(y.shape(), 9, DType::BF16).to_dtype(y.dtype()).unwrap();
    let grads = y.backward_with(Some(seed), BackwardOptions::default()).unwrap();
    let mut all = vec![Some(y.into_tensor())];
    all.extend(leaves.iter().map(|leaf| grads.get(leaf).cloned()));
    all
}

/// One kernel's result is the f32 result of the same numbers, rounded once. Gradients pass through
/// several roundings: they agree within a few units of the last of 8 (bf16) or 11 bits (f16).
#[test]
fn operations_compute_in_f32_and_round_once() {
    for (dtype, unit) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        let shapes: [&[usize]; 4] = [&[3, 4], &[3, 4], &[4, 4], &[4]];
        let inputs: Vec<Tensor> =
            shapes.iter().zip(1..).map(|(shape, seed)| random(shape, seed, dtype)).collect();
        let wide: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
        for (name, computation) in computations() {
            let what = format!("{name} in {dtype}");
            let (ours, truth) = (outcome(&computation, &inputs), outcome(&computation, &wide));
            let value = ours[0].as_ref().unwrap();
            assert_eq!(value.dtype(), dtype, "{what}");
            let rounded = truth[0].as_ref().unwrap().to_dtype(dtype).unwrap();
            assert_eq!(value.to_f64_vec(), rounded.to_f64_vec(), "{what}");
            for (ours, truth) in ours[1..].iter().zip(&truth[1..]) {
                let (Some(ours), Some(truth)) = (ours, truth) else {
                    assert!(ours.is_none() && truth.is_none(), "{what}");
                    continue;
                };
                assert_eq!(ours.dtype(), dtype, "{what}");
                let within = 4.0 * unit * largest(truth, 0.0);
                assert_near(&format!("{what}, a gradient"), ours, truth, |_| within);
            }
        }
    }
}

#[test]
fn in_place_sums_and_comparisons() {
    for dtype in HALVES {
        let mut x = random(&[3, 4], 1, dtype);
        let y = random(&[4], 2, dtype);
        let wide = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        let shifted = wide(&x).add(&wide(&y).mul_scalar(0.5).unwrap()).unwrap();
        let before = x.clone();
        x.add_(&y, 0.5).unwrap();
        assert_eq!(x.to_f64_vec(), shifted.to_dtype(dtype).unwrap().to_f64_vec());
        assert_eq!(before.to_f64_vec(), random(&[3, 4], 1, dtype).to_f64_vec(), "a copy stays");
        let larger = before.gt(&x).unwrap();
        assert_eq!(larger.to_f64_vec(), wide(&before).gt(&wide(&x)).unwrap().to_f64_vec());
        assert_eq!(
            before.argmax(1, false).unwrap().to_vec::<u32>().unwrap(),
            wide(&before).argmax(1, false).unwrap().to_vec::<u32>().unwrap()
        );
        x.mul_scalar_(2.0).unwrap();
        assert_eq!(x.dtype(), dtype);
    }
}

/// Dtypes do not mix: a result in the wider one would be a surprise, in the narrower one a loss.
#[test]
fn mixed_dtypes_are_refused() {
    for dtype in HALVES {
        let x = Var::leaf(random(&[3, 4], 1, dtype));
        let wide = x.to_dtype(DType::F32).unwrap();
        let mask = Tensor::ones(&[4], DType::U8).unwrap();
        for (name, refused) in [("add", x.add(&wide)), ("where", x.where_(&mask, &wide))] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(&format!("[{name}]")) && error.contains("to_dtype"), "{error}");
        }
    }
}

/// Anomaly mode sees what leaves the range of f16.
#[test]
fn an_overflow_of_f16_is_an_anomaly() {
    let x = Var::leaf(Tensor::from_slice(&[1f32, 7e4], &[2]).unwrap());
    let error = detect_anomaly(|| x.to_dtype(DType::F16)).unwrap_err().to_string();
    assert!(error.contains("to_dtype") && error.contains("inf at flat index 1"), "{error}");
    detect_anomaly(|| x.to_dtype(DType::BF16)).unwrap();
}
