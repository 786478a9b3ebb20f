// Chapter 1, a scalar tape. Exercise 2: the slopes of single operations.
//
// Every computation, however long, is made of a few kinds of small steps. For each kind, calculus
// gives the slopes as formulas:
//
//     value        slope by a    slope by b
//     a + b        1             1
//     a · b        b             a
//     tanh a       1 − tanh² a
//
// They are called local slopes, because they belong to one step and know nothing of the rest. In
// the next exercise you put them together.
//
// tanh squeezes any number into −1 … 1. It is written `a.tanh()` in Rust. Its slope needs the value
// itself again, so it pays to keep it.
//
// In the engine: `derivative` in autograd/src/ops/unary.rs has a line for each function like tanh.

/// What one step computes: its value, and the local slope by each of its inputs.
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

fn main() {
    let t = tanh(0.5);
    println!("tanh 0.5 is {:.4}, and grows {:.4} times as fast as its input", t.value, t.slopes[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a step at some points with the function that it computes.
    fn marks(what: &str, step: impl Fn(&[f64]) -> Step, f: impl Fn(&[f64]) -> f64, n: usize) {
        for point in [[0.5, -1.5], [2.0, 0.25], [-0.75, -3.0], [0.0, 0.0]] {
            let at = &point[..n];
            let yours = step(at);
            check::near(what, format!("{at:?}"), &[yours.value], &[f(at)], 1e-12);
            check::slopes(what, &f, at, &yours.slopes);
        }
    }

    #[test]
    fn add_is_given() {
        marks("a + b", |v| add(v[0], v[1]), |v| v[0] + v[1], 2);
    }

    #[test]
    fn a_product() {
        marks("a · b", |v| mul(v[0], v[1]), |v| v[0] * v[1], 2);
    }

    #[test]
    fn a_tanh() {
        marks("tanh a", |v| tanh(v[0]), |v| v[0].tanh(), 1);
    }
}
