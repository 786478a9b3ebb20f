// Chapter 9, attention. Exercise 3: a softmax that sees its numbers once.
//
// A softmax needs the largest number m first, then the sum s = Σ e^(x − m): two passes. The online
// softmax needs one. It keeps m and s of the numbers so far. When a block of new numbers has a
// larger maximum m′, the old sum was taken relative to the wrong m, and one factor puts it right:
//
//     s′ = s·e^(m − m′) + Σ e^(x − m′)   over the new numbers
//
// At first there are no numbers: m = −∞ and s = 0, and e^(−∞ − m′) = 0 as it should be.
//
// This small step is what makes attention without an n×n matrix possible (exercise 4).
//
// Paper: Milakov & Gimelshein, arXiv:1805.02867. Read: shaders/src/attention.wgsl, the header.

/// The largest of the numbers so far, and the sum of e^(x − largest).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Running {
    largest: f64,
    sum: f64,
}

impl Running {
    /// Before the first number.
    fn new() -> Running {
        Running { largest: f64::NEG_INFINITY, sum: 0.0 }
    }

    /// Takes a block of numbers, which is not empty.
    fn add(&mut self, block: &[f64]) {
        let largest = block.iter().fold(self.largest, |m, &x| m.max(x));
        let new: f64 = block.iter().map(|x| (x - largest).exp()).sum();
        self.sum = self.sum * (self.largest - largest).exp() + new;
        self.largest = largest;
    }
}

fn main() {
    let mut running = Running::new();
    for block in [[1.0, 2.0], [5.0, 3.0], [0.0, 4.0]] {
        running.add(&block);
        println!("after {block:?}: largest {}, sum {:.4}", running.largest, running.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with two passes over everything so far, after each block.
    fn beside_two_passes(numbers: &[f64], block: usize) {
        let mut running = Running::new();
        for (i, part) in numbers.chunks(block).enumerate() {
            running.add(part);
            let seen = &numbers[..i * block + part.len()];
            let m = seen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let s: f64 = seen.iter().map(|x| (x - m).exp()).sum();
            let input = format!("blocks of {block}: {:?}", seen.chunks(block).collect::<Vec<_>>());
            let yours = [running.largest, running.sum];
            check::near("[largest, sum]", input, &yours[..], &[m, s][..], 1e-12);
        }
    }

    #[test]
    fn one_block() {
        beside_two_passes(&[1.0, 3.0, 2.0], 3);
    }

    #[test]
    fn the_largest_comes_first() {
        beside_two_passes(&[5.0, 4.0, 3.0, 2.0, 1.0], 2);
    }

    #[test]
    fn the_largest_comes_later() {
        beside_two_passes(&[1.0, 2.0, 3.0, 9.0, -4.0, 6.0, 9.5], 2);
    }

    #[test]
    fn one_number_at_a_time() {
        beside_two_passes(&[0.5, -0.5, 0.25, 3.0, 3.0], 1);
    }

    #[test]
    fn nothing_overflows() {
        beside_two_passes(&[1000.0, -1000.0, 2000.0, 1999.0], 1);
    }
}
