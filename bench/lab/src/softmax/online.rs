//! online: the largest x and the sum in one pass (Milakov and Gimelshein, arXiv:1805.02867).
//!
//! Adds: where a larger x turns up, the sum so far is scaled to it: s ← s·e^(m − x) + 1.
//! Why: a row is read twice instead of three times. On a processor that does not help: the row
//!   lies in the first cache, and each exponential is computed twice again. It pays where what is
//!   read is more than a cache holds, and where scores must not be stored at all: see attention.
//! Order: ascending, one sum, scaled whenever m grows

pub fn softmax(n: usize, x: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks(n).zip(y.chunks_mut(n)) {
        let (mut m, mut sum) = (f32::NEG_INFINITY, 0.0);
        for &x in x {
            if x > m {
                sum = sum * (m - x).exp() + 1.0;
                m = x;
            } else {
                sum += (x - m).exp();
            }
        }
        let scale = 1.0 / sum;
        for (x, y) in x.iter().zip(y) {
            *y = (x - m).exp() * scale;
        }
    }
}
