//! Comparisons of what an exercise computes with what it should compute.

use std::fmt::{Debug, Display, Write};

use gradus_testing::Numbers;

/// Lists longer than this are shown by their beginning.
const SHOWN: usize = 32;

/// Asserts that two lists are equal, element by element. A single value is a list of one.
///
/// ```
/// check::same("the strides", "shape [2, 3]", &[3, 1], &[3, 1]);
/// ```
///
/// # Panics
/// If they differ, with both lists, the input and the first element that differs.
#[track_caller]
pub fn same<T: PartialEq + Debug>(what: &str, input: impl Display, yours: &[T], expected: &[T]) {
    if yours == expected {
        return;
    }
    let at = yours.iter().zip(expected).position(|(a, b)| a != b);
    let first = match at {
        Some(_) if yours.len() == 1 && expected.len() == 1 => String::new(), // shown already
        Some(at) => format!("element {at}: yours {:?}, expected {:?}", yours[at], expected[at]),
        None => format!("yours has {} elements, expected {}", yours.len(), expected.len()),
    };
    panic!("{}", report(what, &input.to_string(), &list(yours), &list(expected), &first));
}

/// Whether `a` differs from `b` by at most `allowed·max(1, |b|)`.
pub(crate) fn is_near(a: f64, b: f64, allowed: f64) -> bool {
    a == b || (a - b).abs() <= allowed * b.abs().max(1.0)
}

/// Asserts that each number differs from the expected one by at most `allowed·max(1, |expected|)`.
/// NaN equals NaN, so that a rule may be asked to keep it. Tensors must also have equal shapes.
///
/// ```
/// check::near("a third", "1/3", &[1.0 / 3.0], &[0.333333333333], 1e-9);
/// ```
///
/// # Panics
/// If they differ, with both, the input and the first element that differs.
#[track_caller]
pub fn near<A, B>(what: &str, input: impl Display, yours: &A, expected: &B, allowed: f64)
where
    A: Numbers + ?Sized,
    B: Numbers + ?Sized,
{
    let shape = expected.shape().or(yours.shape()).map(<[usize]>::to_vec);
    let (mine, theirs) = (yours.numbers(), expected.numbers());
    let wrong = |a: f64, b: f64| !(is_near(a, b, allowed) || (a.is_nan() && b.is_nan()));
    let first = match (yours.shape(), expected.shape()) {
        (Some(a), Some(b)) if a != b => format!("the shape: yours {a:?}, expected {b:?}"),
        _ if mine.len() != theirs.len() => {
            format!("yours has {} elements, expected {}", mine.len(), theirs.len())
        }
        _ => match mine.iter().zip(&theirs).position(|(&a, &b)| wrong(a, b)) {
            None => return,
            Some(at) => {
                let place = place(at, shape.as_deref());
                let (a, b) = (mine[at], theirs[at]);
                let (off, limit) = ((a - b).abs(), allowed * b.abs().max(1.0));
                format!(
                    "element {place}: yours {a}, expected {b}; off by {off:.1e}, allowed {limit:.1e}"
                )
            }
        },
    };
    let shown = |numbers: &[f64], shape: Option<&[usize]>| match shape {
        Some(shape) => format!("{}, shape {shape:?}", list(&rounded(numbers))),
        None => list(&rounded(numbers)),
    };
    let (yours, expected) = (shown(&mine, yours.shape()), shown(&theirs, expected.shape()));
    panic!("{}", report(what, &input.to_string(), &yours, &expected, &first));
}

/// The message of a failure.
pub(crate) fn report(what: &str, input: &str, yours: &str, expected: &str, first: &str) -> String {
    let mut text = format!("{what}: not yet right\n\n");
    for (name, value) in
        [("input", input), ("yours", yours), ("expected", expected), ("first wrong", first)]
    {
        if value.is_empty() {
            continue;
        }
        let value = value.replace('\n', "\n               ");
        writeln!(text, "  {name:>11}: {value}").expect("a string takes all text");
    }
    text
}

/// Numbers with six digits, so that many fit into a line.
pub(crate) fn rounded(numbers: &[f64]) -> Vec<f64> {
    let round = |x: &f64| format!("{x:.5e}").parse().unwrap_or(*x);
    numbers.iter().map(round).collect()
}

/// A list as text, shortened where it is long.
pub(crate) fn list<T: Debug>(items: &[T]) -> String {
    match items {
        [one] => format!("{one:?}"),
        _ if items.len() <= SHOWN => format!("{items:?}"),
        _ => {
            let begin = format!("{:?}", &items[..SHOWN]);
            format!("{}, … {} in all]", begin.trim_end_matches(']'), items.len())
        }
    }
}

/// The index of element number `at`: one number for a list, one for each dimension of a shape.
pub(crate) fn place(at: usize, shape: Option<&[usize]>) -> String {
    let Some(shape) = shape else { return at.to_string() };
    let mut rest = at;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let here = rest % size.max(1);
            rest /= size.max(1);
            here
        })
        .collect();
    index.reverse();
    format!("{index:?}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use gradus_tensor::{Result, Tensor};

    /// The message with which `f` panics.
    pub(crate) fn message_of(f: impl FnOnce()) -> String {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        *panic.expect_err("it panics").downcast::<String>().expect("with a message")
    }

    #[test]
    fn a_failure_shows_everything() {
        let text = message_of(|| same("the strides", "shape [2, 3]", &[3, 2], &[3, 1]));
        let expected = "the strides: not yet right\n\n        input: shape [2, 3]\n        yours: \
                        [3, 2]\n     expected: [3, 1]\n  first wrong: element 1: yours 2, \
                        expected 1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_first_wrong_element_of_a_tensor_has_an_index() -> Result<()> {
        let yours = Tensor::from_slice(&[1.0, 2.0, 3.5, 4.0], &[2, 2])?;
        let expected = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.5], &[2, 2])?;
        let text = message_of(|| near("the sum", "x", &yours, &expected, 1e-3));
        let first =
            "first wrong: element [1, 0]: yours 3.5, expected 3; off by 5.0e-1, allowed 3.0e-3";
        assert!(text.contains(first), "{text}");
        assert!(text.contains("[1.0, 2.0, 3.0, 4.5], shape [2, 2]"), "{text}");
        Ok(())
    }

    #[test]
    fn lengths_and_shapes_count() -> Result<()> {
        let text = message_of(|| same("the places", "", &[0, 1], &[0, 1, 2]));
        assert!(text.contains("first wrong: yours has 2 elements, expected 3"), "{text}");
        let row = Tensor::from_slice(&[1.0, 2.0], &[1, 2])?;
        let text = message_of(|| near("the row", "", &row, &row.t().unwrap(), 0.0));
        assert!(text.contains("first wrong: the shape: yours [1, 2], expected [2, 1]"), "{text}");
        Ok(())
    }

    #[test]
    fn nan_is_wrong_unless_it_is_expected() {
        near("", "", &[f64::NAN], &[f64::NAN], 0.0);
        assert!(message_of(|| near("", "", &[f64::NAN], &[1.0], 0.5)).contains("yours NaN"));
        assert!(message_of(|| near("", "", &[1.0], &[f64::NAN], 0.5)).contains("expected NaN"));
    }

    #[test]
    fn a_single_value_is_shown_once() {
        let text = message_of(|| same("the place", "x", &[5], &[6]));
        assert!(text.ends_with("yours: 5\n     expected: 6\n"), "{text}");
    }

    #[test]
    fn a_long_list_is_shortened() {
        let long: Vec<usize> = (0..1000).collect();
        let shown = list(&long);
        assert!(shown.ends_with("31, … 1000 in all]") && shown.len() < 200, "{shown}");
        assert_eq!(rounded(&[1.0 / 3.0, 2e-9 / 3.0, 0.0]), [0.333333, 6.66667e-10, 0.0]);
        assert!(rounded(&[f64::NAN])[0].is_nan());
    }
}
