//! Cases of GPU kernels that the registry does not have: sorting, many dimensions, long lines, rows
//! of many classes. Compared with the CPU, bit for bit where both round alike.

use gradus_tensor::ops::cross_entropy::{CrossEntropy, Reduction};
use gradus_tensor::ops::optim::AdamWStep;
use gradus_tensor::{DType, Device, RngKey, Tensor};
use gradus_testing::{adamw, assert_near_or_nan, gpu};

fn rand(shape: &[usize], key: u64) -> Tensor {
    Tensor::rand(shape, DType::F32, RngKey::new(key)).unwrap().add_scalar(-0.5).unwrap()
}

fn ids(below: u64, shape: &[usize], key: u64) -> Tensor {
    Tensor::randint(0, below as _, shape, RngKey::new(key)).unwrap().to_dtype(DType::U32).unwrap()
}

fn bits(x: &Tensor) -> Vec<u32> {
    let x = x.to_device(Device::Cpu).unwrap();
    match x.dtype() {
        DType::F32 => x.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect(),
        _ => x.to_f64_vec().into_iter().map(|x| x as u32).collect(),
    }
}

#[test]
fn sorts_as_the_cpu() {
    let Some(device) = gpu() else { return };
    let odd = [f32::NAN, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, -1.0, -f32::NAN, 0.0, 1e-45];
    let odd = Tensor::from_slice(&odd, &[9]).unwrap();
    let few = Tensor::randint(0, 50, &[2, 700], RngKey::new(1)).unwrap();
    let cases: [(Tensor, isize); 8] = [
        (odd, 0),
        (few.to_dtype(DType::U32).unwrap(), 1),
        (few.to_dtype(DType::U8).unwrap(), 0),
        (few.to_dtype(DType::F32).unwrap().transpose(0, 1).unwrap(), 0),
        (rand(&[3, 257, 2], 2), 1),
        (rand(&[3, 256], 3).narrow(1, 1, 255).unwrap(), -1),
        (rand(&[4, 0], 4), 1),
        (rand(&[], 5).add_scalar(1.0).unwrap().unsqueeze(0).unwrap(), 0),
    ];
    for (x, dim) in cases {
        let there = x.to_device(device).unwrap();
        let n = x.shape()[dim.rem_euclid(x.rank() as isize) as usize];
        for descending in [false, true] {
            for k in [n, n.min(5), n / 2, 0] {
                let here = x.topk(k, dim, descending).unwrap();
                let there = there.topk(k, dim, descending).unwrap();
                assert_eq!(bits(&here.1), bits(&there.1), "{:?} {k}", x.shape());
                assert_eq!(bits(&here.0), bits(&there.0), "{:?} {k}", x.shape());
                assert_eq!(here.0.shape(), there.0.shape());
            }
        }
    }
}

#[test]
fn many_dimensions_and_views() {
    let Some(device) = gpu() else { return };
    let order = [3isize, 7, 0, 5, 1, 6, 2, 4];
    let x = rand(&[2, 3, 2, 1, 2, 3, 2, 2], 1).permute(&order).unwrap();
    let y = rand(&[2, 3, 2, 1, 2, 3, 2, 2], 2).permute(&order).unwrap();
    let (a, b) = (x.to_device(device).unwrap(), y.to_device(device).unwrap());
    // Also through strides on the GPU.
    let back = |t: &Tensor| t.permute(&[7, 6, 5, 4, 3, 2, 1, 0]).unwrap();
    for (x, y, a, b) in [(&x, &y, &a, &b), (&back(&x), &back(&y), &back(&a), &back(&b))] {
        for dim in 0..8 {
            let i = dim as isize;
            let size = x.shape()[dim] as u64;
            let n = ids(size, &[size as usize], 3);
            let m = n.to_device(device).unwrap();
            let index = ids(size, &x.shape().iter().map(|s| s.div_ceil(2)).collect::<Vec<_>>(), 4);
            let jndex = index.to_device(device).unwrap();
            for (cpu, gpu) in [
                (Tensor::cat(&[x, y, x], i), Tensor::cat(&[a, b, a], i)),
                (x.pad_zeros(i, 1, 2), a.pad_zeros(i, 1, 2)),
                (x.flip(&[i, 1, 5]), a.flip(&[i, 1, 5])),
                (x.index_select(i, &n), a.index_select(i, &m)),
                (x.index_add(i, &n, y), a.index_add(i, &m, b)),
                (x.gather(i, &index), a.gather(i, &jndex)),
                (x.scatter_add(i, &index, y), a.scatter_add(i, &jndex, b)),
            ] {
                // Both devices refuse a dimension that is named twice.
                let (Ok(cpu), gpu) = (cpu, gpu) else { continue };
                assert_eq!(bits(&cpu), bits(&gpu.unwrap()), "dimension {dim} of {:?}", x.shape());
            }
        }
    }
}

#[test]
fn additions_keep_their_order() {
    let Some(device) = gpu() else { return };
    let to = |x: &Tensor| x.to_device(device).unwrap();
    // One line of many entries, few lines, many lines; along the first and the last dimension.
    for (shape, index, source, dim) in [
        (vec![50], vec![4000], vec![4001], 0),
        (vec![70, 3], vec![500, 3], vec![500, 4], 0),
        (vec![3, 70], vec![2, 500], vec![3, 500], 1),
        (vec![5000, 9], vec![5000, 2], vec![5000, 2], 1),
        (vec![2, 9, 3000], vec![2, 30, 2999], vec![2, 30, 3000], 1),
    ] {
        let size = shape[dim] as u64;
        let (x, y, i) = (rand(&shape, 1), rand(&source, 2), ids(size, &index, 3));
        let cpu = x.scatter_add(dim as isize, &i, &y).unwrap();
        let gpu = to(&x).scatter_add(dim as isize, &to(&i), &to(&y)).unwrap();
        assert_eq!(bits(&cpu), bits(&gpu), "scatter_add {shape:?} {index:?}");
    }
    for (rows, n, h) in [(2, 3000, 33), (512, 700, 40), (3000, 100, 16), (1, 1, 1)] {
        let (grad, i) = (rand(&[n, h], 4), ids(rows, &[n], 5));
        let cpu = Tensor::embedding_backward(&grad, &i, rows as usize).unwrap();
        let gpu = Tensor::embedding_backward(&to(&grad), &to(&i), rows as usize).unwrap();
        assert_eq!(bits(&cpu), bits(&gpu), "{n} rows of {h} added to {rows}");
    }
    // Ids that were made on the GPU, so they have no original.
    let made = to(&ids(7, &[20], 6)).copy().unwrap();
    let (x, y) = (rand(&[7, 3], 7), rand(&[20, 3], 8));
    let cpu = x.index_add(0, &made.to_device(Device::Cpu).unwrap(), &y).unwrap();
    assert_eq!(bits(&cpu), bits(&to(&x).index_add(0, &made, &to(&y)).unwrap()));
    let error = to(&x).index_select(0, &to(&ids(9, &[99], 9))).err().unwrap().to_string();
    assert!(error.contains("which has 7"), "{error}");
}

/// Logits with NaN and infinities, of many classes, and of a narrowed view; and no rows at all.
fn logits() -> [Tensor; 4] {
    let mut odd = rand(&[6, 5], 1).to_vec::<f32>().unwrap();
    (odd[1], odd[7], odd[12]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    odd[15..20].fill(1000.0);
    odd[20..25].fill(f32::NEG_INFINITY);
    [
        Tensor::from_slice(&odd, &[6, 5]).unwrap(),
        rand(&[7, 3001], 2).mul_scalar(20.0).unwrap(),
        rand(&[301, 2], 3).narrow(0, 1, 300).unwrap(),
        rand(&[3, 300], 3).narrow(0, 0, 0).unwrap(),
    ]
}

/// The loss, its parts and the gradient of the logits agree on both devices.
fn cross_entropies_agree(x: &Tensor, targets: &Tensor, here: &CrossEntropy, device: Device) {
    let to = |x: &Tensor| x.to_device(device).unwrap();
    let CrossEntropy { ignore_index, label_smoothing, weight, reduction } = here;
    let what = format!(
        "{:?}, {ignore_index:?} {reduction:?} {label_smoothing} {}",
        x.shape(),
        weight.is_some()
    );
    let close = |part: &str, cpu: &Tensor, gpu: &Tensor| {
        assert_near_or_nan(&format!("{what}: {part}"), gpu, cpu, |a| 2e-5 * a.abs().max(0.1));
    };
    let there = CrossEntropy { weight: weight.as_ref().map(to), ..here.clone() };
    let (loss, lse) = x.cross_entropy(targets, here).unwrap();
    let (a, b) = to(x).cross_entropy(&to(targets), &there).unwrap();
    close("loss", &loss, &a);
    // Either of the two parts may be the NaN.
    let whole = |lse: &Tensor| lse.sum(&[1], false).unwrap();
    close("lse", &whole(&lse), &whole(&b));
    let grad = loss.ones_like().unwrap();
    let dx = x.cross_entropy_backward(targets, &lse, here, &grad).unwrap();
    let (y, g) = (to(targets), to(&grad));
    close("gradient", &dx, &to(x).cross_entropy_backward(&y, &b, &there, &g).unwrap());
}

#[test]
fn cross_entropy_of_many_classes_and_odd_logits() {
    let Some(device) = gpu() else { return };
    let smoothings = [(0.0, false), (0.1, false), (0.1, true), (0.0, true)];
    for x in logits() {
        let (n, c) = (x.shape()[0], x.shape()[1]);
        let weight = rand(&[c], 4).add_scalar(1.0).unwrap();
        let ignored_alone = Tensor::full(&[n], c as f64, DType::U32).unwrap();
        // First rows of all kinds; then only ignored rows.
        for (ignored, targets) in [(1, ids(c as u64, &[n], 5)), (c as i64, ignored_alone.clone())] {
            for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
                for (label_smoothing, weighted) in smoothings {
                    let options = CrossEntropy {
                        ignore_index: Some(ignored),
                        label_smoothing,
                        weight: weighted.then(|| weight.clone()),
                        reduction,
                    };
                    cross_entropies_agree(&x, &targets, &options, device);
                }
            }
        }
        if n > 0 {
            // Without an ignored target the number of classes is no class.
            let (x, bad) = (x.to_device(device).unwrap(), ignored_alone.to_device(device).unwrap());
            let error = x.cross_entropy(&bad, &CrossEntropy::default()).err().unwrap();
            assert!(error.to_string().contains("the target of row 0"), "{error}");
        }
    }
}

/// Steps of an optimiser and the sums of norms are delayed. A launch that reads or overwrites their
/// buffers must come after them.
#[test]
fn what_is_kept_back_is_done_in_time() {
    let Some(device) = gpu() else { return };
    let shape = [100, 20];
    let step = AdamWStep { lr: 0.1, eps: 1e-6, weight_decay: 0.01, ..adamw(1) };
    let run = |device: Device| -> Vec<Tensor> {
        let there = |t: Tensor| t.to_device(device).unwrap();
        let random = |shape: &[usize], key| there(rand(shape, key));
        let (x, w, b) = (random(&shape, 1), random(&[20], 2), random(&[20], 3));
        let y = x.layer_norm(&w, Some(&b), 1e-5).unwrap();
        let norm = |g: &Tensor| x.layer_norm_backward(&w, &y.mean, &y.rstd, g, None).unwrap();
        let (mut p, mut m) = (random(&[20], 4), random(&[20], 5));
        let v = &mut random(&[20], 6).square().unwrap();
        let mut grad = random(&[20], 7);
        let (_, dw, mut db) = norm(&random(&shape, 8));
        let (_, other, _) = norm(&random(&shape, 9));
        // Overwrites the gradient that the step reads, then reads the parameter.
        p.adamw_(&grad, &mut m, v, &step, None).unwrap();
        grad.mul_scalar_(2.0).unwrap();
        let sum = p.add(&grad).unwrap();
        // One kind of delayed launch reads the output of the other.
        p.adamw_(&dw, &mut m, v, &step, None).unwrap();
        p.adamw_(&other, &mut m, v, &step, None).unwrap();
        // The delayed launches write these tensors too.
        p.mul_scalar_(3.0).unwrap();
        db.mul_scalar_(3.0).unwrap();
        [p, m, v.clone(), grad, sum, dw, db, other]
            .map(|t| t.to_device(Device::Cpu).unwrap())
            .into()
    };
    for (i, (cpu, gpu)) in run(Device::Cpu).iter().zip(&run(device)).enumerate() {
        let error = cpu.sub(gpu).unwrap().abs().unwrap().max(&[], false).unwrap().item().unwrap();
        assert!(error < 1e-4, "result {i} is off by {error}");
    }
}
