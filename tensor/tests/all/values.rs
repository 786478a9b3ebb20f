//! Functions of one and two elements at 0, ±∞, NaN, the largest and the smallest numbers and large
//! arguments, on both devices, against PyTorch's values in f64 (`values.py` makes
//! `values/values.json`).

use gradus_tensor::ops::binary::BinaryOp;
use gradus_tensor::ops::unary::UnaryOp;
use gradus_tensor::{DType, Device, RngKey, Tensor};
use gradus_testing::gpu;
use serde_json::Value;

/// The smallest number that is not subnormal. A GPU may treat smaller numbers as 0, in arguments
/// and results.
const TINY: f64 = f32::MIN_POSITIVE as f64;

fn table() -> Value {
    serde_json::from_str(include_str!("../values/values.json")).unwrap()
}

fn numbers(text: &Value) -> Vec<f64> {
    text.as_str().unwrap().split(' ').map(|x| x.parse().unwrap()).collect()
}

/// The tolerance of a result: in units of its last place, and absolute.
#[derive(Clone, Copy)]
struct Slack {
    ulp: f64,
    absolute: f64,
}

/// The tolerance of an operation; doubled on a GPU, which may or may not fuse products and sums.
fn slack(op: &str, x: f64) -> Slack {
    let (ulp, absolute) = match op {
        "neg" | "abs" | "sign" | "square" | "relu" | "floor" | "ceil" | "round" => (0.5, 0.0),
        "sqrt" | "reciprocal" | "rsqrt" => (1.5, 0.0),
        "exp" | "log" | "log1p" | "sin" | "cos" | "softplus" | "pow" => (2.5, 0.0),
        "tanh" | "sigmoid" => (4.0, 0.0),
        "erf" => (2.0, 3e-7),
        "silu" => (5.0, 1e-42),
        "slope" => (3.0, 1e-6),
        "gelu" | "gelu_tanh" => (2.0, 3e-7 * x.abs().min(20.0)),
        _ => (0.5, 0.0),
    };
    Slack { ulp, absolute }
}

/// Whether `got`, computed in f32, is `want` within the tolerance.
fn fits(got: f32, want: f64, slack: Slack, flushes: bool) -> bool {
    let rounded = want as f32;
    if want.is_nan() || rounded.is_infinite() {
        return got.is_nan() && want.is_nan() || got == rounded;
    }
    if flushes && want.abs() < TINY && (got as f64).abs() <= TINY {
        return true;
    }
    let last = (f32::from_bits(rounded.abs().to_bits() + 1) - rounded.abs()) as f64;
    (got as f64 - want).abs() <= slack.ulp * last + slack.absolute
}

/// Whether an operation also gives the right sign of zero.
fn signs_zero(op: &str) -> bool {
    let odd =
        ["neg", "sqrt", "reciprocal", "log1p", "sin", "tanh", "erf", "floor", "ceil", "round"];
    odd.contains(&op) || ["abs", "pow"].contains(&op)
}

fn in_f32(values: &[f64], device: Device) -> Tensor {
    let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    Tensor::from_slice(&values, &[values.len()]).unwrap().to_device(device).unwrap()
}

/// Compares all results and reports all differences.
fn compare(
    what: &str,
    op: &str,
    device: Device,
    got: &Tensor,
    arguments: &[Vec<f64>],
    want: &[f64],
) -> usize {
    let got = got.to_device(Device::Cpu).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(got.len(), want.len(), "{what}");
    let there = device != Device::Cpu;
    let mut wrong = 0;
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let at: Vec<f64> = arguments.iter().map(|a| a[i]).collect();
        let subnormal = at.iter().any(|x| *x != 0.0 && x.abs() < TINY);
        // Functions that work on the bits of their arguments must be right even for subnormals.
        if there && subnormal && !matches!(op, "log" | "pow") {
            continue;
        }
        let mut slack = slack(op, at[0]);
        if there {
            slack = Slack { ulp: 2.0 * slack.ulp + 1.0, absolute: 2.0 * slack.absolute };
        }
        let zero =
            !signs_zero(op) || want != 0.0 || got.is_sign_negative() == want.is_sign_negative();
        if !fits(got, want, slack, there) || !zero {
            eprintln!("{what} of {at:?} on {device}: {got:e}, not {want:e}");
            wrong += 1;
        }
    }
    wrong
}

fn devices() -> impl Iterator<Item = Device> {
    [Some(Device::Cpu), gpu()].into_iter().flatten()
}

#[test]
fn functions_of_one_element_are_right_everywhere() {
    let table = table();
    let inputs = numbers(&table["inputs"]);
    let mut wrong = 0;
    for device in devices() {
        let x = in_f32(&inputs, device);
        for op in UnaryOp::ALL.iter().filter(|op| table["unary"].get(op.name()).is_some()) {
            let (name, want) = (op.name(), numbers(&table["unary"][op.name()]));
            let got = x.unary(*op).unwrap();
            wrong += compare(name, name, device, &got, std::slice::from_ref(&inputs), &want);
            if op.has_fused_backward() {
                let want = numbers(&table["slopes"][name]);
                let got = x.unary_backward(*op, &x.ones_like().unwrap()).unwrap();
                let what = format!("the slope of {name}");
                wrong +=
                    compare(&what, "slope", device, &got, std::slice::from_ref(&inputs), &want);
            }
        }
    }
    assert_eq!(wrong, 0, "values that are wrong");
    // The file has every function of the table except those with parameters.
    let has = table["unary"].as_object().unwrap().len() + 3;
    assert_eq!(has, UnaryOp::ALL.len(), "a function is missing in tensor/tests/values/values.py");
}

#[test]
fn functions_of_two_elements_are_right_everywhere() {
    let table = table();
    let (left, right) = (numbers(&table["left"]), numbers(&table["right"]));
    let pairs: Vec<(f64, f64)> =
        left.iter().flat_map(|&a| right.iter().map(move |&b| (a, b))).collect();
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    let mut wrong = 0;
    for device in devices() {
        let (x, y) = (in_f32(&a, device), in_f32(&b, device));
        for op in BinaryOp::ALL {
            let (name, want) = (op.name(), numbers(&table["binary"][op.name()]));
            let got = x.binary(*op, &y).unwrap();
            wrong += compare(name, name, device, &got, &[a.clone(), b.clone()], &want);
        }
        // A power with a constant exponent is the same function.
        for (i, &e) in right.iter().enumerate() {
            let got = in_f32(&left, device).powf(e).unwrap();
            let want = numbers(&table["binary"]["pow"]);
            let want: Vec<f64> = want.chunks(right.len()).map(|row| row[i]).collect();
            let arguments = [left.clone(), vec![e; left.len()]];
            wrong += compare("powf", "pow", device, &got, &arguments, &want);
        }
    }
    assert_eq!(wrong, 0, "values that are wrong");
}

/// Gradients are checked in f64.
#[test]
fn functions_in_f64_are_right_everywhere() {
    let table = table();
    let inputs = numbers(&table["inputs"]);
    let x = Tensor::from_slice(&inputs, &[inputs.len()]).unwrap();
    for op in UnaryOp::ALL.iter().filter(|op| table["unary"].get(op.name()).is_some()) {
        let got = x.unary(*op).unwrap().to_f64_vec();
        for ((x, got), want) in inputs.iter().zip(got).zip(numbers(&table["unary"][op.name()])) {
            // PyTorch's GELU has only the digits of 1 + erf.
            let absolute =
                if op.name().starts_with("gelu") { 1e-15 * x.abs().min(20.0) } else { 0.0 };
            let close = (got - want).abs() <= 2e-15 * want.abs() + absolute;
            let same = got == want || got.is_nan() && want.is_nan();
            assert!(close || same, "{} of {x:e}: {got:e}, not {want:e}", op.name());
        }
    }
}

#[test]
fn conversions_are_right_everywhere() {
    let table = table();
    let inputs = numbers(&table["inputs"]);
    for device in devices() {
        let x = in_f32(&inputs, device);
        for (name, dtype) in [("f16", DType::F16), ("bf16", DType::BF16)] {
            // GPUs have no bf16, and some no f16.
            let Ok(y) = x.to_dtype(dtype) else { continue };
            let Ok(y) = y.to_device(Device::Cpu) else { continue };
            for ((x, got), want) in
                inputs.iter().zip(y.to_f64_vec()).zip(numbers(&table["converted"][name]))
            {
                let smallest = if dtype == DType::F16 { 2f64.powi(-14) } else { TINY };
                let flushed =
                    device != Device::Cpu && want.abs() < smallest && got.abs() <= smallest;
                let same = got == want || got.is_nan() && want.is_nan() || flushed;
                assert!(same, "{x:e} in {name} on {device}: {got:e}, not {want:e}");
            }
        }
        // Truncates towards 0 and saturates at the ends of the range; NaN gives 0.
        let odd = [
            f64::NAN,
            f64::NEG_INFINITY,
            -1.0,
            -0.5,
            -0.0,
            0.9,
            254.9,
            255.9,
            256.0,
            1e9,
            4294967040.0,
            4294967296.0,
            1e30,
            f64::INFINITY,
        ];
        let max = u32::MAX as f64;
        let in_u32 =
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 254.0, 255.0, 256.0, 1e9, 4294967040.0, max, max, max];
        let in_u8 = in_u32.map(|x| x.min(255.0));
        let x = in_f32(&odd, device);
        assert_eq!(x.to_dtype(DType::U32).unwrap().to_f64_vec(), in_u32, "{device}");
        assert_eq!(x.to_dtype(DType::U8).unwrap().to_f64_vec(), in_u8, "{device}");
        // Converts to 16 bits through f32, like PyTorch.
        let between = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        if let Ok(y) = Tensor::full_on(&[], between, DType::F16, device) {
            assert_eq!(y.to_f64_vec(), [1.0], "{device}");
        }
    }
}

#[test]
fn a_factor_keeps_the_sign_of_zero() {
    for device in devices() {
        let y = in_f32(&[-0.0, 0.0], device).mul_scalar(2.0).unwrap();
        let y = y.to_device(Device::Cpu).unwrap().to_vec::<f32>().unwrap();
        assert_eq!([y[0].is_sign_negative(), y[1].is_sign_negative()], [true, false], "{device}");
    }
}

/// A number above the middle of two neighbours in 16 bits rounds up, even if it is above by only
/// one last place of f32. The middle rounds to the even neighbour. f64 goes through f32.
#[test]
fn sixteen_bits_round_to_the_nearest() {
    let one = |value: f64, from: DType, to: DType| {
        let x = Tensor::full(&[1], value, from).unwrap();
        assert_eq!(x.to_f64_vec(), [value], "{value} is a number of {from}");
        x.to_dtype(to).unwrap().to_f64_vec()[0]
    };
    let last = f32::EPSILON as f64;
    for (to, step) in [(DType::BF16, 2f64.powi(-7)), (DType::F16, 2f64.powi(-10))] {
        for from in [DType::F32, DType::F64] {
            let middle = 1.0 + 0.5 * step;
            assert_eq!(one(middle - last, from, to), 1.0, "{from} to {to}");
            assert_eq!(one(middle, from, to), 1.0, "{from} to {to}");
            assert_eq!(one(middle + last, from, to), 1.0 + step, "{from} to {to}");
            assert_eq!(one(middle + step, from, to), 1.0 + 2.0 * step, "{from} to {to}");
            assert_eq!(one(-middle - last, from, to), -1.0 - step, "{from} to {to}");
        }
        // In f32 this is exactly the middle.
        assert_eq!(one(1.0 + 0.5 * step + last / 8.0, DType::F64, to), 1.0, "{to}");
    }
}

/// The identity, and normal numbers by the definition in their docs: elements 2i and 2i + 1 are the
/// cosine and the sine from one pair of uniform numbers.
#[test]
fn constants_and_random_numbers_are_what_their_docs_say() {
    let eye = Tensor::eye(3, DType::F32).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(eye, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let key = RngKey::new(5);
    let normal = Tensor::randn(&[7], DType::F64, key).unwrap().to_f64_vec();
    for (i, x) in normal.into_iter().enumerate() {
        let [u, v] = [0, 1].map(|k| key.word((i / 2 * 2 + k) as u64) as f64);
        let radius = (-2.0 * ((u + 1.0) / 4_294_967_296.0).ln()).sqrt();
        let angle = std::f64::consts::TAU * (v / 4_294_967_296.0);
        let want = radius * if i % 2 == 0 { angle.cos() } else { angle.sin() };
        assert!((x - want).abs() < 1e-12, "{i}: {x}, not {want}");
    }
}
