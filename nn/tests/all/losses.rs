//! Losses against PyTorch, values and gradients.

use crate::golden::*;
use gradus_autograd::Var;
use gradus_nn::losses::*;
use gradus_tensor::{DType, Tensor};

const REDUCTIONS: [(&str, Reduction); 3] =
    [("mean", Reduction::Mean), ("sum", Reduction::Sum), ("none", Reduction::None)];

#[test]
fn cross_entropies() {
    let plain = CrossEntropy::default;
    let weight = Tensor::from_slice(&[0.5f32, 1.0, 2.0, 3.0], &[4]).unwrap();
    for (name, options) in [
        ("plain", plain()),
        ("sum", CrossEntropy { reduction: Reduction::Sum, ..plain() }),
        ("none", CrossEntropy { reduction: Reduction::None, ..plain() }),
        ("ignore", CrossEntropy { ignore_index: Some(2), ..plain() }),
        ("smooth", CrossEntropy { label_smoothing: 0.1, ..plain() }),
        (
            "all",
            CrossEntropy {
                ignore_index: Some(0),
                label_smoothing: 0.2,
                weight: Some(weight),
                ..plain()
            },
        ),
    ] {
        let case = format!("cross_entropy_{name}");
        let x = leaf(&format!("{case}.input"));
        let targets = ids(&format!("{case}.target"));
        check(&case, &cross_entropy(&x, &targets, &options).unwrap(), &[("input", &x)], 2e-6);
    }
}

#[test]
fn binary_cross_entropy() {
    let targets = tensor("bce.targets");
    for (name, reduction) in REDUCTIONS {
        let case = format!("bce_{name}");
        let x = leaf(&format!("{case}.input"));
        let loss = bce_with_logits(&x, &targets, None, reduction).unwrap();
        check(&case, &loss, &[("input", &x)], 1e-6);
    }
    let x = leaf("bce_weighted.input");
    let weight = tensor("bce.pos_weight");
    let loss = bce_with_logits(&x, &targets, Some(&weight), Reduction::Mean).unwrap();
    check("bce_weighted", &loss, &[("input", &x)], 1e-6);
    // Logits of ±100 give neither overflow nor NaN.
    let x = leaf("bce_extreme.input");
    let loss = bce_with_logits(&x, &targets, None, Reduction::None).unwrap();
    check("bce_extreme", &loss, &[("input", &x)], 1e-6);
    // Nothing cancels, so a small loss keeps its digits.
    let x = Var::constant(Tensor::full(&[1], -15.0, DType::F32).unwrap());
    let zero = Tensor::zeros(&[1], DType::F32).unwrap();
    let loss = bce_with_logits(&x, &zero, None, Reduction::Mean).unwrap().item().unwrap();
    let exact = (-15f64).exp().ln_1p();
    assert!((loss / exact - 1.0).abs() < 1e-5, "{loss} instead of {exact}");
    let wide = Tensor::ones(&[2, 3], DType::F32).unwrap();
    assert!(bce_with_logits(&x, &zero, Some(&wide), Reduction::Mean).is_err());
}

#[test]
fn distances() {
    for (name, reduction) in REDUCTIONS {
        let case = format!("mse_{name}");
        let (x, y) = (leaf(&format!("{case}.input")), leaf(&format!("{case}.target")));
        let loss = mse(&x, &y, reduction).unwrap();
        check(&case, &loss, &[("input", &x), ("target", &y)], 1e-6);
        let case = format!("l1_{name}");
        let (x, y) = (leaf(&format!("{case}.input")), leaf(&format!("{case}.target")));
        let loss = l1(&x, &y, reduction).unwrap();
        check(&case, &loss, &[("input", &x), ("target", &y)], 1e-6);
    }
    let (x, y) = (leaf("huber.input"), leaf("huber.target"));
    let loss = huber(&x, &y, 0.7, Reduction::Mean).unwrap();
    check("huber", &loss, &[("input", &x), ("target", &y)], 1e-6);
    let error = mse(&x, &leaf("mse_mean.seed"), Reduction::Mean).unwrap_err().to_string();
    assert!(error.contains("[mse]") && error.contains("[3, 4]"), "{error}");
    assert!(huber(&x, &y, 0.0, Reduction::Mean).is_err());
}

#[test]
fn cosines() {
    for (case, dim, eps) in [("cosine_similarity", 1, 1e-8), ("cosine_similarity_dim0", 0, 0.1)] {
        let (a, b) = (leaf(&format!("{case}.a")), leaf(&format!("{case}.b")));
        let y = cosine_similarity(&a, &b, dim, eps).unwrap();
        check(case, &y, &[("a", &a), ("b", &b)], 1e-6);
    }
    let targets = tensor("cosine_embedding.targets");
    for (name, reduction) in [REDUCTIONS[0], REDUCTIONS[2]] {
        let case = format!("cosine_embedding_{name}");
        let (a, b) = (leaf(&format!("{case}.a")), leaf(&format!("{case}.b")));
        let loss = cosine_embedding(&a, &b, &targets, 0.1, reduction).unwrap();
        check(&case, &loss, &[("a", &a), ("b", &b)], 1e-6);
    }
    // One number along the dimension stands for a vector of equal numbers.
    let one = |values: &[f32]| Var::leaf(Tensor::from_slice(values, &[1, values.len()]).unwrap());
    let y = cosine_similarity(&one(&[2.0]), &one(&[3.0, 3.0, 3.0]), 1, 1e-8).unwrap();
    assert!((y.item().unwrap() - 1.0).abs() < 1e-6, "{y}");
    let a = leaf("cosine_similarity.a");
    // The smallest eps is the one whose square is the smallest normal number.
    assert!(cosine_similarity(&a, &a, 1, 0.0).is_err());
    assert!(cosine_similarity(&a, &a, 1, 2f64.powi(-63)).is_ok());
    let targets = |n: usize| Tensor::ones(&[n], DType::F32).unwrap();
    for (shape, n) in [(vec![2, 3], 1), (vec![2, 3, 1], 2), (vec![3], 3)] {
        let x = Var::constant(Tensor::ones(&shape, DType::F32).unwrap());
        let error = cosine_embedding(&x, &x, &targets(n), 0.0, Reduction::Mean).unwrap_err();
        assert!(error.to_string().contains("they must be [n, width] and [n]"), "{error}");
    }
}

/// The values are PyTorch 2's.
#[test]
fn soft_targets() {
    let row = |values: &[f32]| Tensor::from_slice(values, &[2, 3]).unwrap();
    let near = |a: &Tensor, b: &[f64]| {
        let a = a.to_f64_vec();
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} is not {b:?}");
    };
    let x = Var::leaf(row(&[1.0, -2.0, 0.5, 0.0, 3.0, -1.0]));
    let p = Var::leaf(row(&[0.2, 0.0, 0.8, 0.5, 0.25, 0.25]));
    let slopes =
        [0.403_748_93, 0.030_058_887, -0.433_807_8, -0.453_387_4, 0.686_239_54, -0.232_852_18];
    for (reduction, values) in [
        (Reduction::Mean, &[1.735_240_46][..]),
        (Reduction::Sum, &[3.470_480_9]),
        (Reduction::None, &[0.904_596_9, 2.565_884_1]),
    ] {
        let loss = soft_cross_entropy(&x, &p, reduction).unwrap();
        near(loss.tensor(), values);
        let grads = loss.sum_all().unwrap().backward().unwrap();
        let share = if reduction == Reduction::Mean { 0.5 } else { 1.0 };
        near(grads.get(&x).unwrap(), &slopes.map(|slope| slope * share));
    }
    let log = Var::leaf(x.log_softmax(1).unwrap().into_tensor());
    let loss = kl_div(&log, &p, Reduction::Mean).unwrap();
    near(loss.tensor(), &[0.965_178_85]);
    near(loss.backward().unwrap().get(&log).unwrap(), &[-0.1, 0.0, -0.4, -0.25, -0.125, -0.125]);
    // A class of probability 0 does not count, even if the model excludes it.
    let x = Var::leaf(row(&[1.0, f32::NEG_INFINITY, 0.5, 0.0, 3.0, -1.0]));
    for loss in [
        soft_cross_entropy(&x, &p, Reduction::Sum),
        kl_div(&x.log_softmax(1).unwrap(), &p, Reduction::Sum),
    ] {
        let grads = loss.unwrap().backward().unwrap();
        for v in [&x, &p] {
            assert!(grads.get(v).unwrap().to_f64_vec().iter().all(|g| g.is_finite()));
        }
    }
    assert!(soft_cross_entropy(&x, &x.i(0).unwrap(), Reduction::Mean).is_err());
}
