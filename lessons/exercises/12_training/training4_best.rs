// Chapter 12, training. Exercise 4: keep the best, and stop in time.
//
// A model that trains for too long learns its examples by heart: on the training set it gets better
// and better, on others worse. So now and then it is evaluated on a dev set, and the weights of the
// best evaluation are kept. If the last `patience` evaluations brought nothing better, training stops.
//
// - Better means higher, not equal: of equals the first stays.
// - NaN is never better. Every comparison with NaN is false, so think about which one you write; a
//   first evaluation of NaN keeps nothing.
// - Keeping a tensor is cheap: `parameter.tensor()` shares memory with the parameter, and an optimiser
//   that changes it copies it first because somebody else holds it.
//
// Read: models/src/training/best.rs; models/src/evaluation/mod.rs, `better_than`.

use gradus::prelude::*;

/// The best model so far.
#[derive(Default)]
struct Best {
    /// Its score, and the step after which it had it; `None` before the first that counts.
    score: Option<(f64, u64)>,
    /// Its weights, in the order of the parameters.
    weights: Vec<Tensor>,
    /// Evaluations since then.
    stale: usize,
}

impl Best {
    /// Takes an evaluation after `step`: keeps the weights if they are the best. Returns whether to
    /// stop.
    fn evaluated(
        &mut self,
        step: u64,
        score: f64,
        parameters: &[Parameter],
        patience: usize,
    ) -> bool {
        // TODO: is it better? Keep it, or count it as stale.
        todo!("score {score} after step {step}")
    }

    /// Gives the parameters the best weights, if there are any.
    fn restore(&self, parameters: &[Parameter]) -> Result<()> {
        // TODO: `parameter.set(tensor)?`
        todo!("put the best weights back")
    }
}

fn main() -> Result<()> {
    let w = [Parameter::new("w", Tensor::scalar(0f32))?];
    let mut best = Best::default();
    for (step, score) in (1..).zip([0.5, 0.7, 0.6, 0.65, 0.64]) {
        let stop = best.evaluated(step, score, &w, 3);
        println!("step {step}: score {score}, best {:?}, stop: {stop}", best.score);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    /// A run whose only weight is the number of its step. Returns when it stopped, and the weight
    /// after the best was put back.
    fn run(scores: &[f64], patience: usize) -> (u64, f64) {
        let w = [Parameter::new("w", Tensor::scalar(0f32)).unwrap()];
        let (mut best, mut stopped) = (Best::default(), 0);
        for (step, &score) in (1..).zip(scores) {
            // In place, as an optimiser does it.
            w[0].update(|value| value.add_(&Tensor::scalar(1f32), 1.0)).unwrap();
            if best.evaluated(step, score, &w, patience) {
                stopped = step;
                break;
            }
        }
        best.restore(&w).unwrap();
        (stopped, w[0].tensor().item().unwrap())
    }

    fn expect(scores: &[f64], patience: usize, stopped: u64, kept: f64) {
        let yours = run(scores, patience);
        let input = format!("scores {scores:?}, patience {patience}");
        let what = "(the step at which it stopped, 0 for never; the step whose weights are kept)";
        check::same(what, input, &[yours], &[(stopped, kept)]);
    }

    #[test]
    fn the_best_is_kept() {
        expect(&[0.5, 0.7, 0.6], 9, 0, 2.0);
        expect(&[0.5, 0.7, 0.6, 0.8], 9, 0, 4.0);
    }

    #[test]
    fn it_stops_in_time() {
        expect(&[0.5, 0.7, 0.6, 0.65, 0.64, 0.9], 3, 5, 2.0);
        expect(&[0.9, 0.8], 1, 2, 1.0);
    }

    #[test]
    fn something_better_starts_the_count_again() {
        expect(&[0.5, 0.4, 0.6, 0.5, 0.7, 0.6, 0.5], 2, 7, 5.0);
    }

    #[test]
    fn of_equals_the_first_stays() {
        expect(&[0.7, 0.7, 0.7], 2, 3, 1.0);
    }

    #[test]
    fn nan_is_never_better() {
        expect(&[0.5, NAN, 0.6], 9, 0, 3.0);
        expect(&[NAN, 0.4, NAN], 9, 0, 2.0);
    }

    #[test]
    fn negative_scores_are_scores() {
        expect(&[-3.0, -1.0, -2.0], 9, 0, 2.0);
    }
}
