//! Leaves of 16 bits, for users who mix dtypes by hand. Whichever operations lie between a leaf and
//! its conversion to f32, the gradient is that of f32, rounded once. An operation that the CPU does
//! not compute in 16 bits returns an error.

use gradus_autograd::{BackwardOptions, Gradients, Var, checkpoint, detect_anomaly, grad};
use gradus_tensor::{DType, Result, RngKey, Tensor};

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
        // Five uses of the leaf, and several backward passes.
        let mut sum = Gradients::default();
        for _ in 0..3 {
            sum.accumulate(y().backward().unwrap()).unwrap();
        }
        sum.scale(0.5).unwrap();
        assert_eq!(sum.get(&x).unwrap().to_f64_vec(), [6.0, 9.0]);
    }
}

type Way = Box<dyn Fn(&Var) -> Result<Var> + Send + Sync>;

/// All operations that take 16 bits on the CPU, on `[3, 4]`.
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

/// Every way gives a leaf that is used three times the same gradients in 16 bits as in f32 of the
/// same numbers.
#[test]
fn every_way_from_a_leaf_to_f32() {
    for dtype in HALVES {
        for (name, way) in ways() {
            let value = random(&[3, 4], 1, dtype);
            let gradient = |dtype: DType, options: BackwardOptions| {
                let x = Var::leaf(value.to_dtype(dtype).unwrap());
                let y = way(&x).and_then(|y| y.to_dtype(DType::F32));
                let y = y.unwrap_or_else(|e| panic!("{name} {dtype}: {e}"));
                // Powers of two, so that products are exact. Sums round where the leaf has 16 bits.
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

/// Long sums are rounded once, at the end: 3,000 ones give 3,000 in bf16 too, where 256 + 1 is 256.
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

/// An operation that the CPU does not compute in 16 bits fails at once, under its own name.
#[test]
fn what_is_not_computed_names_itself() {
    for dtype in HALVES {
        let x = Var::leaf(random(&[3, 4], 1, dtype));
        let w = Var::leaf(random(&[4, 4], 2, dtype));
        let b = Var::leaf(random(&[4], 3, dtype));
        let refusals = [
            ("add", x.add(&x)),
            ("mul", x.mul(&x)),
            ("maximum", x.maximum(&x)),
            ("relu", x.relu()),
            ("gelu", x.gelu()),
            ("affine", x.mul_scalar(2.0)),
            ("clamp", x.clamp(0.0, 1.0)),
            ("sum", x.sum_all()),
            ("mean", x.mean_all()),
            ("max", x.max(&[0], false)),
            ("prod", x.prod(&[0], false)),
            ("softmax", x.softmax(1)),
            ("matmul", x.matmul(&w)),
            ("linear", x.linear(&w, Some(&b))),
            ("layer_norm", x.layer_norm(&b, &b, 1e-5)),
            ("dropout", x.dropout(0.5, RngKey::new(1))),
        ];
        for (name, refused) in refusals {
            let error = refused.err().unwrap_or_else(|| panic!("{name} computes {dtype}"));
            let error = error.to_string();
            assert!(error.contains(&format!("[{name}")) && error.contains("to_dtype"), "{error}");
        }
        // Mixed dtypes fail too.
        let wide = x.to_dtype(DType::F32).unwrap();
        for (name, refused) in [
            ("add", x.add(&wide)),
            ("where", {
                let mask = Tensor::ones(&[4], DType::U8).unwrap();
                x.where_(&mask, &wide)
            }),
        ] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(&format!("[{name}]")) && error.contains("to_dtype"), "{error}");
        }
    }
}

/// Anomaly mode finds values beyond the range of f16.
#[test]
fn an_overflow_of_f16_is_an_anomaly() {
    let x = Var::leaf(Tensor::from_slice(&[1f32, 7e4], &[2]).unwrap());
    let error = detect_anomaly(|| x.to_dtype(DType::F16)).unwrap_err().to_string();
    assert!(error.contains("to_dtype") && error.contains("inf at flat index 1"), "{error}");
    detect_anomaly(|| x.to_dtype(DType::BF16)).unwrap();
}
