// Chapter 4, is it right? Exercise 4: kinks.
//
// relu(x) = max(x, 0) has the slope 0 to the left of 0, and 1 to the right. A difference whose two
// points lie on both sides of the kink is neither:
//
//     x = 3e-6, h = 1e-5:   (relu(x + h) − relu(x − h)) / 2h = 1.3e-5 / 2e-5 = 0.65
//
// The rule says 1, and is right. The check is wrong there, and would be at any point nearer to the
// kink than its step. So the inputs of a check must keep away from kinks. It is no loss: a rule
// that is right left and right of a kink is right.
//
// At the kink itself there is no slope. Libraries agree on a number: relu has the slope 0 at 0.
//
// In the engine: `away_from` in autograd/src/registry/generate.rs.

use gradus::prelude::{Result, Tensor};

/// `x`, or a number `distance` away from the kink, on the same side, if `x` is nearer than that.
fn away_from(x: f64, kink: f64, distance: f64) -> f64 {
    // TODO
    todo!("{x} away from {kink}")
}

/// All elements of `x`, away from the kink.
fn all_away_from(x: &Tensor, kink: f64, distance: f64) -> Result<Tensor> {
    let numbers: Vec<f64> =
        x.to_f64_vec().into_iter().map(|x| away_from(x, kink, distance)).collect();
    Tensor::from_slice(&numbers, x.shape())
}

fn main() {
    let (relu, h) = (|x: f64| x.max(0.0), 1e-5);
    for x in [3e-6, away_from(3e-6, 0.0, 0.05)] {
        println!(
            "the slope of relu at {x:e} seems to be {:.2}",
            (relu(x + h) - relu(x - h)) / 2.0 / h
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::{GradCheck, gradcheck};

    #[test]
    fn near_numbers_move_and_others_stay() {
        for (x, expected) in
            [(0.01, 0.05), (-0.01, -0.05), (0.0, 0.05), (0.3, 0.3), (-0.05, -0.05), (0.05, 0.05)]
        {
            let yours = away_from(x, 0.0, 0.05);
            check::near("away from 0", x, &[yours], &[expected], 1e-15);
        }
        check::near("away from 2", "1.99", &[away_from(1.99, 2.0, 0.1)], &[1.9], 1e-12);
    }

    #[test]
    fn relu_passes_when_its_inputs_keep_away() -> Result<()> {
        let x = Tensor::from_slice(&[-1.0, -2e-6, 3e-6, 0.5], &[4])?;
        let options = GradCheck::new("relu", 1);
        let near = gradcheck(|v| v[0].relu(), std::slice::from_ref(&x), &options);
        assert!(near.is_err(), "as it is, the check finds fault with a rule that is right");
        check::gradient("relu away from 0", |v| v[0].relu(), &[all_away_from(&x, 0.0, 0.05)?]);
        Ok(())
    }

    #[test]
    fn a_clamp_has_two_kinks() -> Result<()> {
        let x = Tensor::from_slice(&[-1.000003, -0.5, 0.999998, 1.5], &[4])?;
        let x = all_away_from(&all_away_from(&x, -1.0, 0.05)?, 1.0, 0.05)?;
        check::gradient("clamp away from −1 and 1", |v| v[0].clamp(-1.0, 1.0), &[x]);
        Ok(())
    }
}
