//! Products on a GPU against the CPU: few rows, tiles, fours and single elements, every layout of
//! an operand.

use gradus_tensor::{DType, Device, RngKey, Tensor};
use gradus_testing::gpu;

fn randn(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, DType::F32, RngKey::new(seed)).unwrap()
}

fn assert_near(what: &str, truth: &Tensor, ours: &Tensor) {
    assert_eq!(ours.shape(), truth.shape(), "{what}");
    for (i, (a, b)) in truth.to_f64_vec().into_iter().zip(ours.to_f64_vec()).enumerate() {
        assert!((a - b).abs() < 1e-4, "{what}: element {i} is {b}, should be {a}");
    }
}

/// The matrix on the GPU: contiguous, transposed, and as a part of a larger one, with gaps that are
/// multiples of 4 and with others.
fn lies(x: &Tensor, device: Device) -> Vec<Tensor> {
    let (rows, cols) = (x.shape()[0], x.shape()[1]);
    let there = |x: &Tensor| x.to_device(device).unwrap();
    let part = |before: usize, after: usize| {
        let wide = x.pad_zeros(1, before, after).unwrap().pad_zeros(0, before, after).unwrap();
        let wide = there(&wide).narrow(1, before, cols).unwrap();
        wide.narrow(0, before, rows).unwrap()
    };
    let turned = there(&x.t().unwrap().copy().unwrap()).t().unwrap();
    vec![there(x), turned, part(4, 4), part(1, 2)]
}

#[test]
fn of_every_shape_and_layout() {
    let Some(device) = gpu() else { return };
    for m in [1, 3, 4, 5, 16, 17, 70] {
        for (k, n) in [(1, 1), (3, 9), (4, 4), (64, 5), (68, 8), (37, 77), (260, 12), (5, 1)] {
            let (a, b) = (randn(&[m, k], 1), randn(&[k, n], 2));
            let truth = a.matmul(&b).unwrap();
            for (i, x) in lies(&a, device).into_iter().enumerate() {
                for (j, y) in lies(&b, device).into_iter().enumerate() {
                    let what = format!("{m}×{k}×{n}, operands {i} and {j}");
                    assert_near(&what, &truth, &x.matmul(&y).unwrap());
                }
            }
        }
    }
}

#[test]
fn with_bias_and_gelu() {
    let Some(device) = gpu() else { return };
    let there = |x: &Tensor| x.to_device(device).unwrap();
    for (m, k, n) in [(1, 68, 24), (4, 33, 7), (9, 64, 10), (33, 24, 44), (40, 23, 6), (700, 8, 68)]
    {
        let (x, w, bias) = (randn(&[m, k], 1), randn(&[n, k], 2), randn(&[n + 1], 3));
        let bias = bias.narrow(0, 1, n).unwrap();
        let (x_there, w_there, b_there) = (there(&x), there(&w), there(&bias));
        for b in [None, Some((&bias, &b_there))] {
            let what = format!("{m}×{k}×{n}, bias {}", b.is_some());
            let truth = x.linear(&w, b.map(|b| b.0)).unwrap();
            let b = b.map(|b| b.1);
            assert_near(&what, &truth, &x_there.linear(&w_there, b).unwrap());
            let (y, z) = x_there.linear_gelu(&w_there, b, true).unwrap();
            assert_near(&what, &truth, &z.unwrap());
            assert_near(&what, &truth.gelu().unwrap(), &y);
            let (y, _) = x_there.linear_gelu(&w_there, b, false).unwrap();
            assert_near(&what, &truth.gelu().unwrap(), &y);
        }
    }
}

#[test]
fn of_a_batch() {
    let Some(device) = gpu() else { return };
    let there = |x: &Tensor| x.to_device(device).unwrap();
    for (m, k, n) in [(3, 20, 12), (20, 12, 8), (2, 7, 5)] {
        let (a, b) = (randn(&[2, 1, m, k], 1), randn(&[3, n, k], 2));
        let (turned, turned_there) = (b.t().unwrap(), there(&b).t().unwrap());
        let what = format!("{m}×{k}×{n}");
        let truth = a.matmul(&turned).unwrap();
        assert_near(&what, &truth, &there(&a).matmul(&turned_there).unwrap());
        let b = turned.copy().unwrap();
        assert_near(&what, &truth, &there(&a).matmul(&there(&b)).unwrap());
    }
}

/// The layout of an operand decides which kernel reads it, but not the order of the sums.
#[test]
fn fours_and_single_elements_give_the_same_bits() {
    let Some(device) = gpu() else { return };
    for (m, k, n) in [(1, 388, 20), (4, 132, 8), (13, 200, 12), (40, 68, 36)] {
        let (a, w) = (randn(&[m, k], 1), randn(&[n, k], 2));
        let (a, w) = (lies(&a, device), lies(&w, device));
        let bits = |x: &Tensor, w: &Tensor| x.matmul(&w.t().unwrap()).unwrap().to_f64_vec();
        let truth = bits(&a[0], &w[0]);
        for (i, j) in [(2, 2), (3, 3), (0, 3), (3, 0)] {
            assert_eq!(bits(&a[i], &w[j]), truth, "{m}×{k}×{n}, operands {i} and {j}");
        }
    }
}
