// Chapter 1, a scalar tape. Exercise 1: what a gradient is.
//
// The slope of a function f at x says how fast f(x) grows when x grows. You can find it by trying:
// go a small step h to the right and to the left, and divide the difference by the whole way,
//
//     slope ≈ (f(x + h) − f(x − h)) / 2h.
//
// A function of several numbers has a slope for each of them: change that number, keep the others.
// The list of all slopes is the gradient. It says how to change the numbers so that f falls, and
// that is what training does.
//
// This way of finding a gradient is simple and slow: f runs twice for every number, and a model has
// millions of them. The rest of this chapter builds a faster way. This one remains useful to check
// it: all exercises here compare your gradients with such differences.

/// A step that is small, but not so small that rounding spoils the difference.
const H: f64 = 1e-5;

/// The gradient of `f` at `x`: one slope for each number in `x`.
fn gradient(f: impl Fn(&[f64]) -> f64, x: &[f64]) -> Vec<f64> {
    let mut slopes = Vec::new();
    for i in 0..x.len() {
        let mut moved = x.to_vec();
        moved[i] = x[i] + H;
        let right = f(&moved);
        moved[i] = x[i] - H;
        let left = f(&moved);
        slopes.push((right - left) / (2.0 * H));
    }
    slopes
}

fn main() {
    let g = gradient(|v| v[0] * v[0] * v[1], &[3.0, 2.0]);
    println!("x²y at x = 3, y = 2 grows by {:.3} with x and by {:.3} with y", g[0], g[1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_square() {
        let square = |v: &[f64]| v[0] * v[0];
        for x in [-2.0, 0.0, 0.5, 3.0] {
            // By calculus the slope of x² is 2x.
            check::near("the slope of x²", x, &gradient(square, &[x]), &[2.0 * x], 1e-6);
        }
    }

    #[test]
    fn each_number_has_its_slope() {
        let f = |v: &[f64]| v[0] * v[0] * v[1] + v[2];
        // By x it is 2xy, by y it is x², by z it is 1.
        let (x, expected) = ([3.0, 2.0, -1.0], [12.0, 9.0, 1.0]);
        let input = "x = 3, y = 2, z = −1";
        check::near("the gradient of x²y + z", input, &gradient(f, &x), &expected, 1e-6);
    }

    #[test]
    fn a_curved_function_needs_both_sides() {
        // (f(x + h) − f(x)) / h would be off by 5e-5 here.
        let slope = gradient(|v| v[0].exp(), &[2.3]);
        check::near("the slope of eˣ", "x = 2.3", &slope, &[2.3f64.exp()], 1e-8);
    }
}
