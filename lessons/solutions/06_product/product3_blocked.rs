// Chapter 6, a product in steps. Exercise 3: blocks that stay in the cache.
//
// A processor keeps what it used last in a small, fast memory, the cache. In the order ikj, row i
// of C goes through all of B; for the next row, B is read again from the beginning. If B is larger
// than the cache, its beginning is no longer there: B comes from the slow memory m times.
//
// So take a block of B, P rows and J columns, small enough to stay, and use it for *all* rows of A
// before you go on to the next block:
//
//     for each block (p0, j0) of B:
//         for each row i:
//             for p in the block:
//                 for j in the block:
//                     C[i, j] += A[i, p] · B[p, j]
//
// Whether this pays on your machine depends on its caches. So here it is counted, not timed: the
// tests follow each step with a simulated cache of 64 lines of 16 numbers, and count how often a
// number was not there.
//
// In the engine: tensor/cpu/src/product/, whose blocks fit the processor's second cache.

use check::product::Cache;

/// Rows and columns of a block of B.
const P: usize = 16;
const J: usize = 32;

/// Calls `step(i, p, j)` for all steps of a product of n×n matrices, in the order ikj.
fn ikj(n: usize, mut step: impl FnMut(usize, usize, usize)) {
    for i in 0..n {
        for p in 0..n {
            for j in 0..n {
                step(i, p, j);
            }
        }
    }
}

/// The same steps, block by block. A block at the edge may be smaller.
fn blocked(n: usize, mut step: impl FnMut(usize, usize, usize)) {
    for p0 in (0..n).step_by(P) {
        for j0 in (0..n).step_by(J) {
            for i in 0..n {
                for p in p0..(p0 + P).min(n) {
                    for j in j0..(j0 + J).min(n) {
                        step(i, p, j);
                    }
                }
            }
        }
    }
}

/// Follows the steps of a product with a simulated cache.
fn follow(cache: &mut Cache, n: usize, (i, p, j): (usize, usize, usize)) {
    cache.read("A", i * n + p);
    cache.read("B", p * n + j);
    cache.read("C", i * n + j);
}

fn main() {
    let n = 64;
    let (mut one, mut other) = (Cache::of_lines(64), Cache::of_lines(64));
    ikj(n, |i, p, j| follow(&mut one, n, (i, p, j)));
    blocked(n, |i, p, j| follow(&mut other, n, (i, p, j)));
    println!("ikj misses the cache {} times, blocks {} times", one.misses(), other.misses());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_made_once() {
        for n in [1, 16, 32, 40, 70] {
            let mut made = vec![0u8; n * n * n];
            blocked(n, |i, p, j| made[(i * n + p) * n + j] += 1);
            let input = format!("matrices of {n}×{n}; step (i, p, j) is element (i·n + p)·n + j");
            check::same("how often each step is made", input, &made, &vec![1; n * n * n]);
        }
    }

    #[test]
    fn each_sum_grows_in_the_order_of_p() {
        // Else the rounding of the result would depend on the size of the blocks.
        let n = 40;
        let mut last = vec![None; n * n];
        blocked(n, |i, p, j| {
            assert!(
                last[i * n + j] < Some(p),
                "C[{i}, {j}] gets p = {p} after {:?}",
                last[i * n + j]
            );
            last[i * n + j] = Some(p);
        });
        check::same("the last p of each sum", "40×40", &last, &vec![Some(n - 1); n * n]);
    }

    #[test]
    fn blocks_miss_the_cache_less_often() {
        let n = 64;
        let (mut one, mut other) = (Cache::of_lines(64), Cache::of_lines(64));
        ikj(n, |i, p, j| follow(&mut one, n, (i, p, j)));
        blocked(n, |i, p, j| follow(&mut other, n, (i, p, j)));
        let (old, new) = (one.misses(), other.misses());
        assert!(
            new * 5 < old,
            "ikj misses {old} times, your order {new} times: not five times less"
        );
    }
}
