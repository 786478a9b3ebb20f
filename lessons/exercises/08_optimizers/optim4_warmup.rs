// Chapter 8, optimisers. Exercise 4: warm-up, then a straight line down.
//
// Adam's averages know nothing at first, so its first steps are wild. Warm-up makes them short: the
// rate grows from 0 in a straight line. After that it falls in a straight line to 0, so that the
// last steps settle. A schedule gives a factor of the rate for each step, counted from 0:
//
//     step < warmup:  step / warmup
//     else:           (total − step) / (total − warmup), never below 0
//
// Think about the edges: no warm-up at all; a run that is all warm-up; a step after the end.
//
// Read: nn/src/optim/schedule.rs, `factor`.

/// The factor of the rate in this step.
fn factor(step: u64, warmup: u64, total: u64) -> f64 {
    // TODO: the two lines above, and the edges.
    todo!("the factor of step {step}")
}

fn main() {
    for step in 0..=10 {
        let bar = "#".repeat((factor(step, 3, 10) * 40.0) as usize);
        println!("step {step:2}: {bar}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::*;

    fn beside_the_engine(warmup: u64, total: u64) {
        let steps = 0..total + 3;
        let yours: Vec<f64> = steps.clone().map(|step| factor(step, warmup, total)).collect();
        let schedule = Schedule::linear(warmup, total);
        let expected: Vec<f64> = steps.map(|step| schedule.factor(step)).collect();
        let input = format!("warmup {warmup}, total {total}, steps 0 to {}", total + 2);
        check::near("the factors", input, &yours, &expected, 1e-12);
    }

    #[test]
    fn up_and_down() {
        beside_the_engine(3, 10);
        beside_the_engine(1, 7);
    }

    #[test]
    fn without_warmup() {
        beside_the_engine(0, 8);
    }

    #[test]
    fn only_warmup() {
        beside_the_engine(5, 5);
    }
}
