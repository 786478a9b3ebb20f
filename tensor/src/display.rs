//! Printing tensors as NumPy prints arrays.
//!
//! `{}` gives the values in nested brackets, columns aligned; `{:?}` adds shape and dtype. Above
//! [`THRESHOLD`] elements only [`EDGE`] at each end of a dimension are shown. Floats show up to
//! [`DECIMALS`] decimals, all in scientific form if the largest is 1e8 or more or the smallest
//! (apart from 0) is below 1e-4: NumPy's rule without its clause on their ratio. A scalar shows
//! every digit that tells it from its neighbours.

use std::fmt::{self, Write};

use gradus_base::{Element, dispatch_any};

use crate::{DType, Tensor};

/// Tensors of more elements are summarised.
const THRESHOLD: usize = 1000;
/// Entries shown at each end of a summarised dimension.
const EDGE: usize = 3;
/// Decimals of a float.
const DECIMALS: usize = 4;
/// Characters of a line.
const WIDTH: usize = 75;

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_device(crate::Device::Cpu) {
            Ok(here) => f.write_str(&Printer::new(&here).print(" ", 0)),
            Err(error) => write!(f, "({error})"),
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PREFIX: &str = "tensor(";
        let values = match self.to_device(crate::Device::Cpu) {
            Ok(here) => Printer::new(&here).print(", ", PREFIX.len()),
            Err(error) => format!("({error})"),
        };
        write!(f, "{PREFIX}{values}, shape={:?}, dtype={})", self.shape(), self.dtype())
    }
}

/// The fewest decimal digits that tell `x` from the other values of its dtype, without an exponent.
fn shortest(x: f64, dtype: DType) -> String {
    if dtype == DType::F64 { format!("{x}") } else { format!("{}", x as f32) }
}

/// The same with an exponent: mantissa and exponent.
fn shortest_scientific(x: f64, dtype: DType) -> String {
    if dtype == DType::F64 { format!("{x:e}") } else { format!("{:e}", x as f32) }
}

/// Digits after the point.
fn decimals(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, digits)| digits.len())
}

fn non_finite(x: f64) -> &'static str {
    match x {
        x if x.is_nan() => "nan",
        x if x > 0.0 => "inf",
        _ => "-inf",
    }
}

/// Up to [`DECIMALS`] decimals, without trailing zeros but with a point: `1.`, `0.25`.
fn fixed(x: f64, dtype: DType) -> String {
    let mut text = shortest(x, dtype);
    if decimals(&text) > DECIMALS {
        text = format!("{x:.DECIMALS$}");
        text.truncate(text.trim_end_matches('0').len());
    } else if !text.contains('.') {
        text.push('.');
    }
    text
}

/// Mantissa and exponent with up to [`DECIMALS`] decimals in the mantissa.
fn scientific(x: f64, dtype: DType) -> (String, i32) {
    let mut text = shortest_scientific(x, dtype);
    let split = |text: &str| match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa.to_string(), exponent.parse().unwrap_or(0)),
        None => (text.to_string(), 0),
    };
    if decimals(&split(&text).0) > DECIMALS {
        text = format!("{x:.DECIMALS$e}");
    }
    let (mut mantissa, exponent) = split(&text);
    if mantissa.contains('.') {
        mantissa.truncate(mantissa.trim_end_matches('0').len());
    } else {
        mantissa.push('.');
    }
    (mantissa, exponent)
}

/// The words of all values, padded so that columns align.
fn words(values: &[f64], dtype: DType) -> Vec<String> {
    if !dtype.is_float() {
        let words: Vec<String> = values.iter().map(|x| format!("{x}")).collect();
        let width = words.iter().map(String::len).max().unwrap_or(0);
        return words.into_iter().map(|w| format!("{w:>width$}")).collect();
    }
    let sizes = values.iter().map(|x| x.abs()).filter(|x| x.is_finite() && *x > 0.0);
    let (min, max) = sizes.fold((f64::INFINITY, 0f64), |(lo, hi), x| (lo.min(x), hi.max(x)));
    let words: Vec<String> = if max >= 1e8 || min < 1e-4 {
        let parts: Vec<Option<(String, i32)>> =
            values.iter().map(|&x| x.is_finite().then(|| scientific(x, dtype))).collect();
        let digits = parts.iter().flatten().map(|(m, _)| decimals(m)).max().unwrap_or(0);
        let exponents = parts.iter().flatten().map(|(_, e)| format!("{}", e.abs()).len());
        let exponents = exponents.max().unwrap_or(0).max(2);
        let parts = values.iter().zip(parts);
        parts
            .map(|(&x, part)| match part {
                None => non_finite(x).to_string(),
                Some((mut mantissa, e)) => {
                    (decimals(&mantissa)..digits).for_each(|_| mantissa.push('0'));
                    let sign = if e < 0 { '-' } else { '+' };
                    format!("{mantissa}e{sign}{:0exponents$}", e.abs())
                }
            })
            .collect()
    } else {
        let words: Vec<String> = values
            .iter()
            .map(|&x| if x.is_finite() { fixed(x, dtype) } else { non_finite(x).to_string() })
            .collect();
        let digits = words.iter().map(|w| decimals(w)).max().unwrap_or(0);
        // Padded on the right too, so that the points align.
        let pad = |w: String| match w.contains('.') {
            true => format!("{w}{}", " ".repeat(digits - decimals(&w))),
            false => w,
        };
        words.into_iter().map(pad).collect()
    };
    let width = words.iter().map(String::len).max().unwrap_or(0);
    words.into_iter().map(|w| format!("{w:>width$}")).collect()
}

/// The tensor's shown elements, and how they nest.
struct Printer {
    /// The sizes of the dimensions, and whether each is summarised.
    dims: Vec<(usize, bool)>,
    words: std::vec::IntoIter<String>,
    empty: bool,
}

impl Printer {
    fn new(tensor: &Tensor) -> Printer {
        let (shape, numel) = (tensor.shape(), tensor.numel());
        let dims: Vec<(usize, bool)> =
            shape.iter().map(|&s| (s, numel > THRESHOLD && s > 2 * EDGE)).collect();
        let values = if numel == 0 { Vec::new() } else { shown(tensor, &dims) };
        let words = match (shape, &values[..], tensor.dtype()) {
            ([], [x], _) if !x.is_finite() => vec![non_finite(*x).to_string()],
            ([], [x], DType::F64) => vec![format!("{x:?}")],
            ([], [x], dtype) if dtype.is_float() => vec![format!("{:?}", *x as f32)],
            (_, values, dtype) => words(values, dtype),
        };
        Printer { dims, words: words.into_iter(), empty: numel == 0 }
    }

    /// `prefix`: characters before the first bracket in its line.
    fn print(mut self, separator: &str, prefix: usize) -> String {
        if self.empty {
            return "[]".to_string();
        }
        self.nest(0, separator, prefix + 1, WIDTH)
    }

    /// The text of one entry of the first `depth` dimensions; its lines but the first are indented
    /// by `indent`.
    fn nest(&mut self, depth: usize, separator: &str, indent: usize, width: usize) -> String {
        let Some(&(size, summarised)) = self.dims.get(depth) else {
            return self.words.next().unwrap_or_default();
        };
        let left = self.dims.len() - depth;
        let entries = if summarised { 2 * EDGE + 1 } else { size };
        let mut text = String::from("[");
        // The width of the line so far, counted from the margin.
        let mut line = indent;
        for i in 0..entries {
            let word = if summarised && i == EDGE {
                "...".to_string()
            } else {
                self.nest(depth + 1, separator, indent + 1, width.saturating_sub(1))
            };
            if left == 1 {
                let room = width.saturating_sub(separator.trim_end().len().max(1));
                if line + word.len() > room && line > indent {
                    text.truncate(text.trim_end().len());
                    let _ = write!(text, "\n{:indent$}", "");
                    line = indent;
                }
                line += word.len() + separator.len();
                text.push_str(&word);
                if i + 1 < entries {
                    text.push_str(separator);
                }
            } else {
                text.push_str(&word);
                if i + 1 < entries {
                    text.push_str(separator.trim_end());
                    let _ = write!(text, "{}{:indent$}", "\n".repeat(left - 1), "");
                }
            }
        }
        text.push(']');
        text
    }
}

/// The values that are shown, in row-major order, widened.
fn shown(tensor: &Tensor, dims: &[(usize, bool)]) -> Vec<f64> {
    let mut positions = vec![tensor.layout().offset()];
    for (&(size, summarised), &stride) in dims.iter().zip(tensor.layout().strides()) {
        let indices: Vec<usize> = if summarised {
            (0..EDGE).chain(size - EDGE..size).collect()
        } else {
            (0..size).collect()
        };
        positions =
            positions.iter().flat_map(|p| indices.iter().map(move |i| p + i * stride)).collect();
    }
    dispatch_any!(tensor.dtype(), widened::<T>(tensor, &positions))
}

/// The elements at `positions` of the storage.
fn widened<T: Element>(tensor: &Tensor, positions: &[usize]) -> Vec<f64> {
    let data = tensor.cpu().typed::<T>().data;
    positions.iter().map(|&p| data[p].to_f64()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor<T: Element>(values: &[T], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape).unwrap()
    }

    fn range(end: usize, shape: &[usize]) -> Tensor {
        Tensor::arange(0.0, end as f64, 1.0, DType::F32).unwrap().reshape(shape).unwrap()
    }

    /// Expected texts are NumPy 2's with `precision=4`.
    #[test]
    fn as_numpy() {
        let cases: [(Tensor, &str); 16] = [
            (tensor(&[1.0f32, 2.5, -3.25], &[3]), "[ 1.    2.5  -3.25]"),
            (tensor(&[1.0f32, 2.0, 3.0, 4.0], &[2, 2]), "[[1. 2.]\n [3. 4.]]"),
            (tensor(&[1e-5f32, 1.5], &[2]), "[1.0e-05 1.5e+00]"),
            (tensor(&[1e10f32, 1.0], &[2]), "[1.e+10 1.e+00]"),
            (
                tensor(&[f64::NAN, f64::INFINITY, -f64::INFINITY, 1.5], &[4]),
                "[ nan  inf -inf  1.5]",
            ),
            (tensor(&[1.23456789e-7, -2e3], &[2]), "[ 1.2346e-07 -2.0000e+03]"),
            (tensor(&[0.0f32, 0.0, 1e-6], &[3]), "[0.e+00 0.e+00 1.e-06]"),
            (
                tensor(&[1e-5, f64::INFINITY, f64::NAN, -1.0], &[4]),
                "[ 1.e-05     inf     nan -1.e+00]",
            ),
            (tensor(&[1e-300, 1e300], &[2]), "[1.e-300 1.e+300]"),
            (tensor(&[7u32, 100], &[2]), "[  7 100]"),
            (tensor(&[half::f16::from_f64(0.1), half::f16::from_f64(0.2)], &[2]), "[0.1 0.2]"),
            (Tensor::zeros(&[0, 3], DType::F32).unwrap(), "[]"),
            (tensor(&[7u8], &[]), "7"),
            (range(1001, &[1001]), "[   0.    1.    2. ...  998.  999. 1000.]"),
            (
                range(12, &[2, 2, 3]),
                "[[[ 0.  1.  2.]\n  [ 3.  4.  5.]]\n\n [[ 6.  7.  8.]\n  [ 9. 10. 11.]]]",
            ),
            (
                range(24, &[24]),
                "[ 0.  1.  2.  3.  4.  5.  6.  7.  8.  9. 10. 11. 12. 13. 14. 15. 16. 17.\n \
                 18. 19. 20. 21. 22. 23.]",
            ),
        ];
        for (tensor, want) in cases {
            assert_eq!(tensor.to_string(), want);
        }
        let bytes = Tensor::zeros(&[2, 1200, 2], DType::U8).unwrap();
        let half = "[[0 0]\n  [0 0]\n  [0 0]\n  ...\n  [0 0]\n  [0 0]\n  [0 0]]";
        assert_eq!(bytes.to_string(), format!("[{half}\n\n {half}]"));
    }

    #[test]
    fn debug_tells_shape_and_dtype() {
        let x = tensor(&[1.0f32, 2.0, 3.0, 4.0], &[2, 2]);
        let text = "tensor([[1., 3.],\n        [2., 4.]], shape=[2, 2], dtype=f32)";
        assert_eq!(format!("{:?}", x.t().unwrap()), text);
        assert_eq!(format!("{:?}", Tensor::scalar(0.1f64)), "tensor(0.1, shape=[], dtype=f64)");
        let empty = Tensor::zeros(&[2, 0], DType::U32).unwrap();
        assert_eq!(format!("{empty:?}"), "tensor([], shape=[2, 0], dtype=u32)");
        let long = range(30, &[30]).affine(1.0 / 7.0, 0.0).unwrap();
        let lines: Vec<String> = format!("{long:?}").lines().map(String::from).collect();
        assert_eq!(
            lines[0],
            "tensor([0.    , 0.1429, 0.2857, 0.4286, 0.5714, 0.7143, 0.8571, 1.    ,"
        );
        assert_eq!(
            lines[3],
            "        3.4286, 3.5714, 3.7143, 3.8571, 4.    , 4.1429], shape=[30], dtype=f32)"
        );
    }

    #[test]
    fn scalars_show_every_digit_and_large_views_are_cheap() {
        assert_eq!(Tensor::scalar(std::f32::consts::PI).to_string(), "3.1415927");
        assert_eq!(Tensor::scalar(1e-20f32).to_string(), "1e-20");
        assert_eq!(Tensor::scalar(f32::NAN).to_string(), "nan");
        let huge = Tensor::scalar(1f32).broadcast_to(&[1 << 28, 1 << 28]).unwrap();
        assert!(huge.to_string().starts_with("[[1. 1. 1. ... 1. 1. 1.]\n"));
        assert_eq!(tensor(&[123456.79f32, 0.1], &[2]).to_string(), "[123456.79      0.1 ]");
    }
}
