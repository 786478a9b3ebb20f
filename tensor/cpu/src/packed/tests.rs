//! The kernel against sums in f64, over odd sizes and strides, for every instruction set: those
//! that the processor has not are stood for by arrays of as many elements.

use gradus_base::{DType, RngKey};
use proptest::prelude::*;

use super::*;
use crate::mat::Mat;

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
    unsafe fn add(self, other: Self) -> Self {
        Wide(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 16]>().write(self.0) }
    }
}

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

/// The product of a case by each of `isas` against sums in f64, and all of them with the same bits.
fn check(case: &Case, seed: u64, isas: &[Option<Isa>]) -> Result<(), TestCaseError> {
    let (m, k, n) = case.sizes;
    let room = |rows: usize, cols: usize| (rows + 3) * (cols + 3);
    let data = [random(room(m, k), seed), random(room(k, n), seed + 1), random(n, seed + 2)];
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
    let mut first: Option<Vec<f32>> = None;
    for &isa in isas {
        let (c, before) = run(case, isa, &data);
        for (i, &sum) in truth.iter().enumerate() {
            let (mut sum, tolerance) = (sum, 1e-5 + 5e-7 * k as f64);
            let at = [i / n, i % n];
            if case.gelu {
                let z = before[i] as f64;
                prop_assert!((z - sum).abs() < tolerance, "{isa:?} {case:?} {at:?} {z} {sum}");
                sum *= 0.5 * libm::erfc(-sum * std::f64::consts::FRAC_1_SQRT_2);
            }
            let error = (c[i] as f64 - sum).abs();
            prop_assert!(error < tolerance, "{isa:?} {case:?} {at:?} {} {sum}", c[i]);
        }
        // One order of summation: tiles and blocks of any size give the same bits. (GELU's
        // exponential may be contracted differently; its argument may not.)
        let sums = if case.gelu { before } else { c };
        match &first {
            None => first = Some(sums),
            Some(first) => prop_assert_eq!(first, &sums),
        }
    }
    Ok(())
}

/// The instruction sets of this processor.
fn detected() -> Vec<Option<Isa>> {
    match Isa::detect() {
        None => vec![],
        Some(Isa::Avx2) => vec![Some(Isa::Avx2)],
        Some(Isa::Avx512) => vec![Some(Isa::Avx2), Some(Isa::Avx512)],
    }
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn agrees_with_sums_in_f64(case in cases(), seed in 0u64..1000) {
        let isas = detected();
        if !isas.is_empty() {
            check(&case, seed, &[vec![None], isas].concat())?;
        }
    }

    #[test]
    fn small_products_agree_with_sums_in_f64(
        m in 1..60usize, k in 1..70usize, vectors in 1..6usize, gap in 0..3usize,
        transposed: bool, add: bool, seed in 0u64..1000,
    ) {
        let width = 16 * vectors;
        let data = [random((m + 3) * (k + 3), seed), random(k * width, seed + 1), random(m * width, seed + 2)];
        let a = mat(&data[0], m, k, gap, transposed);
        for isa in detected().into_iter().flatten() {
            let mut c = data[2].clone();
            small(isa, (m, k, width), a, &data[1], &mut c, add);
            for (i, &got) in c.iter().enumerate() {
                let (row, column) = (i / width, i % width);
                let products = (0..k).map(|p| a.data[row * a.row + p * a.col] as f64 * data[1][p * width + column] as f64);
                let want = products.sum::<f64>() + if add { data[2][i] as f64 } else { 0.0 };
                prop_assert!((got as f64 - want).abs() < 1e-4, "{isa:?} [{row}, {column}] {got} {want}");
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
