//! Kernels of users: values on both devices, over views and sizes, and the errors that name them.

use gradus_tensor::ops::custom::{CustomKernel, Float};
use gradus_tensor::{DType, Device, RngKey, Tensor};
use gradus_testing::{assert_near, devices, gpu};

/// The product of a matrix's row sums, `[rows, 3]` → `[rows]`, times a vector `[rows]`: one element
/// reads several.
struct RowSum;

impl CustomKernel for RowSum {
    const NAME: &'static str = "row_sum";
    const INPUTS: usize = 2;
    const WGSL: &'static str = "
        fn element(i: u32) -> f32 {
            return (in0[3u * i] + in0[3u * i + 1u] + in0[3u * i + 2u]) * in1[i];
        }";

    #[inline(always)]
    fn fill<T: Float>(inputs: &[&[T]], first: usize, out: &mut [T]) {
        for (i, y) in (first..).zip(out) {
            let [a, b, c] = [0, 1, 2].map(|j| inputs[0][3 * i + j]);
            *y = (a + b + c) * inputs[1][i];
        }
    }
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, DType::F32, RngKey::new(seed)).unwrap()
}

fn row_sums(x: &Tensor, w: &Tensor) -> Tensor {
    x.sum(&[1], false).unwrap().mul(w).unwrap()
}

#[test]
fn a_kernel_computes_on_both_devices() {
    for device in devices() {
        for rows in [0, 1, 5, 300, 70_000] {
            let (x, w) = (random(&[rows, 3], 1), random(&[rows], 2));
            let on = |t: &Tensor| t.to_device(device).unwrap();
            let y = Tensor::custom::<RowSum>(&[&on(&x), &on(&w)], &[rows]).unwrap();
            assert_near(&format!("{rows} rows, {device}"), &y, &row_sums(&x, &w), |_| 1e-5);
        }
        // Views: a transposed matrix, and a vector that begins inside its storage.
        let (x, w) = (random(&[3, 40], 3).t().unwrap(), random(&[50], 4));
        let w = w.narrow(0, 7, 40).unwrap();
        let there = |whole: &Tensor| whole.copy().unwrap().to_device(device).unwrap();
        let (x_there, w_there) = (there(&x.t().unwrap()).t().unwrap(), {
            there(&random(&[50], 4)).narrow(0, 7, 40).unwrap()
        });
        let y = Tensor::custom::<RowSum>(&[&x_there, &w_there], &[40]).unwrap();
        assert_near(&format!("views, {device}"), &y, &row_sums(&x, &w), |_| 1e-5);
    }
}

#[test]
fn f64_is_computed_in_f64() {
    let x = Tensor::from_slice(&[1f64, 1e-12, 0.0], &[1, 3]).unwrap();
    let w = Tensor::from_slice(&[1f64], &[1]).unwrap();
    let y = Tensor::custom::<RowSum>(&[&x, &w], &[1]).unwrap();
    assert_eq!(y.to_vec::<f64>().unwrap(), [1.0 + 1e-12]);
}

/// Two kernels of one name have a text each.
struct Twice;
struct Thrice;

macro_rules! times {
    ($name:ident, $times:literal, $wgsl:literal) => {
        impl CustomKernel for $name {
            const NAME: &'static str = "times";
            const INPUTS: usize = 1;
            const WGSL: &'static str = $wgsl;

            fn fill<T: Float>(inputs: &[&[T]], first: usize, out: &mut [T]) {
                for (y, &x) in out.iter_mut().zip(&inputs[0][first..]) {
                    *y = x * T::c($times);
                }
            }
        }
    };
}
times!(Twice, 2.0, "fn element(i: u32) -> f32 { return 2.0 * in0[i]; }");
times!(Thrice, 3.0, "fn element(i: u32) -> f32 { return 3.0 * in0[i]; }");

#[test]
fn kernels_of_one_name_are_told_apart() {
    let Some(gpu) = gpu() else { return };
    let x = Tensor::ones(&[4], DType::F32).unwrap().to_device(gpu).unwrap();
    let values = |y: Tensor| y.to_device(Device::Cpu).unwrap().to_f64_vec();
    assert_eq!(values(Tensor::custom::<Twice>(&[&x], &[4]).unwrap()), [2.0; 4]);
    assert_eq!(values(Tensor::custom::<Thrice>(&[&x], &[4]).unwrap()), [3.0; 4]);
}

/// Its text calls a function that does not exist.
struct Wrong;

impl CustomKernel for Wrong {
    const NAME: &'static str = "wrong";
    const INPUTS: usize = 1;
    const WGSL: &'static str = "fn element(i: u32) -> f32 { return sinus(in0[i]); }";

    fn fill<T: Float>(_: &[&[T]], _: usize, _: &mut [T]) {}
}

#[test]
fn mistakes_are_named() {
    let x = Tensor::ones(&[2], DType::F32).unwrap();
    let wrong = Tensor::custom::<Wrong>(&[&x], &[2]).unwrap_err().to_string();
    assert!(wrong.contains("[wrong]") && wrong.contains("sinus"), "{wrong}");
    let count = Tensor::custom::<RowSum>(&[&x], &[2]).unwrap_err().to_string();
    assert!(count.contains("[row_sum] takes 2 inputs") && count.contains("got 1"), "{count}");
    let wide = Tensor::ones(&[2], DType::F64).unwrap();
    let mixed = Tensor::custom::<RowSum>(&[&x, &wide], &[2]).unwrap_err().to_string();
    assert!(mixed.contains("one dtype"), "{mixed}");
    let ids = Tensor::ones(&[2], DType::U32).unwrap();
    let dtype = Tensor::custom::<Twice>(&[&ids], &[2]).unwrap_err().to_string();
    assert!(dtype.contains("[times]") && dtype.contains("u32"), "{dtype}");
    let beyond = Tensor::custom::<Twice>(&[&x], &[usize::MAX, 2]).unwrap_err().to_string();
    assert!(beyond.contains("[times]"), "{beyond}");
    if let Some(gpu) = gpu() {
        let moved = x.to_device(gpu).unwrap();
        let apart = Tensor::custom::<RowSum>(&[&x, &moved], &[2]).unwrap_err().to_string();
        assert!(apart.contains("to_device"), "{apart}");
    }
}
