//! vectors: 16 exponentials at a time.
//!
//! Adds: the exponential is a polynomial without branches or tables, so the compiler makes
//!   vectors of it. Maximum and sum run in 16 lanes, which join at the end.
//! Why: the system's exponential takes one number and chooses its way by it; a loop over it
//!   cannot become vectors. And one sum lets each addition wait for the one before; 16 lanes are
//!   one vector of sums.
//! Order: element i to lane i mod 16, each ascending, then the lanes

use gradus_cpu::Float;

const LANES: usize = 16;

pub fn softmax(n: usize, x: &[f32], y: &mut [f32]) {
    gradus_cpu::widest(
        #[inline(always)]
        || {
            for (x, y) in x.chunks(n).zip(y.chunks_mut(n)) {
                row(x, y);
            }
        },
    );
}

/// One row.
#[inline(always)]
pub fn row(x: &[f32], y: &mut [f32]) {
    let m = <f32 as Float>::largest(x.iter().copied());
    for i in 0..y.len() {
        y[i] = Float::exp(x[i] - m);
    }
    let mut sums = [0.0; LANES];
    let (vectors, rest) = y.as_chunks::<LANES>();
    for vector in vectors {
        for lane in 0..LANES {
            sums[lane] += vector[lane];
        }
    }
    for (lane, &y) in rest.iter().enumerate() {
        sums[lane] += y;
    }
    let scale = 1.0 / sums.iter().sum::<f32>();
    for y in y {
        *y *= scale;
    }
}
