//! Sizes beyond all memory: every function that takes a shape gives a right result or an error. It
//! never panics, never accesses memory out of bounds, and never asks for impossible memory. A view
//! that repeats one element has any size at no cost.
//!
//! `profile.dev` has overflow checks, which stop a product that wraps around before it does harm.
//! So after a change to sizes run these tests once without them; CONTRIBUTING.md has the command.

use gradus_tensor::layout::checked_numel;
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::ops::cross_entropy::CrossEntropy;
use gradus_tensor::ops::glu::Glu;
use gradus_tensor::ops::optim::{AdamWStep, SgdStep};
use gradus_tensor::ops::rotary::Rotary;
use gradus_tensor::{DType, Device, LowPrecision, Result, RngKey, Tensor};
use gradus_testing::adamw;
use proptest::prelude::*;

/// 17 times this number is 2⁶⁴ + 16.
const WRAPS: usize = 1_085_102_592_571_150_096;
/// Small sizes. The tests have no sizes between these and impossible ones, because a machine might
/// try to allocate them.
const SMALL: [usize; 5] = [0, 1, 2, 3, 17];
const HUGE: [usize; 8] = [
    1 << 50,
    1 << 58,
    WRAPS,
    usize::MAX / 8,
    usize::MAX / 4 + 2,
    1 << 63,
    usize::MAX - 1,
    usize::MAX,
];

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![prop::sample::select(&SMALL[..]), prop::sample::select(&HUGE[..])]
}

fn is_huge(size: usize) -> bool {
    size > SMALL[4]
}

/// A tensor of `shape` with one element in memory; `None` if no tensor can have that shape.
fn repeated(device: Device, dtype: DType, shape: &[usize]) -> Option<Tensor> {
    let one = Tensor::full_on(&[], 1.0, dtype, device).unwrap();
    one.broadcast_to(shape).ok()
}

/// Asserts that a call gave a tensor of that shape (`None` allows any), or an error that names an
/// operation.
#[track_caller]
fn settled(result: Result<Tensor>, shape: Option<&[usize]>) {
    match (result, shape) {
        (Ok(tensor), shape) => {
            assert_eq!(tensor.shape(), shape.unwrap_or(tensor.shape()));
            assert!(checked_numel(tensor.shape()).is_some());
        }
        (Err(error), shape) => {
            let error = error.to_string();
            assert!(error.starts_with('['), "{error}");
            if shape.is_some_and(|shape| checked_numel(shape).is_none()) {
                assert!(error.contains("more elements than"), "{error}");
            }
        }
    }
}

fn all(results: Result<Vec<Tensor>>) -> Result<Tensor> {
    Ok(results?.pop().expect("at least one piece"))
}

/// Products of every kind, `[m, k]` by `[k, n]`.
fn products(device: Device, dtype: DType, [m, k, n]: [usize; 3]) {
    let tensor = |shape: &[usize]| repeated(device, dtype, shape);
    // Sums of so many terms would be right but take years.
    if is_huge(k) && !is_huge(m) && !is_huge(n) && m * n > 0 {
        return;
    }
    let (Some(x), Some(y)) = (tensor(&[m, k]), tensor(&[k, n])) else { return };
    settled(x.matmul(&y), Some(&[m, n]));
    settled(x.linear(&y.t().unwrap(), None), Some(&[m, n]));
    settled(x.linear_gelu(&y.t().unwrap(), None, true).map(|(y, _)| y), Some(&[m, n]));
    settled(x.t().unwrap().linear_parameters_backward(&y, dtype).map(|(w, _)| w), Some(&[m, n]));
    let w = y.t().unwrap();
    settled(x.linear_cat(&[&w, &w], &[]), Some(&[m, n.saturating_mul(2)]));
    settled(x.linear_cat_backward(&[&x], &[]), None);
    if dtype == DType::F32 && device == Device::Cpu {
        for low in [LowPrecision::Int8, LowPrecision::Bf16] {
            settled(x.linear_low(&w, None, low), Some(&[m, n]));
            settled(x.linear_cat_low(&[&w, &w], &[], low), Some(&[m, n.saturating_mul(2)]));
        }
    }
    if let (Some(x), Some(y)) = (tensor(&[n, 1, m, 1]), tensor(&[k, 1, n])) {
        settled(x.matmul(&y), Some(&[n, k, m, n]));
    }
}

/// Functions that make tensors from sizes alone.
fn makers(device: Device, dtype: DType, [a, b, c]: [usize; 3]) {
    let (shape, key) = ([a, b, c], RngKey::new(1));
    settled(Tensor::full_on(&shape, 1.0, dtype, device), Some(&shape));
    settled(Tensor::bernoulli_mask_on(&shape, 0.5, key, device), Some(&shape));
    settled(repeated(device, dtype, &[1, 1, 1]).unwrap().broadcast_to(&shape), Some(&shape));
    settled(Tensor::attention_dropout_mask(b, c, a, 0.1, key), None);
    if device != Device::Cpu {
        return;
    }
    settled(Tensor::rand(&shape, dtype, key), Some(&shape));
    settled(Tensor::randn(&shape, dtype, key), Some(&shape));
    settled(Tensor::randint(0, 9, &shape, key), Some(&shape));
    settled(Tensor::eye(a, dtype), Some(&[a, a]));
    settled(Tensor::linspace(0.0, 1.0, a, dtype), Some(&[a]));
    settled(Tensor::arange(0.0, a as f64, 1.0, dtype), None);
    settled(Tensor::arange(0.0, 1.0, 1.0 / a as f64, dtype), None);
    settled(Tensor::from_slice::<f32>(&[], &shape), None);
}

/// Views, and functions that copy them.
fn views(x: &Tensor, [a, b, c]: [usize; 3]) {
    let shape = x.shape().to_vec();
    let rows = shape[0].saturating_add(a).saturating_add(b);
    settled(x.pad_zeros(0, a, b), Some(&[rows, shape[1], shape[2]]));
    let times: Vec<usize> = shape.iter().zip([a, b, c]).map(|(s, t)| s.saturating_mul(t)).collect();
    settled(x.repeat(&[a, b, c]), Some(&times));
    let twice = [shape[0], shape[1].saturating_mul(2), shape[2]];
    settled(Tensor::cat(&[x, x], 1), Some(&twice));
    settled(Tensor::stack(&[x, x], 0), Some(&[2, shape[0], shape[1], shape[2]]));
    settled(x.flip(&[0, 2]), Some(&shape));
    settled(x.copy(), Some(&shape));
    settled(x.reshape(&[a, b, c]), None);
    settled(x.reshape(&[usize::MAX]), None);
    settled(x.flatten(0, 1), None);
    settled(x.permute(&[2, 0, 1]).and_then(|x| x.contiguous()), None);
    settled(x.narrow(1, a, b), None);
    settled(x.select(0, a), None);
    settled(all(x.split(a, 1)), None);
    settled(all(x.split_with_sizes(&[a, b], 1)), None);
    settled(all(x.chunk(a, 1)), None);
    settled(x.unsqueeze(-1), None);
    settled(x.sum_to(&[1, shape[2]]), None);
    let _ = format!("{x:?}").len() + format!("{x}").len();
    assert!(x.to_vec::<f32>().is_ok_and(|v| v.len() == x.numel()) || x.numel() > 0);
}

/// Functions of single elements and along rows.
fn functions(x: &Tensor, [_, b, _]: [usize; 3]) {
    let (shape, device) = (x.shape().to_vec(), x.device());
    let ones = |shape: &[usize]| repeated(device, DType::F32, shape).unwrap();
    let (last, lead) = (ones(&shape[2..]), ones(&shape[..2]));
    settled(x.exp(), Some(&shape));
    settled(
        x.gelu().and_then(|y| x.unary_backward(gradus_tensor::ops::unary::UnaryOp::Gelu, &y)),
        None,
    );
    settled(x.add(&last), Some(&shape));
    settled(x.gt(&last), Some(&shape));
    settled(x.is_not_finite().and_then(|mask| x.where_(&mask, &last)), None);
    settled(x.to_dtype(DType::U32), Some(&shape));
    settled(x.dropout(0.5, RngKey::new(2)), Some(&shape));
    settled(x.softmax(1), Some(&shape));
    settled(x.log_softmax(-1).and_then(|y| y.log_softmax_backward(&y, -1)), None);
    for dims in [&[0][..], &[2], &[0, 2], &[]] {
        for keepdim in [false, true] {
            settled(x.sum(dims, keepdim), None);
            settled(x.max(dims, keepdim), None);
            settled(x.var(dims, keepdim, b), None);
            settled(x.logsumexp(dims, keepdim), None);
        }
    }
    settled(x.argmax(1, true), None);
    settled(x.topk(b, 1, true).map(|(values, _)| values), None);
    settled(x.sort(0, true).map(|(values, _)| values), None);
    settled(x.layer_norm(&last, Some(&last), 1e-5).map(|y| y.output), Some(&shape));
    let summed = x.dropout_add_layer_norm(x, &last, None, 1e-5, None, true);
    settled(summed.map(|y| y.output), Some(&shape));
    settled(x.layer_norm_backward(&last, &lead, &lead, x, None).map(|g| g.0), Some(&shape));
    settled(x.rms_norm(&last, 1e-5).map(|y| y.output), Some(&shape));
    settled(x.dropout_add_rms_norm(x, &last, 1e-5, None, true).map(|y| y.output), Some(&shape));
    settled(x.rms_norm_backward(&last, &lead, x, None).map(|g| g.0), Some(&shape));
    settled(x.glu(Glu::default()), None);
    settled(
        x.narrow(2, 0, x.shape()[2] / 2).and_then(|g| x.glu_backward(&g, Glu::default())),
        None,
    );
    settled(Tensor::global_norm(&[x, x]), None);
    let (mut p, mut m, mut v) = (x.clone(), x.clone(), x.clone());
    settled(p.mul_scalar_(2.0).and_then(|()| p.add_(&last, 1.0)).map(|()| p.clone()), None);
    settled(p.copy_(x).map(|()| p.clone()), None);
    let step = AdamWStep { lr: 0.1, beta2: 0.99, eps: 1e-6, ..adamw(1) };
    settled(p.adamw_(x, &mut m, &mut v, &step, None).map(|()| p.clone()), None);
    let sgd = SgdStep {
        lr: 0.1,
        momentum: 0.9,
        dampening: 0.0,
        nesterov: true,
        weight_decay: 0.1,
        step: 1,
    };
    settled(p.sgd_(x, Some(&mut m), &sgd, None).map(|()| p.clone()), None);
}

/// Functions that take ids, targets or offsets.
fn by_index(x: &Tensor, [a, b, c]: [usize; 3]) {
    let device = x.device();
    let shape = x.shape().to_vec();
    let ids = |shape: &[usize]| repeated(device, DType::U32, shape).map(|t| t.sub(&t).unwrap_or(t));
    let three = ids(&[3]).unwrap();
    let mut taken = shape.clone();
    taken[1] = 3;
    settled(x.index_select(1, &three), None);
    settled(
        x.index_add(1, &three, &repeated(device, DType::F32, &taken).unwrap_or(x.clone())),
        None,
    );
    for index in [&[1, 1, 1][..], &[a, 1, 1], &[1, b, c]] {
        let Some(index) = ids(index) else { continue };
        settled(x.gather(1, &index), None);
        settled(x.scatter_add(1, &index, x), None);
    }
    let table = x.select(0, 0);
    for many in [&[2, 3][..], &[a, b], &[c]] {
        let Some(ids) = ids(many) else { continue };
        if let Ok(table) = &table {
            settled(table.embedding(&ids), None);
        }
        let grad: Vec<usize> = many.iter().copied().chain([2]).collect();
        if let Some(grad) = repeated(device, DType::F32, &grad) {
            settled(Tensor::embedding_backward(&grad, &ids, b), None);
        }
    }
    let logits = repeated(device, DType::F32, &[a, b]);
    if let (Some(logits), Some(targets)) = (logits, ids(&[a])) {
        settled(
            logits.cross_entropy(&targets, &CrossEntropy::default()).map(|(loss, _)| loss),
            None,
        );
    }
    for bounds in [&[0u32, 2, 3][..], &[0, 0], &[0, u32::MAX]] {
        let offsets =
            Tensor::from_slice(bounds, &[bounds.len()]).unwrap().to_device(device).unwrap();
        for (rows, hidden) in [(bounds[bounds.len() - 1] as usize % 4, b), (a, b)] {
            let (q, positions) = (repeated(device, DType::F32, &[rows, hidden]), ids(&[rows]));
            let table = repeated(device, DType::F32, &[a, c & !1]);
            if let (Some(q), Some(table), Some(positions)) = (q, table, positions) {
                let options = Rotary { heads: c, head_size: b, inverse: false };
                settled(q.rotary_embedding(&table, &positions, options), None);
            }
            let options = Attention { heads: c, ..Default::default() };
            let Some(q) = repeated(device, DType::F32, &[rows, hidden]) else { continue };
            settled(q.attention(&q, &q, None, &offsets, &options).map(|(y, _)| y), None);
            settled(q.attention_qkvpacked(None, &offsets, &options).map(|(y, _)| y), None);
            let bias = repeated(device, DType::F32, &[c, hidden | 1]);
            if let Some(bias) = &bias {
                let near = Attention { window: Some(rows), ..options };
                let y = q.attention(&q, &q, Some(bias), &offsets, &near);
                settled(y.map(|(y, _)| y), None);
            }
            if let Some(lse) = repeated(device, DType::F32, &[c, rows]) {
                let bias = bias.as_ref().map(|bias| (bias, true));
                let grads = q.attention_backward([&q, &q], bias, &offsets, [&lse, &q], &options);
                settled(grads.map(|grads| grads.query), None);
            }
        }
    }
}

fn everything(device: Device, shape: [usize; 3], sizes: [usize; 3]) {
    products(device, DType::F32, shape);
    makers(device, DType::F32, shape);
    if device == Device::Cpu {
        products(device, DType::F64, shape);
        makers(device, DType::U8, shape);
    }
    if let Some(x) = repeated(device, DType::F32, &shape) {
        views(&x, sizes);
        functions(&x, sizes);
        by_index(&x, sizes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_size_is_too_large_to_be_refused(
        shape in prop::array::uniform3(size()), sizes in prop::array::uniform3(size()),
    ) {
        everything(Device::Cpu, shape, sizes);
        if let Some(device) = gradus_testing::gpu() {
            everything(device, shape, sizes);
        }
    }
}

#[test]
fn a_product_whose_size_wraps_around_is_refused() {
    for device in [Some(Device::Cpu), gradus_testing::gpu()].into_iter().flatten() {
        let one = Tensor::ones(&[1, 1], DType::F32).unwrap().to_device(device).unwrap();
        let (a, b) = (one.broadcast_to(&[17, 1]).unwrap(), one.broadcast_to(&[1, WRAPS]).unwrap());
        let w = b.t().unwrap();
        for result in [
            a.matmul(&b),
            a.linear(&w, None),
            a.linear_cat(&[&w], &[]),
            a.linear_gelu(&w, None, false).map(|(y, _)| y),
            a.t().unwrap().linear_parameters_backward(&b, DType::F32).map(|(w, _)| w),
        ] {
            let error = result.err().unwrap().to_string();
            assert!(error.contains("more elements than fit in memory"), "{error}");
            assert!(error.contains("[17, 1085102592571150096]"), "{error}");
        }
    }
}
