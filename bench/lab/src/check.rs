//! Is it right? A step's results beside the reference in f64, each number with the bound that its
//! own rounding may reach.

use std::hash::{DefaultHasher, Hash, Hasher};

/// What an output must be: the value in f64, and how far f32 may be from it in any order of
/// summation.
pub struct Expected {
    /// Its name in messages.
    pub name: &'static str,
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
    pub bounds: Vec<f64>,
}

/// Unit roundoff of f32.
pub const ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

/// The largest relative error of a sum of `terms` products in f32, in any order (Higham, Accuracy
/// and Stability of Numerical Algorithms, section 3.1): |error| ≤ γ·Σ|aᵢ·bᵢ|.
pub fn gamma(terms: usize) -> f64 {
    let nu = (terms + 2) as f64 * ROUNDOFF;
    nu / (1.0 - nu)
}

/// The error of such a sum that is not reached in practice: roundings are of both signs, so they
/// grow with the square root (Higham and Mary, A New Approach to Probabilistic Rounding Error
/// Analysis, 2019; here λ = 8, which fails once in 10¹³ sums). Where sums are long, [`gamma`] would
/// let a term be forgotten.
pub fn likely(terms: usize) -> f64 {
    8.0 * (terms as f64).sqrt() * ROUNDOFF
}

/// The result of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The largest difference.
    pub largest: f64,
    /// A number that tells whether two steps agree bit for bit.
    pub bits: u64,
    /// What is wrong, in a sentence.
    pub wrong: Option<String>,
}

/// Compares all outputs.
pub fn compare(expected: &[Expected], outputs: &[Vec<f32>]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut hasher = DefaultHasher::new();
    for (expected, output) in expected.iter().zip(outputs) {
        compare_one(expected, output, &mut verdict);
        output.iter().for_each(|x| x.to_bits().hash(&mut hasher));
    }
    if expected.len() != outputs.len() {
        let (got, wanted) = (outputs.len(), expected.len());
        verdict.wrong = Some(format!("it gives {got} results instead of {wanted}"));
    }
    verdict.bits = hasher.finish();
    verdict
}

fn compare_one(expected: &Expected, output: &[f32], verdict: &mut Verdict) {
    let (name, count) = (expected.name, expected.values.len());
    if output.len() != count {
        verdict.wrong.get_or_insert(format!("{name} has {} numbers, not {count}", output.len()));
        return;
    }
    let (mut first, mut beyond) = (None, 0);
    for (i, &found) in output.iter().enumerate() {
        let difference = (f64::from(found) - expected.values[i]).abs();
        if difference.is_nan() || difference > expected.bounds[i] {
            first.get_or_insert(i);
            beyond += 1;
        }
        verdict.largest =
            verdict.largest.max(if difference.is_nan() { f64::INFINITY } else { difference });
    }
    if let Some(i) = first {
        verdict.wrong.get_or_insert(format!(
            "{name}[{}] is {}, the reference says {:.9}; they may differ by {:.1e}. \
             {beyond} of {count} numbers differ by more",
            place(&expected.shape, i),
            output[i],
            expected.values[i],
            expected.bounds[i],
        ));
    }
}

/// The indices of element `i` of a shape.
fn place(shape: &[usize], mut i: usize) -> String {
    let mut at: Vec<String> = Vec::new();
    for &size in shape.iter().rev() {
        at.insert(0, (i % size.max(1)).to_string());
        i /= size.max(1);
    }
    at.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        Expected { name: "C", shape: vec![2, 3], values: vec![1.0; 6], bounds: vec![1e-3; 6] }
    }

    #[test]
    fn the_first_wrong_number_is_named() {
        let mut output = vec![1f32; 6];
        assert!(compare(&[expected()], &[output.clone()]).wrong.is_none());
        output[4] = 1.5;
        output[5] = f32::NAN;
        let verdict = compare(&[expected()], &[output]);
        let wrong = verdict.wrong.unwrap();
        assert!(wrong.contains("C[1, 1] is 1.5") && wrong.contains("2 of 6"), "{wrong}");
        assert_eq!(verdict.largest, f64::INFINITY);
    }

    #[test]
    fn missing_numbers_are_wrong() {
        assert!(compare(&[expected()], &[vec![1.0; 5]]).wrong.is_some());
        assert!(compare(&[expected()], &[]).wrong.is_some());
    }

    #[test]
    fn bits_tell_orders_apart() {
        let bits = |x: f32| compare(&[expected()], &[vec![x; 6]]).bits;
        assert_eq!(bits(1.0), bits(1.0));
        assert_ne!(bits(1.0), bits(1.0 + f32::EPSILON));
    }
}
