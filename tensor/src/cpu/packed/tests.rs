//! The kernel against sums in f64, over odd sizes and strides, for every instruction set: those that
//! the processor has not are stood for by arrays of as many elements.

use proptest::prelude::*;

use super::*;
use crate::cpu::matmul::Mat;
use crate::{DType, RngKey, Tensor};

/// AVX-512's tile and panels in plain Rust.
#[derive(Clone, Copy)]
struct Wide([f32; 16]);

impl Lanes for Wide {
    const N: usize = 16;
    const ROWS: usize = 8;
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Wide(unsafe { p.cast::<[f32; 16]>().read() })
    }
    unsafe fn splat(x: f32) -> Self {
        Wide([x; 16])
    }
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        Wide(std::array::from_fn(|i| a.0[i].mul_add(b.0[i], self.0[i])))
    }
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 16]>().write(self.0) }
    }
}

fn random(n: usize, seed: u64) -> Vec<f32> {
    let x = Tensor::randn(&[n], DType::F32, RngKey::new(seed)).unwrap();
    x.to_vec().unwrap()
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

/// C and the sums before the epilogue. `isa` is the processor's or, for [`Wide`], none.
fn run(case: &Case, isa: Option<Isa>, data: &[Vec<f32>; 3]) -> (Vec<f32>, Vec<f32>) {
    let (m, k, n) = case.sizes;
    let a = mat(&data[0], m, k, case.gap, case.transposed[0]);
    let b = mat(&data[1], k, n, case.gap, case.transposed[1]);
    let (mut c, mut before) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
    {
        let layout = isa.unwrap_or(Isa::Avx512);
        let packed = case.packed.then(|| Packed::new(layout, b, k, n).unwrap());
        let right = packed.as_ref().map_or(Right::Plain(b), Right::Packed);
        let (c, before) = (SharedMut::new(&mut c), SharedMut::new(&mut before));
        let bias = case.bias.then_some(&data[2][..n]);
        let epilogue = Epilogue { bias, gelu: case.gelu, before: Some(&before), row: None };
        match isa {
            // SAFETY: C is ours; the instruction set was detected.
            Some(isa) => unsafe { product(isa, case.sizes, a, right, &c, epilogue).unwrap() },
            None => {
                let product = Product { m, k, n, a, b: right, c: &c, row_c: n, epilogue };
                let (size_a, size_b) = product.scratch(layout.width());
                let (mut x, mut y) = (vec![0.0; size_a], vec![0.0; size_b]);
                let panels = 0..n.div_ceil(layout.width());
                // SAFETY: C is ours; arrays need no instructions.
                unsafe { product.block::<Wide>(0..m, panels, &mut x, &mut y) };
            }
        }
    }
    (c, before)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn agrees_with_sums_in_f64(case in cases(), seed in 0u64..1000) {
        let Some(best) = Isa::detect() else { return Ok(()) };
        let (m, k, n) = case.sizes;
        let room = |rows: usize, cols: usize| (rows + 3) * (cols + 3);
        let data = [random(room(m, k), seed), random(room(k, n), seed + 1), random(n, seed + 2)];
        let a = mat(&data[0], m, k, case.gap, case.transposed[0]);
        let b = mat(&data[1], k, n, case.gap, case.transposed[1]);
        let isas = match best {
            Isa::Avx2 => vec![None, Some(Isa::Avx2)],
            Isa::Avx512 => vec![None, Some(Isa::Avx2), Some(Isa::Avx512)],
        };
        let mut first: Option<Vec<f32>> = None;
        for isa in isas {
            let (c, before) = run(&case, isa, &data);
            for i in 0..m {
                for j in 0..n {
                    let mut sum = if case.bias { data[2][j] as f64 } else { 0.0 };
                    for p in 0..k {
                        let (x, y) = (a.data[i * a.row + p * a.col], b.data[p * b.row + j * b.col]);
                        sum += x as f64 * y as f64;
                    }
                    let (got, tolerance) = (c[i * n + j], 1e-5 + 5e-7 * k as f64);
                    if case.gelu {
                        let z = before[i * n + j] as f64;
                        prop_assert!((z - sum).abs() < tolerance, "{isa:?} {case:?} {z} {sum}");
                        sum *= 0.5 * libm::erfc(-sum * std::f64::consts::FRAC_1_SQRT_2);
                    }
                    let error = (got as f64 - sum).abs();
                    prop_assert!(error < tolerance, "{isa:?} {case:?} [{i}, {j}] {got} {sum}");
                }
            }
            // One order of summation: tiles and blocks of any size give the same bits. (GELU's
            // exponential may be contracted differently; its argument may not.)
            let sums = if case.gelu { before } else { c };
            match &first {
                None => first = Some(sums),
                Some(first) => prop_assert_eq!(first, &sums),
            }
        }
    }

    #[test]
    fn threads_and_rows_do_not_matter(case in cases(), seed in 0u64..1000) {
        let Some(isa) = Isa::detect() else { return Ok(()) };
        let (m, k, n) = case.sizes;
        let room = |rows: usize, cols: usize| (rows + 3) * (cols + 3);
        let data = [random(room(m, k), seed), random(room(k, n), seed + 1), random(n, seed + 2)];
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let whole = pool(1).install(|| run(&case, Some(isa), &data)).0;
        for threads in [2, 5] {
            let again = pool(threads).install(|| run(&case, Some(isa), &data)).0;
            prop_assert_eq!(&again, &whole, "{} threads", threads);
        }
        if !case.transposed[0] {
            let one = Case { sizes: (1, k, n), ..case.clone() };
            prop_assert_eq!(&run(&one, Some(isa), &data).0[..], &whole[..n], "the first row alone");
        }
    }
}
