// Chapter 1, a scalar tape. Exercise 3: the chain rule.
//
// If y grows 3 times as fast as s, and s grows 2 times as fast as x, then y grows 6 times as fast
// as x. That is the chain rule: along a chain of steps, slopes multiply,
//
//     slope of y by x = slope of y by s · slope of s by x.
//
// A neuron computes y = tanh(x·w + b) in three steps:
//
//     x ──┐
//         mul ── product ──┐
//     w ──┘                add ── sum ── tanh ── y
//                     b ───┘
//
// Walk this picture from right to left, and keep at every place how fast y grows with the value
// there. At y itself that is 1. Each step back multiplies by one local slope. After one walk you
// have the slopes by x, w and b, all at the price of one. Differences would have run the neuron six
// times.

struct Step {
    value: f64,
    slopes: Vec<f64>,
}

fn add(a: f64, b: f64) -> Step {
    Step { value: a + b, slopes: vec![1.0, 1.0] }
}

fn mul(a: f64, b: f64) -> Step {
    Step { value: a * b, slopes: vec![b, a] }
}

fn tanh(a: f64) -> Step {
    let t = a.tanh();
    Step { value: t, slopes: vec![1.0 - t * t] }
}

/// The value of tanh(x·w + b), and its slopes by x, w and b.
fn neuron(x: f64, w: f64, b: f64) -> (f64, [f64; 3]) {
    let product = mul(x, w);
    let sum = add(product.value, b);
    let y = tanh(sum.value);

    let by_y = 1.0;
    let by_sum = by_y * y.slopes[0];
    let by_product = by_sum * sum.slopes[0];
    let by_b = by_sum * sum.slopes[1];
    let by_x = by_product * product.slopes[0];
    let by_w = by_product * product.slopes[1];
    (y.value, [by_x, by_w, by_b])
}

fn main() {
    let (y, [by_x, by_w, by_b]) = neuron(0.5, -1.0, 0.25);
    println!("y = {y:.4}; its slopes by x, w, b: {by_x:.4}, {by_w:.4}, {by_b:.4}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slopes_are_those_of_the_whole_neuron() {
        for at in [[0.5, -1.0, 0.25], [2.0, 0.5, -1.0], [-1.0, -1.0, 0.0]] {
            let [x, w, b] = at;
            let (value, slopes) = neuron(x, w, b);
            let f = |v: &[f64]| (v[0] * v[1] + v[2]).tanh();
            check::near("tanh(x·w + b)", format!("{at:?}"), &[value], &[f(&at)], 1e-12);
            check::slopes("tanh(x·w + b) by x, w, b", f, &at, &slopes);
        }
    }
}
