//! Operands of 8 and 16 bits.

use proptest::prelude::*;

use super::super::bf16::bf16;
use super::super::rounding::{MAX_STEPS, max_integer};
use super::super::{Kernel, Numbers, low_kernels, plain};
use super::pool;
use crate::low::{self, Gelu, product_bf16};
use crate::storage::Output;
use crate::unary::gelu;
use crate::view::{Array, View};
use crate::{create, random};
use gradus_base::op::matmul::LowPrecision;
use gradus_base::{DType, RngKey};

fn random(shape: &[usize], seed: u64) -> Array {
    random::randn(shape, DType::F32, RngKey::new(seed)).unwrap()
}

fn values(x: View) -> Vec<f32> {
    x.to_vec("test").unwrap()
}

fn to_bf16(x: f64) -> f64 {
    f32::from_bits((bf16(x as f32) as u32) << 16) as f64
}

/// The layer with operands that were rounded as they should be, in f64, and how far the
/// rounding of x, sums in f32 and the rounding of a number halfway between two may take the
/// result from it.
fn reference(numbers: Numbers, x: View, w: View, b: View) -> (Vec<f64>, Vec<f64>) {
    let ((m, k), n) = ((x.shape()[0], x.shape()[1]), w.shape()[0]);
    let [x, w, b] = [x, w, b].map(|x| x.to_f64_vec("test").unwrap());
    let (mut y, mut slack) = (Vec::new(), Vec::new());
    for i in 0..m {
        let x = &x[i * k..(i + 1) * k];
        let min = x.iter().fold(0.0, |m: f64, x| m.min(*x));
        let max = x.iter().fold(0.0, |m: f64, x| m.max(*x));
        let step = match numbers {
            Numbers::I16ByI8 => max.max(-min) / max_integer(k) as f64,
            Numbers::U8ByI8 | Numbers::I8ByI8 => (max - min) / 255.0,
            Numbers::Bf16 | Numbers::F32 => 0.0,
        };
        for j in 0..n {
            let w = &w[j * k..(j + 1) * k];
            if numbers == Numbers::Bf16 {
                let products = || x.iter().zip(w).map(|(x, w)| to_bf16(*x) * to_bf16(*w));
                slack.push(1e-6 * (products().map(f64::abs).sum::<f64>() + b[j].abs()) + 1e-30);
                y.push(products().sum::<f64>() + b[j]);
                continue;
            }
            let s = w.iter().fold(0.0, |m: f64, w| m.max(w.abs())) / 127.0;
            let q: Vec<f64> =
                w.iter().map(|w| if s > 0.0 { (w / s).round() * s } else { 0.0 }).collect();
            let sum: f64 = x.iter().zip(&q).map(|(x, w)| x * w).sum();
            let size: f64 = x.iter().zip(&q).map(|(x, w)| (x * w).abs()).sum();
            // In 8 bits 0 is rounded as well, so an end of the range may lie half a step
            // outside.
            let most = if numbers != Numbers::I16ByI8 { 1.01 } else { 0.51 };
            let rounding = q.iter().map(|w| w.abs()).sum::<f64>() * step * most;
            // A weight halfway between two integers may be rounded either way in f32.
            let halfway = |w: f64| s > 0.0 && ((w / s).abs().fract() - 0.5).abs() < 1e-4;
            let either: f64 =
                x.iter().zip(w).filter(|(_, w)| halfway(**w)).map(|(x, _)| x.abs() * s).sum();
            slack.push(rounding + 1e-5 * (size + b[j].abs()) + either + s * step);
            y.push(sum + b[j]);
        }
    }
    (y, slack)
}

/// All kernels of this processor, and the plain twins of all numbers.
fn all(k: usize) -> Vec<&'static dyn Kernel> {
    let low = [LowPrecision::Int8, LowPrecision::Bf16];
    low.into_iter().flat_map(|low| low_kernels(low, k)).chain(plain::ALL).collect()
}

/// The plain twin of a kernel.
fn twin(kernel: &dyn Kernel) -> &'static dyn Kernel {
    let twin = plain::ALL.into_iter().find(|twin| twin.numbers() == kernel.numbers());
    twin.expect("all rounded numbers have a plain kernel")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn it_is_the_layer_with_rounded_operands(
        m in 1..140usize, k in 1..200usize, n in 1..100usize, seed in 0..1000u64, transposed: bool,
    ) {
        let (x, b) = (random(&[m, k], seed), random(&[n], seed + 2));
        for kernel in all(k) {
            let (name, numbers) = (kernel.name(), kernel.numbers());
            // A new weight, because it keeps the form that it was given first.
            let shape = if transposed { [k, n] } else { [n, k] };
            let w = random(&shape, seed + 1);
            let order = if transposed { [1, 0] } else { [0, 1] };
            let layout = w.view().layout().permute(order);
            let w = w.view().with(&layout);
            let layer = |gelu| low::linear(kernel, x.view(), &[w], &[b.view()], gelu).unwrap();
            let y = values(layer(Gelu::No).0.view());
            let (want, slack) = reference(numbers, x.view(), w, b.view());
            for (i, ((got, want), slack)) in y.iter().zip(want).zip(slack).enumerate() {
                prop_assert!(
                    (*got as f64 - want).abs() <= slack,
                    "{name}, element {i}: {got}, not {want} (± {slack})"
                );
            }
            // GELU in the same pass is GELU of the result, and a second call uses the same
            // weight.
            let (got, before) = layer(Gelu::Keep);
            prop_assert_eq!(values(before.unwrap().view()), y.clone(), "{}: what is kept", name);
            prop_assert_eq!(values(layer(Gelu::Yes).0.view()), values(got.view()));
            for (got, y) in values(got.view()).into_iter().zip(y) {
                prop_assert!((got - gelu(y)).abs() <= 1e-6 * y.abs().max(1.0), "{name} {got} {}", gelu(y));
            }
        }
    }

    #[test]
    fn kernels_are_their_plain_twin_and_threads_do_not_matter(
        m in 1..100usize, k in 1..300usize, n in 1..80usize, seed in 0..1000u64,
    ) {
        let x = random(&[m, k], seed);
        for kernel in all(k) {
            let (name, numbers) = (kernel.name(), kernel.numbers());
            let w = random(&[n, k], seed + 1);
            let run = |kernel: &dyn Kernel, threads| {
                let layer = || low::linear(kernel, x.view(), &[w.view()], &[], Gelu::No);
                values(pool(threads).install(layer).unwrap().0.view())
            };
            let (got, twin) = (run(kernel, 1), run(twin(kernel), 1));
            prop_assert_eq!(&got, &run(kernel, 3), "{} with three threads", name);
            if numbers != Numbers::Bf16 {
                prop_assert_eq!(got, twin, "{}", name);
            }
        }
    }
}

/// The kernels of bf16, and their plain twin.
fn all_bf16() -> impl Iterator<Item = &'static dyn Kernel> {
    all(64).into_iter().filter(|kernel| kernel.numbers() == Numbers::Bf16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Rows of A or B are adjacent, or columns, or nothing is; rows are longer than a block.
    #[test]
    fn products_in_bf16_read_any_strides(
        m in 1..80usize, k in prop_oneof![1..100usize, 1000..2300usize], n in 1..80usize,
        seed in 0..1000u64, turned: (bool, bool), apart: (bool, bool),
    ) {
        let make = |[rows, columns]: [usize; 2], turned, apart, seed| {
            let shape = if turned { [columns, rows] } else { [rows, columns] };
            let step = if apart { 3 } else { 1 };
            let x = random(&[shape[0], shape[1] * step], seed);
            let mut layout = x.view().layout().clone();
            (layout.shape, layout.strides[1]) = (shape.into(), step);
            let layout = if turned { layout.permute([1, 0]) } else { layout };
            (x, layout)
        };
        let (a, layout_a) = make([m, k], turned.0, apart.0, seed);
        let (b, layout_b) = make([k, n], turned.1, apart.1, seed + 1);
        let (a, b) = (a.view().with(&layout_a), b.view().with(&layout_b));
        let [x, y] = [a, b].map(|x| x.to_f64_vec("test").unwrap());
        for kernel in all_bf16() {
            let c = values(product_bf16(kernel, a, b).unwrap().view());
            let threads = pool(3).install(|| product_bf16(kernel, a, b)).unwrap();
            prop_assert_eq!(&c, &values(threads.view()), "{} with three threads", kernel.name());
            for i in 0..m {
                for j in 0..n {
                    let products = || (0..k).map(|p| to_bf16(x[i * k + p]) * to_bf16(y[p * n + j]));
                    let (want, size) = (products().sum::<f64>(), products().map(f64::abs).sum::<f64>());
                    let got = c[i * n + j] as f64;
                    prop_assert!(
                        (got - want).abs() <= 2e-6 * size + 1e-30,
                        "{}, element {i}, {j}: {got}, not {want}", kernel.name()
                    );
                }
            }
        }
    }
}

#[test]
fn sums_fit_and_what_is_no_number_stays_none() {
    for k in [1, 2, 768, 3072, 100_000] {
        assert!(max_integer(k) as i64 * 127 * k as i64 <= i32::MAX as i64, "{k}");
    }
    for kernel in all(3072) {
        let name = kernel.name();
        let layer = |x: &Array, w: &Array| {
            let y = low::linear(kernel, x.view(), &[w.view()], &[], Gelu::No);
            values(y.unwrap().0.view())
        };
        let full = |shape: &[usize], x| create::full(shape, x, DType::F32).unwrap();
        // All of the largest: the sum is as large as it can be.
        for (x, w) in [(2.0, -3.0), (-2.0, -3.0), (2.0, 3.0)] {
            let y = layer(&full(&[1, 3072], x), &full(&[1, 3072], w))[0];
            assert!((y as f64 - x * w * 3072.0).abs() < 1.0, "{name} {y}");
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = Output::filled("test", &[2, 2], 1f32).unwrap();
            x.slice_mut()[1] = bad;
            let y = layer(&x.into_array(&[2, 2]), &random(&[3, 2], 0));
            assert!(
                y[..3].iter().all(|y| !y.is_finite()) && y[3..].iter().all(|y| y.is_finite()),
                "{name} {y:?}"
            );
        }
        let y = layer(&full(&[2, 4], 0.0), &full(&[3, 4], 0.0));
        assert_eq!(y, [0.0; 6], "{name}");
    }
}

#[test]
fn a_row_too_long_for_8_by_8_bits_takes_another_form() {
    for kernel in low_kernels(LowPrecision::Int8, MAX_STEPS + 1) {
        assert_eq!(kernel.numbers(), Numbers::I16ByI8);
    }
    assert!(MAX_STEPS as i64 * 255 * 127 <= i32::MAX as i64);
}

#[test]
fn bf16_is_the_nearest() {
    for bits in (0..=u32::MAX).step_by(65_521 * 16) {
        let x = f32::from_bits(bits);
        assert_eq!(bf16(x), half::bf16::from_f32(x).to_bits(), "{x}");
    }
    assert_eq!(bf16(1.0 + 1.0 / 256.0), 0x3f80, "a tie goes to even");
    assert_eq!(bf16(1.0 + 3.0 / 256.0), 0x3f82, "a tie goes to even");
    assert_eq!((bf16(f32::INFINITY), bf16(f32::NEG_INFINITY)), (0x7f80, 0xff80));
}

#[test]
fn names_tell_the_instructions() {
    let sets = ["AMX", "AVX", "NEON", "plain"];
    for kernel in all(64) {
        let name = kernel.name();
        assert!(sets.iter().any(|set| name.starts_with(set)), "{name:?} of {:?}", kernel.numbers());
        assert!(kernel.fs_per_mac() > 0, "{name} takes no time");
    }
}
