//! Comparisons of what an exercise computes with what it should compute.

use std::fmt::{Debug, Display, Write};

use gradus_testing::Numbers;

/// Lists longer than this are shown by their beginning.
const SHOWN: usize = 64;

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
        Some(at) => format!("element {at}: yours {:?}, expected {:?}", yours[at], expected[at]),
        None => format!("yours has {} elements, expected {}", yours.len(), expected.len()),
    };
    panic!("{}", report(what, &input.to_string(), &list(yours), &list(expected), &first));
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
    let wrong = |a: f64, b: f64| {
        let equal = a == b || (a.is_nan() && b.is_nan());
        !equal && !((a - b).abs() <= allowed * b.abs().max(1.0))
    };
    let first = match (yours.shape(), expected.shape()) {
        (Some(a), Some(b)) if a != b => format!("the shape: yours {a:?}, expected {b:?}"),
        _ if mine.len() != theirs.len() => {
            format!("yours has {} elements, expected {}", mine.len(), theirs.len())
        }
        _ => match mine.iter().zip(&theirs).position(|(&a, &b)| wrong(a, b)) {
            None => return,
            Some(at) => format!(
                "element {}: yours {}, expected {} (difference {:.1e}, allowed {:.1e})",
                place(at, shape.as_deref()),
                mine[at],
                theirs[at],
                (mine[at] - theirs[at]).abs(),
                allowed * theirs[at].abs().max(1.0)
            ),
        },
    };
    let shown = |numbers: &[f64], shape: Option<&[usize]>| match shape {
        Some(shape) => format!("{}, shape {shape:?}", list(numbers)),
        None => list(numbers),
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
        let value = value.replace('\n', "\n               ");
        writeln!(text, "  {name:>11}: {value}").expect("a string takes all text");
    }
    text
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
