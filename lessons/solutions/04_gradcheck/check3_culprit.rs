// Chapter 4, is it right? Exercise 3: one of five rules is wrong.
//
// Here are five functions with their backward rules. Somebody has checked each of them: the sum of
// the outputs, differentiated, agrees with finite differences. All five pass. One is wrong all the
// same, and a model with it would train, badly.
//
// The check was naive. With the sum as the loss, the gradient that reaches the rule is 1 for every
// element. A rule may handle equal gradients rightly and others wrongly. A good check sends
// different gradients, to inputs of several elements and of different sizes.
//
// 1. Write a good check, with the engine's `gradcheck`, and let it find the culprit.
// 2. Mend the culprit's rule.
//
// In the engine: tests/all/gradients.rs checks every operation like this, at random inputs.

use gradus::autograd::{Context, GradCheck, gradcheck};
use gradus::prelude::{DType, Result, RngKey, Tensor, Var};

/// A function with a backward rule.
type Function = fn(&[Var]) -> Result<Var>;
/// The gradients of the inputs.
type Gradients = Result<Vec<Option<Var>>>;

/// The five functions, each with a name.
const RULES: [(&str, Function); 5] = [
    ("silu", |v| Var::custom("silu", v[0].tensor().silu()?, &[&v[0]], silu)),
    ("softmax", |v| Var::custom("softmax", v[0].tensor().softmax(-1)?, &[&v[0]], softmax)),
    ("log_softmax", |v| {
        Var::custom("log_softmax", v[0].tensor().log_softmax(-1)?, &[&v[0]], log_softmax)
    }),
    ("mean", |v| Var::custom("mean", v[0].tensor().mean(&[-1], true)?, &[&v[0]], mean)),
    ("centred", |v| Var::custom("centred", centre(&v[0])?.into_tensor(), &[&v[0]], centred)),
];

/// y = x·σ(x), with σ = 1/(1 + e⁻ˣ).
fn silu(c: &Context) -> Gradients {
    let (g, x) = (c.grad(), c.input(0));
    let s = x.sigmoid()?;
    let slope = s.add(&x.mul(&s)?.mul(&s.affine(-1.0, 1.0)?)?)?;
    Ok(vec![Some(g.mul(&slope)?)])
}

/// y = eˣ / Σeˣ along the last dimension.
fn softmax(c: &Context) -> Gradients {
    let (g, y) = (c.grad(), c.input(0).softmax(-1)?);
    let inner = g.mul(&y)?.sum(&[-1], true)?;
    Ok(vec![Some(y.mul(&g.sub(&inner)?)?)])
}

/// y = x − ln Σeˣ along the last dimension.
fn log_softmax(c: &Context) -> Gradients {
    let (g, y) = (c.grad(), c.input(0).log_softmax(-1)?);
    let inner = y.exp()?.mul(&g.sum(&[-1], true)?)?;
    Ok(vec![Some(g.sub(&inner)?)])
}

/// y = Σx / n along the last dimension.
fn mean(c: &Context) -> Gradients {
    let n = c.input(0).size(-1)? as f64;
    Ok(vec![Some(c.grad().mul_scalar(1.0 / n)?.broadcast_to(c.input_shape(0))?)])
}

/// y = x − mean(x) along the last dimension.
fn centred(c: &Context) -> Gradients {
    Ok(vec![Some(centre(c.grad())?)])
}

fn centre(x: &Var) -> Result<Var> {
    x.sub(&x.mean(&[-1], true)?)
}

/// The check that all five pass: the loss is the sum of the outputs.
fn passes_naive_check(rule: Function) -> Result<bool> {
    let x = Tensor::randn(&[3, 4], DType::F64, RngKey::new(1))?;
    Ok(gradcheck(|v| rule(v)?.sum_all(), &[x], &GradCheck::new("naive", 1)).is_ok())
}

/// Whether the rule gives the right gradients for all that may come from above.
fn is_right(rule: Function) -> Result<bool> {
    let x = Tensor::randn(&[3, 4], DType::F64, RngKey::new(1))?;
    Ok(gradcheck(rule, &[x], &GradCheck::new("a rule", 1)).is_ok())
}

fn main() {
    for (name, rule) in RULES {
        let words = |right| if matches!(right, Ok(true)) { "right" } else { "WRONG" };
        println!(
            "{name:12} naive: {}, good: {}",
            words(passes_naive_check(rule)),
            words(is_right(rule))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_check_finds_nothing() -> Result<()> {
        for (name, rule) in RULES {
            assert!(passes_naive_check(rule)?, "{name} fails even the naive check");
        }
        Ok(())
    }

    #[test]
    fn your_check_knows_right_from_wrong() -> Result<()> {
        assert!(is_right(|v| v[0].softmax(-1))?, "the engine's softmax is right");
        let wrong = |v: &[Var]| {
            Var::custom("wrong", v[0].tensor().softmax(-1)?, &[&v[0]], |c| {
                let (g, y) = (c.grad(), c.input(0).softmax(-1)?);
                Ok(vec![Some(y.mul(&g.sub(&g.mean(&[-1], true)?)?)?)])
            })
        };
        assert!(!is_right(wrong)?, "this softmax subtracts the mean: your check must find it");
        Ok(())
    }

    #[test]
    fn all_five_are_right_in_the_end() -> Result<()> {
        for (name, rule) in RULES {
            let x = Tensor::randn(&[2, 5], DType::F64, RngKey::new(2))?;
            check::gradient(name, rule, &[x]);
        }
        Ok(())
    }
}
