//! f32.

use proptest::prelude::*;

use super::super::numbers::Room;
use super::super::{
    Epilogue, F32Kernel, Left, Packed, Right, f32_kernel, f32_kernels, plain, product,
};
use super::pool;
use crate::mat::Mat;
use crate::parallel::SharedMut;
use gradus_base::{DType, RngKey};

fn random(n: usize, seed: u64) -> Vec<f32> {
    let x = crate::random::randn(&[n], DType::F32, RngKey::new(seed)).unwrap();
    x.view().to_vec("test").unwrap()
}

/// A matrix of `rows × cols` in `data`, its rows `gap` further apart than they must be.
fn mat(data: &[f32], rows: usize, cols: usize, gap: usize, transposed: bool) -> Mat<'_, f32> {
    if transposed {
        Mat { data, row: 1, col: rows + gap }
    } else {
        Mat { data, row: cols + gap, col: 1 }
    }
}

#[derive(Clone, Debug)]
struct Case {
    sizes: (usize, usize, usize),
    transposed: [bool; 2],
    gap: usize,
    packed: bool,
    bias: bool,
    gelu: bool,
}

impl Case {
    /// A, B and the bias.
    fn data(&self, seed: u64) -> [Vec<f32>; 3] {
        let (m, k, n) = self.sizes;
        let room = |rows: usize, cols: usize| (rows + 3) * (cols + 3);
        [random(room(m, k), seed), random(room(k, n), seed + 1), random(n, seed + 2)]
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = prop_oneof![
        (1..40usize, 1..40usize, 1..70usize),
        // Several blocks of rows, of steps, of panels.
        (90..300usize, 200..800usize, 1..40usize),
        (1..10usize, 700..900usize, 100..140usize),
    ];
    (sizes, any::<[bool; 2]>(), 0..3usize, any::<[bool; 3]>()).prop_map(
        |(sizes, transposed, gap, [packed, bias, gelu])| Case {
            sizes,
            transposed,
            gap,
            packed,
            bias,
            gelu,
        },
    )
}

/// C and the sums before the epilogue.
fn run(case: &Case, kernel: &dyn F32Kernel, data: &[Vec<f32>; 3]) -> (Vec<f32>, Vec<f32>) {
    let (m, k, n) = case.sizes;
    let a = mat(&data[0], m, k, case.gap, case.transposed[0]);
    let b = mat(&data[1], k, n, case.gap, case.transposed[1]);
    let (mut c, mut before) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
    let packed = case.packed.then(|| Packed::new("matmul", kernel, b, (k, n)).unwrap());
    let right = packed.as_ref().map_or(Right::Plain(b), Right::Packed);
    let bias = case.bias.then_some(&data[2][..n]);
    let kept = Some(SharedMut::new(&mut before));
    let epilogue = Epilogue { bias, gelu: case.gelu, before: kept, row: None };
    product(kernel, case.sizes, Left::Plain(a), right, &mut c, epilogue).unwrap();
    (c, before)
}

/// The product of a case in f64.
fn truth(case: &Case, data: &[Vec<f32>; 3]) -> Vec<f64> {
    let (m, k, n) = case.sizes;
    let a = mat(&data[0], m, k, case.gap, case.transposed[0]);
    let b = mat(&data[1], k, n, case.gap, case.transposed[1]);
    let mut truth = vec![0f64; m * n];
    for i in 0..m {
        let truth = &mut truth[i * n..(i + 1) * n];
        for p in 0..k {
            let x = a.data[i * a.row + p * a.col] as f64;
            for j in 0..n {
                truth[j] += x * b.data[p * b.row + j * b.col] as f64;
            }
        }
        for j in 0..n {
            truth[j] += if case.bias { data[2][j] as f64 } else { 0.0 };
        }
    }
    truth
}

/// The product of a case by each of `kernels` against sums in f64, and all of them with the same
/// bits.
fn check(case: &Case, seed: u64, kernels: &[&dyn F32Kernel]) -> Result<(), TestCaseError> {
    let ((_, k, n), data) = (case.sizes, case.data(seed));
    let truth = truth(case, &data);
    let mut first: Option<Vec<f32>> = None;
    for kernel in kernels {
        let (name, (c, before)) = (kernel.name(), run(case, *kernel, &data));
        for (i, &sum) in truth.iter().enumerate() {
            let (mut sum, tolerance) = (sum, 1e-5 + 5e-7 * k as f64);
            let at = [i / n, i % n];
            if case.gelu {
                let z = before[i] as f64;
                prop_assert!((z - sum).abs() < tolerance, "{name} {case:?} {at:?} {z} {sum}");
                sum *= 0.5 * libm::erfc(-sum * std::f64::consts::FRAC_1_SQRT_2);
            }
            let error = (c[i] as f64 - sum).abs();
            prop_assert!(error < tolerance, "{name} {case:?} {at:?} {} {sum}", c[i]);
        }
        // One order of summation: tiles and blocks of any size give the same bits.
        let sums = if case.gelu { before } else { c };
        match &first {
            None => first = Some(sums),
            Some(first) => prop_assert_eq!(first, &sums, "{} {:?}", name, case),
        }
    }
    Ok(())
}

/// The kernels of this processor.
fn detected() -> Vec<&'static dyn F32Kernel> {
    f32_kernels().collect()
}

#[test]
fn sizes_around_every_block() {
    let mut count = 0usize;
    for m in [1, 7, 95, 96, 97, 191, 193, 289] {
        for k in [1, 255, 256, 257, 767, 769, 1537] {
            for n in [1, 16, 31, 33, 65] {
                // All combinations of the flags, one after another: 37 is odd.
                let flags: [bool; 5] = std::array::from_fn(|bit| (count * 37) >> bit & 1 == 1);
                let [ta, tb, packed, bias, gelu] = flags;
                let transposed = [ta, tb];
                let case =
                    Case { sizes: (m, k, n), transposed, gap: count % 3, packed, bias, gelu };
                check(&case, count as u64, &detected()).unwrap();
                count += 1;
            }
        }
    }
}

/// How many instruction sets with a kernel the processor has.
fn instruction_sets() -> usize {
    #[cfg(target_arch = "x86_64")]
    return match is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        true => 1 + is_x86_feature_detected!("avx512f") as usize,
        false => 0,
    };
    #[cfg(not(target_arch = "x86_64"))]
    cfg!(target_arch = "aarch64").into()
}

#[test]
fn every_instruction_set_has_its_kernel() {
    assert_eq!(detected().len(), instruction_sets());
    let name = |kernel: &&dyn F32Kernel| kernel.name();
    assert_eq!(f32_kernel().as_ref().map(name), detected().first().map(name), "the best is used");
}

/// The columns beyond the last are zeros, even where the memory held other numbers.
#[test]
fn a_panel_is_filled_up_with_zeros() {
    let data = random(15, 1);
    for transposed in [false, true] {
        for kernel in detected().into_iter().chain([plain::F32]) {
            let width = kernel.width();
            let mut room = vec![f32::NAN; 3 * width];
            let bytes = bytemuck::cast_slice_mut(&mut room);
            let b = mat(&data, 3, 5, 0, transposed);
            kernel.pack_weight(b, 0..3, 0..5, Room { bytes, scales: &mut [], offsets: &mut [] });
            for (at, x) in room.into_iter().enumerate() {
                let (step, column) = (at / width, at % width);
                let want = if column < 5 { data[step * b.row + column * b.col] } else { 0.0 };
                assert_eq!(x, want, "{}, step {step}, column {column}", kernel.name());
            }
        }
    }
}

#[test]
fn panels_are_for_their_kernel_and_their_sizes() {
    let (data, plain) = (random(12, 1), plain::F32);
    let packed = Packed::new("matmul", plain, mat(&data, 3, 4, 0, false), (3, 4)).unwrap();
    assert!(packed.is_for(plain, 3, 4));
    for (k, n) in [(4, 3), (3, 5), (2, 4)] {
        assert!(!packed.is_for(plain, k, n), "{k} × {n}");
    }
    for kernel in detected() {
        assert_eq!(packed.is_for(kernel, 3, 4), kernel.width() == plain.width());
    }
}

#[test]
fn without_steps_the_result_is_the_bias() {
    for kernel in [vec![plain::F32], detected()].concat() {
        for packed in [false, true] {
            let (m, k, n) = (9, 0, 35);
            let (transposed, gap) = ([false, false], 0);
            let case = Case { sizes: (m, k, n), transposed, gap, packed, bias: true, gelu: false };
            let data = [vec![], vec![], random(n, 1)];
            let (c, _) = run(&case, kernel, &data);
            assert!(c.chunks(n).all(|row| row == data[2]), "{} {packed}", kernel.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn agrees_with_sums_in_f64(case in cases(), seed in 0u64..1000) {
        check(&case, seed, &[vec![plain::F32], detected()].concat())?;
    }

    #[test]
    fn small_products_agree_with_sums_in_f64(
        m in 1..60usize, k in 1..70usize, vectors in 1..6usize, gap in 0..3usize,
        transposed: bool, add: bool, seed in 0u64..1000,
    ) {
        let width = 16 * vectors;
        let data = [random((m + 3) * (k + 3), seed), random(k * width, seed + 1), random(m * width, seed + 2)];
        let a = mat(&data[0], m, k, gap, transposed);
        for kernel in [vec![plain::F32], detected()].concat() {
            let mut c = data[2].clone();
            kernel.small((m, k, width), a, &data[1], &mut c, add);
            for (i, &got) in c.iter().enumerate() {
                let (row, column) = (i / width, i % width);
                let products = (0..k).map(|p| a.data[row * a.row + p * a.col] as f64 * data[1][p * width + column] as f64);
                let want = products.sum::<f64>() + if add { data[2][i] as f64 } else { 0.0 };
                let name = kernel.name();
                prop_assert!((got as f64 - want).abs() < 1e-4, "{name} [{row}, {column}] {got} {want}");
            }
        }
    }

    #[test]
    fn blocks_are_transposed(n in 0..40usize, d in 0..40usize, gap in 0..3usize, more in 0..3usize) {
        let (stride, tall) = (d + gap, n + more);
        let from = random(n * stride + 1, 1);
        for kernel in [vec![plain::F32], detected()].concat() {
            let mut out = vec![f32::NAN; d * tall + 1];
            let (rows, columns) = kernel.transpose_blocks((&from, stride), n, d, &mut out, tall);
            prop_assert_eq!((rows, columns), (n / 8 * 8, d / 8 * 8));
            for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                prop_assert_eq!(out[j * tall + i], from[i * stride + j], "{}", kernel.name());
            }
        }
    }

    #[test]
    fn threads_and_rows_do_not_matter(case in cases(), seed in 0u64..1000) {
        let Some(kernel) = f32_kernel() else { return Ok(()) };
        let ((_, k, n), data) = (case.sizes, case.data(seed));
        let whole = pool(1).install(|| run(&case, kernel, &data)).0;
        for threads in [2, 5] {
            let again = pool(threads).install(|| run(&case, kernel, &data)).0;
            prop_assert_eq!(&again, &whole, "{} threads", threads);
        }
        if !case.transposed[0] {
            let one = Case { sizes: (1, k, n), ..case.clone() };
            prop_assert_eq!(&run(&one, kernel, &data).0[..], &whole[..n], "the first row alone");
        }
    }
}
