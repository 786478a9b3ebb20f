//! Shared by the tests of the operations: random views, and the simplest way to walk them.

use gradus_tensor::{DType, RngKey, Tensor};
use gradus_testing::assert_near_or_nan;
use proptest::prelude::*;

/// Numbers of magnitude about 1, different for every seed.
pub fn numbers(seed: u64, shape: &[usize], dtype: DType) -> Tensor {
    let key = RngKey::new(seed);
    let count: usize = shape.iter().product();
    let values: Vec<f64> =
        (0..count as u64).map(|i| key.word(i) as f64 / (1u64 << 30) as f64 - 2.0).collect();
    Tensor::from_slice(&values, shape).unwrap().to_dtype(dtype).unwrap()
}

/// The kinds of views.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Contiguous,
    Permuted,
    Narrowed,
    Broadcast,
}

pub fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Contiguous),
        Just(Kind::Permuted),
        Just(Kind::Narrowed),
        Just(Kind::Broadcast)
    ]
}

/// Random numbers in a view of this kind, with `shape`.
pub fn view(seed: u64, shape: &[usize], kind: Kind, dtype: DType) -> Tensor {
    let rank = shape.len();
    match kind {
        Kind::Contiguous => numbers(seed, shape, dtype),
        Kind::Permuted => {
            // Rotates the dimensions by an amount that depends on the seed, then back.
            let turn = if rank == 0 { 0 } else { seed as usize % rank };
            let stored: Vec<usize> = (0..rank).map(|d| shape[(d + turn) % rank]).collect();
            let back: Vec<isize> =
                (0..rank).map(|d| ((d + rank - turn) % rank.max(1)) as isize).collect();
            numbers(seed, &stored, dtype).permute(&back).unwrap()
        }
        Kind::Narrowed => {
            let larger: Vec<usize> = shape.iter().map(|s| s + 2).collect();
            let mut x = numbers(seed, &larger, dtype);
            for (d, &size) in shape.iter().enumerate() {
                x = x.narrow(d as isize, 1, size).unwrap();
            }
            x
        }
        Kind::Broadcast => {
            let small: Vec<usize> = shape
                .iter()
                .enumerate()
                .map(|(d, &s)| if s > 0 && (seed >> d) & 1 == 1 { 1 } else { s })
                .collect();
            numbers(seed, &small, dtype).broadcast_to(shape).unwrap()
        }
    }
}

/// Shapes of up to four dimensions, sizes 0 and 1 among them, and some that cross the kernels'
/// block sizes.
pub fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        6 => prop::collection::vec(prop_oneof![1 => Just(0usize), 2 => Just(1), 12 => 2..7usize], 0..=4),
        1 => Just(vec![2100, 3]),
        1 => Just(vec![3, 2100]),
        1 => Just(vec![2, 1030, 2]),
        1 => Just(vec![40, 300]),
    ]
}

/// For each index of the kept dimensions in row-major order, the values over the reduced ones.
pub fn slices(x: &Tensor, dims: &[usize]) -> Vec<Vec<f64>> {
    let shape = x.shape();
    let kept: usize = (0..shape.len()).filter(|d| !dims.contains(d)).map(|d| shape[d]).product();
    let mut out = vec![Vec::new(); kept];
    for (i, value) in x.to_f64_vec().into_iter().enumerate() {
        let (mut rest, mut at, mut step) = (i, 0, 1);
        for d in (0..shape.len()).rev() {
            if !dims.contains(&d) {
                at += rest % shape[d] * step;
                step *= shape[d];
            }
            rest /= shape[d];
        }
        out[at].push(value);
    }
    out
}

/// Asserts that two lists agree within `tolerance`, relative above 1. NaN equals NaN.
pub fn close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_near_or_nan(what, got, want, |want| tolerance * want.abs().max(1.0));
}

/// The tolerance for a dtype in a test over a few thousand elements.
pub fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-12 } else { 2e-6 }
}

pub fn float() -> impl Strategy<Value = DType> {
    prop_oneof![Just(DType::F32), Just(DType::F64)]
}

/// Runs `body` in pools of one and of two threads, and asserts that the results are equal.
pub fn same_for_any_threads<R: PartialEq + std::fmt::Debug + Send>(body: impl Fn() -> R + Sync) {
    let with = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(&body);
    assert_eq!(with(1), with(2));
}
