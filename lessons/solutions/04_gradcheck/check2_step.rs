// Chapter 4, is it right? Exercise 2: how small is a small step?
//
// A difference has two errors. The function is curved, so the slope between two points is not the
// slope in the middle: this error shrinks with the step. And f(x + h) and f(x − h) are rounded, to
// 16 digits in f64; their difference keeps the fewer of these digits the closer they are, and then
// it is divided by a tiny h: this error grows as the step shrinks.
//
//     one side    (f(x + h) − f(x)) / h           error  h/2 · f″       +  rounding / h
//     central     (f(x + h) − f(x − h)) / 2h      error  h²/6 · f‴      +  rounding / h
//
// Somewhere between is the best step. Halve the step, and the first error of the central difference
// is a quarter: that is why everybody uses it, though it costs one more value of f.
//
// In the engine: `GradCheck::step` is 1e-5. Where that does not settle it, `ridders` in
// autograd/src/gradcheck.rs takes many steps and works out where they lead.

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    OneSide,
    Central,
}

/// How far the difference with step `h` is from the true slope.
fn error(kind: Kind, f: impl Fn(f64) -> f64, x: f64, h: f64, slope: f64) -> f64 {
    let difference = match kind {
        Kind::OneSide => (f(x + h) - f(x)) / h,
        Kind::Central => (f(x + h) - f(x - h)) / (2.0 * h),
    };
    (difference - slope).abs()
}

/// The power of ten among 1e-1, 1e-2, …, 1e-14 whose difference is nearest to the slope.
fn best_step(kind: Kind, f: impl Fn(f64) -> f64, x: f64, slope: f64) -> f64 {
    let steps: Vec<f64> = (1..=14).map(|n| 10f64.powi(-n)).collect();
    let by_error =
        |a: &f64, b: &f64| error(kind, &f, x, *a, slope).total_cmp(&error(kind, &f, x, *b, slope));
    steps.into_iter().min_by(by_error).expect("there are steps")
}

fn main() {
    println!("step    one side   central   (errors of the slope of exp at 1)");
    for n in 1..=14 {
        let (h, e) = (10f64.powi(-n), 1f64.exp());
        let errors = [Kind::OneSide, Kind::Central].map(|kind| error(kind, f64::exp, 1.0, h, e));
        println!("1e-{n:02}   {:.1e}    {:.1e}", errors[0], errors[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola() {
        // For x² the one-sided difference is off by exactly h, the central one by rounding only.
        let yours =
            [Kind::OneSide, Kind::Central].map(|kind| error(kind, |x| x * x, 3.0, 0.5, 6.0));
        check::near("the errors", "x² at 3, step 0.5", &yours, &[0.5, 0.0], 1e-12);
    }

    #[test]
    fn half_the_step_quarters_the_error_of_the_central_difference() {
        let of = |h| error(Kind::Central, f64::exp, 1.0, h, 1f64.exp());
        check::near(
            "error(h) / error(h/2)",
            "exp at 1, h = 0.01",
            &[of(0.01) / of(0.005)],
            &[4.0],
            1e-3,
        );
        let of = |h| error(Kind::OneSide, f64::exp, 1.0, h, 1f64.exp());
        check::near("error(h) / error(h/2)", "one side", &[of(0.01) / of(0.005)], &[2.0], 1e-2);
    }

    #[test]
    fn the_best_steps() {
        let central = best_step(Kind::Central, f64::exp, 1.0, 1f64.exp());
        let one_side = best_step(Kind::OneSide, f64::exp, 1.0, 1f64.exp());
        assert!(
            (1e-7..1e-3).contains(&central),
            "central: best step {central:e}, expected near 1e-5"
        );
        assert!((1e-10..1e-6).contains(&one_side), "one side: best step {one_side:e}, near 1e-8");
        let error = |kind, h| error(kind, f64::exp, 1.0, h, 1f64.exp());
        assert!(error(Kind::Central, central) * 10.0 < error(Kind::OneSide, one_side));
    }
}
