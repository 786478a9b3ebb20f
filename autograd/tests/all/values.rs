//! Values of operations that are composed of others, and arguments at the edge of what is allowed.
//! (The gradient checks see a wrong value only where its slope is wrong too.)

use gradus_autograd::Var;
use gradus_autograd::ops::attention::attention_composed;
use gradus_autograd::ops::cross_entropy::cross_entropy_composed;
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{CrossEntropy, DType, Result, RngKey, Tensor};

fn leaf(values: &[f64], shape: &[usize]) -> Var {
    Var::leaf(Tensor::from_slice(values, shape).unwrap())
}

fn values(v: Result<Var>) -> Vec<f64> {
    v.unwrap().tensor().to_f64_vec()
}

fn assert_near(ours: &[f64], truth: &[f64]) {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-14 * b.abs();
    assert!(ours.len() == truth.len() && ours.iter().zip(truth).all(near), "{ours:?}, {truth:?}");
}

#[test]
fn triangles() {
    let x = leaf(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]);
    assert_eq!(values(x.tril(0)), [1.0, 0.0, 0.0, 4.0, 5.0, 0.0]);
    assert_eq!(values(x.tril(-1)), [0.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
    assert_eq!(values(x.triu(0)), [1.0, 2.0, 3.0, 0.0, 5.0, 6.0]);
    assert_eq!(values(x.triu(1)), [0.0, 2.0, 3.0, 0.0, 0.0, 6.0]);
    assert_eq!(values(x.triu(-1)), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn functions_of_one_element() {
    let x = leaf(&[1e-12, -1e-12, 0.25, -0.25, 0.75, -0.75], &[6]);
    let truth = x.tensor().to_f64_vec().into_iter().map(f64::exp_m1).collect::<Vec<_>>();
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-13 * b.abs();
    assert!(values(x.expm1()).iter().zip(&truth).all(near), "{:?}", values(x.expm1()));
    assert_eq!(values(x.clamp(1.0, 1.0)), [1.0; 6], "one number is a range");
}

#[test]
fn norms() {
    let x = leaf(&[3.0, -4.0, 0.0], &[3]);
    for (p, norm) in [(1.0, 7.0), (2.0, 5.0), (3.0, 91f64.cbrt()), (f64::INFINITY, 4.0)] {
        assert_near(&values(x.norm(p, &[], false)), &[norm]);
    }
    assert_eq!(values(leaf(&[], &[0]).norm(2.0, &[], false)), [0.0]);
}

#[test]
fn places_that_are_written_twice_are_refused() {
    let (x, source) = (leaf(&[1.0, 2.0, 3.0], &[3]), leaf(&[10.0, 20.0], &[2]));
    let index = |places: &[u32]| Tensor::from_slice(places, &[places.len()]).unwrap();
    assert_eq!(values(x.scatter(0, &index(&[2, 0]), &source)), [20.0, 2.0, 10.0]);
    let error = x.scatter(0, &index(&[1, 1]), &source).unwrap_err().to_string();
    assert!(error.contains("two elements go to one place"), "{error}");
    let nothing = leaf(&[], &[0]);
    assert_eq!(values(nothing.scatter(0, &index(&[]), &nothing)), [0.0; 0]);
}

/// As in PyTorch a number without dimensions is a line of one element.
#[test]
fn one_number_is_sorted() {
    let x = Var::leaf(Tensor::scalar(3.0));
    let (value, index) = x.sort(0, true).unwrap();
    assert_eq!((value.shape(), index.shape()), (&[][..], &[][..]));
    assert_eq!(value.backward().unwrap().get(&x).unwrap().item().unwrap(), 1.0);
    let (largest, _) = x.topk(1, 0, true).unwrap();
    assert_eq!((largest.shape(), largest.item().unwrap()), (&[][..], 3.0));
    assert_eq!(x.topk(0, 0, true).unwrap().0.shape(), [0]);
}

#[test]
fn operators_with_numbers() {
    let x = leaf(&[1.0, 4.0], &[2]);
    let slope = |f: fn(&Var) -> Result<Var>| {
        let grads = f(&x).unwrap().sum_all().unwrap().backward().unwrap();
        (values(f(&x)), grads.get(&x).unwrap().to_f64_vec())
    };
    let is = |v: [f64; 2], g: [f64; 2]| (v.to_vec(), g.to_vec());
    assert_eq!(slope(|x| x + 1.5), is([2.5, 5.5], [1.0, 1.0]));
    assert_eq!(slope(|x| x - 1.5), is([-0.5, 2.5], [1.0, 1.0]));
    assert_eq!(slope(|x| x * 1.5), is([1.5, 6.0], [1.5, 1.5]));
    assert_eq!(slope(|x| x / 2.0), is([0.5, 2.0], [0.5, 0.5]));
    assert_eq!(slope(|x| 1.5 - x), is([0.5, -2.5], [-1.0, -1.0]));
    assert_eq!(slope(|x| 2.0 / x), is([2.0, 0.5], [-2.0, -0.125]));
}

#[test]
fn a_layer_with_cross_entropy_refuses_what_does_not_fit() {
    let x = Var::leaf(Tensor::ones(&[2, 3], DType::F64).unwrap());
    let w = Var::leaf(Tensor::ones(&[4, 3], DType::F64).unwrap());
    let targets = Tensor::from_slice(&[0u32, 3], &[2]).unwrap();
    let options = CrossEntropy::default();
    let loss =
        |x: &Var, w: &Var, targets: &Tensor| x.linear_cross_entropy(w, None, targets, &options, 1);
    assert_near(&values(loss(&x, &w, &targets)), &[4f64.ln()]);
    for (x, w, targets) in [
        (x.reshape(&[2, 3, 1]).unwrap(), w.clone(), targets.clone()),
        (x.reshape(&[6]).unwrap(), w.clone(), targets.clone()),
        (x.clone(), w.reshape(&[12]).unwrap(), targets.clone()),
        (x.clone(), w.reshape(&[4, 3, 1]).unwrap(), targets.clone()),
        (x.clone(), w.clone(), targets.reshape(&[2, 1]).unwrap()),
        (x.clone(), w.clone(), targets.narrow(0, 0, 1).unwrap()),
    ] {
        let error = loss(&x, &w, &targets).unwrap_err().to_string();
        assert!(error.contains("they must be [n, in], [classes, in], [n]"), "{error}");
    }
    let error = x.linear_cross_entropy(&w, None, &targets, &options, 0).unwrap_err().to_string();
    assert!(error.contains("rows is 0"), "{error}");
}

/// A class that cannot occur has the logit −∞. Without smoothing it leaves the loss finite.
#[test]
fn a_class_that_cannot_occur() {
    let logits = leaf(&[0.0, f64::NEG_INFINITY, 3f64.ln()], &[1, 3]);
    let targets = Tensor::from_slice(&[0u32], &[1]).unwrap();
    let options = CrossEntropy::default();
    let fused = logits.cross_entropy(&targets, &options).unwrap();
    let composed = cross_entropy_composed(&logits, &targets, &options).unwrap();
    for loss in [fused, composed] {
        assert_near(&loss.tensor().to_f64_vec(), &[4f64.ln()]);
        let slopes = loss.backward().unwrap().get(&logits).unwrap().to_f64_vec();
        assert_near(&slopes, &[-0.75, 0.0, 0.75]);
    }
}

/// Of attention that drops every probability nothing is left.
#[test]
fn attention_that_drops_all() {
    let x = leaf(&[1.0, 2.0, 3.0, 4.0], &[4, 1]);
    let offsets = Tensor::from_slice(&[0u32, 3, 4], &[3]).unwrap();
    let options = Attention { dropout: Some((1.0, RngKey::new(1))), ..Default::default() };
    assert_eq!(values(x.attention(&x, &x, None, &offsets, &options)), [0.0; 4]);
    assert_eq!(values(attention_composed([&x; 3], None, &offsets, &options)), [0.0; 4]);
}
