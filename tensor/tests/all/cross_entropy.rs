//! Cross-entropy against PyTorch's numbers and its definition in f64, over all kinds of views.

use crate::reference::*;
use gradus_tensor::Reduction::{Mean, None as Rows, Sum};
use gradus_tensor::{CrossEntropy, DType, Reduction, Tensor};
use proptest::prelude::*;

const LOGITS: [f64; 20] = [
    1.5, -0.5, 0.25, 2.0, 0.0, 3.0, -2.0, 1.0, -1.0, 0.5, 0.5, -0.75, 4.0, 1.0, -3.0, 2.5, 0.1,
    0.2, 0.3, 0.4,
];
const TARGETS: [u32; 5] = [3, 0, 2, 1, 0];
const WEIGHT: [f64; 4] = [0.5, 2.0, 1.0, 3.0];

/// ignore_index, label_smoothing, whether with WEIGHT, reduction; the loss, Σ (i + 1)·dx[i] and Σ dx²
/// of `torch.nn.functional.cross_entropy` 2.15 in f64. The loss's gradient is 2, or
/// [1, −2, 0.5, 3, 1.5] for the rows.
type Case = (Option<i64>, f64, bool, Reduction, &'static [f64], f64, f64);
#[rustfmt::skip]
const PYTORCH: [Case; 36] = [
    (None, 0.0, false, Mean, &[1.90041520128879], 0.30441590171679733, 0.7845655610510981),
    (None, 0.0, false, Sum, &[9.50207600644395], 1.5220795085839818, 19.614139026277453),
    (None, 0.0, false, Rows, &[0.621860395306458, 3.1755153626167143, 0.9201373071121982, 3.242027411953416, 1.5425355294551628], -2.636493928326896, 22.996994813542837),
    (None, 0.0, true, Mean, &[1.6612569661391916], -0.9707763525847011, 0.8504622696888222),
    (None, 0.0, true, Sum, &[11.628798762974341], -6.7954344680929175, 41.67265121475229),
    (None, 0.0, true, Rows, &[1.8655811859193738, 1.5877576813083571, 0.9201373071121982, 6.484054823906832, 0.7712677647275814], -6.282920718066261, 61.74653593243432),
    (None, 0.1, false, Mean, &[1.92241520128879], 0.24441590171679728, 0.6699288976607468),
    (None, 0.1, false, Sum, &[9.61207600644395], 1.222079508583981, 16.748222441518674),
    (None, 0.1, false, Rows, &[0.740610395306458, 3.1255153626167145, 0.9888873071121983, 3.229527411953416, 1.527535529455163], -2.5364939283268786, 20.148054434648785),
    (None, 0.1, true, Mean, &[1.7200008911034357], -1.0240790144483902, 0.7305696648353747),
    (None, 0.1, true, Sum, &[12.04000623772405], -7.1685531011387305, 35.79791357693336),
    (None, 0.1, true, Rows, &[1.955075381564736, 1.7700031596027375, 1.0901458888067106, 6.312478795958579, 0.9123030117912873], -6.245558909612775, 54.4740884266585),
    (None, 1.0, false, Mean, &[2.1204152012887896], -0.2955840982832034, 0.1781989271475859),
    (None, 1.0, false, Sum, &[10.602076006443948], -1.4779204914160133, 4.454973178689647),
    (None, 1.0, false, Rows, &[1.809360395306458, 2.6755153626167143, 1.6076373071121983, 3.1170274119534156, 1.3925355294551627], -1.6364939283268907, 5.645091024602242),
    (None, 1.0, true, Mean, &[2.248696215781631], -1.5038029712215746, 0.3234498065288458),
    (None, 1.0, true, Sum, &[15.740873510471417], -10.52662079855103, 15.849040519913443),
    (None, 1.0, true, Rows, &[2.7605231423729943, 3.4102124642521607, 2.620223124057322, 4.7682945444243, 2.1816202353646394], -5.909302633531208, 21.52759301159836),
    (Some(2), 0.0, false, Mean, &[2.1454846748329377], 0.6115804782501209, 1.0904944846184803),
    (Some(2), 0.0, false, Sum, &[8.58193869933175], 2.4463219130004834, 17.447911753895685),
    (Some(2), 0.0, false, Rows, &[0.621860395306458, 3.1755153626167143, 0.0, 3.242027411953416, 1.5425355294551628], -2.4054333272227684, 22.86160560901898),
    (Some(2), 0.0, true, Mean, &[1.784776909310357], -0.9785320106127358, 1.0974006650658479),
    (Some(2), 0.0, true, Sum, &[10.708661455862142], -5.871192063676423, 39.506423942370525),
    (Some(2), 0.0, true, Rows, &[1.8655811859193738, 1.5877576813083571, 0.0, 6.484054823906832, 0.7712677647275814], -6.0518601169621355, 61.61114672791045),
    (Some(2), 0.1, false, Mean, &[2.1557971748329376], 0.5115804782501199, 0.9395764818039395),
    (Some(2), 0.1, false, Sum, &[8.62318869933175], 2.0463219130004795, 15.033223708863032),
    (Some(2), 0.1, false, Rows, &[0.740610395306458, 3.1255153626167145, 0.0, 3.229527411953416, 1.527535529455163], -2.330433327222753, 20.040867013857806),
    (Some(2), 0.1, true, Mean, &[1.824976724819556], -1.0310909244076993, 0.9499531413902781),
    (Some(2), 0.1, true, Sum, &[10.949860348917337], -6.186545546446201, 34.198313090050014),
    (Some(2), 0.1, true, Rows, &[1.955075381564736, 1.7700031596027375, 0.0, 6.312478795958579, 0.9123030117912873], -6.000057020939652, 54.374113396228296),
    (Some(2), 1.0, false, Mean, &[2.2486096748329376], -0.3884195217498786, 0.25631445647307094),
    (Some(2), 1.0, false, Sum, &[8.99443869933175], -1.5536780869995144, 4.101031303569135),
    (Some(2), 1.0, false, Rows, &[1.809360395306458, 2.6755153626167143, 0.0, 3.1170274119534156, 1.3925355294551627], -1.6554333272227666, 5.62296965740721),
    (Some(2), 1.0, true, Mean, &[2.186775064402349], -1.5041211485623691, 0.3848297677202229),
    (Some(2), 1.0, true, Sum, &[13.120650386414095], -9.024726891374215, 13.853871637928027),
    (Some(2), 1.0, true, Rows, &[2.7605231423729943, 3.4102124642521607, 0.0, 4.7682945444243, 2.1816202353646394], -5.533829156737001, 21.40289495647427),
];

#[test]
fn pytorchs_numbers() {
    let x = Tensor::from_slice(&LOGITS, &[5, 4]).unwrap();
    let y = Tensor::from_slice(&TARGETS, &[5]).unwrap();
    let w = Tensor::from_slice(&WEIGHT, &[4]).unwrap();
    for case in PYTORCH {
        let (ignore_index, label_smoothing, weighted, reduction, want, projected, squared) = case;
        let weight = weighted.then(|| w.clone());
        let options = CrossEntropy { ignore_index, label_smoothing, weight, reduction };
        let (loss, lse) = x.cross_entropy(&y, &options).unwrap();
        let what = format!("{ignore_index:?} {label_smoothing} {weighted} {reduction:?}");
        close(&loss.to_f64_vec(), want, 1e-14, &what);
        let grad = match reduction {
            Rows => Tensor::from_slice(&[1.0, -2.0, 0.5, 3.0, 1.5], &[5]).unwrap(),
            _ => Tensor::scalar(2.0),
        };
        let dx = x.cross_entropy_backward(&y, &lse, &options, &grad).unwrap().to_f64_vec();
        let sums = [
            dx.iter().enumerate().map(|(i, d)| (i + 1) as f64 * d).sum(),
            dx.iter().map(|d| d * d).sum(),
        ];
        close(&sums, &[projected, squared], 1e-13, &what);
    }
}

/// The cross-entropy by its definition, in f64.
struct Definition<'a> {
    /// The logits; all lie near 50.
    rows: Vec<Vec<f64>>,
    targets: &'a [u32],
    ignored: Option<u32>,
    /// Of each class; 1 without weights.
    weights: Vec<f64>,
    smoothing: f64,
}

impl Definition<'_> {
    fn ignores(&self, row: usize) -> bool {
        Some(self.targets[row]) == self.ignored
    }

    /// ln Σ eˣ of a row.
    fn lse(&self, row: usize) -> f64 {
        50.0 + self.rows[row].iter().map(|x| (x - 50.0).exp()).sum::<f64>().ln()
    }

    /// ε divided by the number of classes.
    fn soft(&self) -> f64 {
        self.smoothing / self.weights.len() as f64
    }

    fn loss_of(&self, row: usize) -> f64 {
        if self.ignores(row) {
            return 0.0;
        }
        let (y, lse, x) = (self.targets[row] as usize, self.lse(row), &self.rows[row]);
        let all: f64 = self.weights.iter().zip(x).map(|(w, x)| w * (lse - x)).sum();
        (1.0 - self.smoothing) * self.weights[y] * (lse - x[y]) + self.soft() * all
    }

    /// What the mean divides the sum by.
    fn divisor(&self) -> f64 {
        let counted = (0..self.rows.len()).filter(|&row| !self.ignores(row));
        counted.map(|row| self.weights[self.targets[row] as usize]).sum()
    }

    fn loss(&self, reduction: Reduction) -> Vec<f64> {
        let losses: Vec<f64> = (0..self.rows.len()).map(|row| self.loss_of(row)).collect();
        let sum: f64 = losses.iter().sum();
        match reduction {
            Rows => losses,
            Sum => vec![sum],
            Mean => vec![sum / self.divisor()],
        }
    }

    /// The gradient of the logits; `grad` is that of the loss.
    fn gradient(&self, reduction: Reduction, grad: &[f64]) -> Vec<f64> {
        let (total, divisor) = (self.weights.iter().sum::<f64>(), self.divisor());
        let mut out = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            if self.ignores(i) {
                out.extend(row.iter().map(|_| 0.0));
                continue;
            }
            let scale = match reduction {
                Rows => grad[i],
                Sum => grad[0],
                Mean => grad[0] / divisor,
            };
            let (y, lse, soft) = (self.targets[i] as usize, self.lse(i), self.soft());
            let hard = (1.0 - self.smoothing) * self.weights[y];
            for (j, x) in row.iter().enumerate() {
                let p = (x - lse).exp();
                let onehot = if j == y { hard } else { 0.0 };
                out.push(scale * (p * (hard + soft * total) - onehot - soft * self.weights[j]));
            }
        }
        out
    }
}

/// Rows and classes.
fn sizes() -> impl Strategy<Value = (usize, usize)> {
    let rows = prop_oneof![Just(0usize), Just(1), 2..9usize, Just(300)];
    (rows, prop_oneof![Just(1usize), 2..20usize, Just(150)])
}

/// ignore_index, label_smoothing, whether there are class weights, reduction.
fn options() -> impl Strategy<Value = (Option<i64>, f64, bool, Reduction)> {
    let ignored = prop_oneof![Just(0i64), Just(1), Just(4_000_000_000), Just(-100)];
    let smoothing = prop_oneof![Just(0.0), Just(0.1), Just(1.0)];
    let reduction = prop_oneof![Just(Mean), Just(Sum), Just(Rows)];
    (prop::option::of(ignored), smoothing, any::<bool>(), reduction)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn by_definition(
        seed: u64, (n, c) in sizes(), kind in kind(), dtype in float(), options in options(),
    ) {
        let (ignore_index, smoothing, weighted, reduction) = options;
        let x = view(seed, &[n, c], kind, dtype).affine(2.0, 50.0).unwrap();
        let weight = weighted.then(|| view(seed ^ 2, &[c], kind, dtype).abs().unwrap());
        let weights = weight.as_ref().map_or(vec![1.0; c], Tensor::to_f64_vec);
        let options = CrossEntropy { ignore_index, label_smoothing: smoothing, weight, reduction };
        let ignored = options.ignored().unwrap();
        let mut targets: Vec<u32> = numbers(seed ^ 1, &[n], DType::F64).affine(1e6, 3e6).unwrap()
            .to_dtype(DType::U32).unwrap().to_vec::<u32>().unwrap();
        targets.iter_mut().for_each(|y| *y %= c as u32);
        // An ignored target may lie outside the classes; another may not.
        if let (Some(ignored), Some(y)) = (ignored, targets.first_mut()) { *y = ignored; }
        let y = Tensor::from_slice(&targets, &[n]).unwrap();
        let truth = Definition { rows: slices(&x, &[1]), targets: &targets, ignored, weights, smoothing };

        let tol = 30.0 * tolerance(dtype);
        let (loss, lse) = x.cross_entropy(&y, &options).unwrap();
        let lses: Vec<f64> = (0..n).map(|row| truth.lse(row)).collect();
        close(&lse.sum(&[1], false).unwrap().to_f64_vec(), &lses, tol, "lse");
        close(&loss.to_f64_vec(), &truth.loss(reduction), tol, "loss");

        let shape: &[usize] = if reduction == Rows { &[n] } else { &[] };
        let grad = view(seed ^ 3, shape, kind, dtype);
        let dx = x.cross_entropy_backward(&y, &lse, &options, &grad).unwrap();
        close(&dx.to_f64_vec(), &truth.gradient(reduction, &grad.to_f64_vec()), tol, "gradient");
    }
}

#[test]
fn nothing_to_average_is_nan() {
    let x = numbers(1, &[2, 3], DType::F32);
    let y = Tensor::from_slice(&[7u32, 7], &[2]).unwrap();
    let ignore =
        |reduction| CrossEntropy { ignore_index: Some(7), reduction, ..Default::default() };
    let (loss, lse) = x.cross_entropy(&y, &ignore(Mean)).unwrap();
    assert!(loss.item().unwrap().is_nan());
    let grad = Tensor::scalar(1f32);
    let dx = x.cross_entropy_backward(&y, &lse, &ignore(Mean), &grad).unwrap();
    assert_eq!(dx.to_f64_vec(), [0.0; 6]);
    assert_eq!(x.cross_entropy(&y, &ignore(Sum)).unwrap().0.item().unwrap(), 0.0);
    let (x, y) = (x.narrow(0, 0, 0).unwrap(), y.narrow(0, 0, 0).unwrap());
    assert!(x.cross_entropy(&y, &ignore(Mean)).unwrap().0.item().unwrap().is_nan());
}

#[test]
fn infinities_as_pytorch() {
    let (inf, none) = (f32::INFINITY, CrossEntropy { reduction: Rows, ..Default::default() });
    let x = Tensor::from_slice(&[0.0, -inf, -inf, -inf, inf, 0.0], &[3, 2]).unwrap();
    let loss = |y: u32, options: &CrossEntropy| {
        let y = Tensor::from_slice(&[y; 3], &[3]).unwrap();
        x.cross_entropy(&y, options).unwrap().0.to_f64_vec()
    };
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    close(&loss(0, &none), &[0.0, nan, nan], 0.0, "the certain class");
    close(&loss(1, &none), &[inf, nan, nan], 0.0, "the impossible class");
    let smooth = CrossEntropy { label_smoothing: 0.1, ..none };
    close(&loss(0, &smooth), &[inf, nan, nan], 0.0, "smoothed");
}

#[test]
fn refusals_say_what_to_do() {
    let x = numbers(1, &[3, 4], DType::F32);
    let y = Tensor::from_slice(&[0u32, 4, 1], &[3]).unwrap();
    let plain = CrossEntropy::default();
    let says = |y: &Tensor, options: &CrossEntropy, words: &[&str]| {
        let message = x.cross_entropy(y, options).unwrap_err().to_string();
        assert!(words.iter().all(|w| message.contains(w)), "{message}");
    };
    says(&y, &plain, &["[cross_entropy]", "row 1 is 4", "4 classes", "ignore_index"]);
    says(&y.narrow(0, 0, 1).unwrap(), &plain, &["[3, 4]", "[1]"]);
    says(&y.to_dtype(DType::F32).unwrap(), &plain, &["f32", "u32", "to_dtype"]);
    says(&y, &CrossEntropy { label_smoothing: 1.5, ..plain.clone() }, &["1.5", "0..=1"]);
    says(&y, &CrossEntropy { label_smoothing: f64::NAN, ..plain.clone() }, &["NaN", "0..=1"]);
    let weight = Some(Tensor::ones(&[3], DType::F32).unwrap());
    says(&y, &CrossEntropy { weight, ..plain.clone() }, &["weights", "[3]", "[4]"]);
    let y = Tensor::from_slice(&[0u32, 3, 1], &[3]).unwrap();
    let (_, lse) = x.cross_entropy(&y, &plain).unwrap();
    let rows = lse.select(1, 0).unwrap();
    let message = x.cross_entropy_backward(&y, &lse, &plain, &rows).unwrap_err().to_string();
    assert!(message.contains("the gradient is [3]"), "{message}");
}

#[test]
fn threads_change_nothing() {
    let x = numbers(1, &[3000, 100], DType::F32);
    let y: Vec<u32> = (0..3000).map(|i| i * 7 % 100).collect();
    let y = Tensor::from_slice(&y, &[3000]).unwrap();
    let weight = Some(numbers(2, &[100], DType::F32).abs().unwrap());
    let options = CrossEntropy { label_smoothing: 0.1, weight, ..Default::default() };
    same_for_any_threads(|| {
        let (loss, lse) = x.cross_entropy(&y, &options).unwrap();
        let dx = x.cross_entropy_backward(&y, &lse, &options, &loss).unwrap();
        [loss, lse, dx].iter().flat_map(Tensor::to_f64_vec).map(f64::to_bits).collect::<Vec<_>>()
    });
}
