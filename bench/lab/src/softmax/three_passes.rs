//! three passes: the formula, y = e^(x − m) / Σ e^(x − m), with m the largest x of the row.
//!
//! Adds: nothing yet. One pass finds m, so that no exponential overflows; one sums; one writes.
//! Why: slow, because each exponential is computed twice, by the system's function, one at a time.
//! Order: ascending, one sum

pub fn softmax(n: usize, x: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks(n).zip(y.chunks_mut(n)) {
        let m = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for x in x {
            sum += (x - m).exp();
        }
        for (x, y) in x.iter().zip(y) {
            *y = (x - m).exp() / sum;
        }
    }
}
