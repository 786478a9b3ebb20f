//! What a trace keeps of a tensor.

use gradus_tensor::Tensor;
use serde::Serialize;

/// The most numbers of a tensor that a [`Summary`] holds.
pub const MAX_VALUES: usize = 4096;

/// Ranges of equal width in a histogram.
const BINS: usize = 32;

/// A tensor in a few numbers. Numbers that are NaN or infinite are counted, and left out of the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The smallest number; 0 where there is none.
    pub min: f64,
    /// The largest number.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, of all numbers and not of a sample.
    pub std: f64,
    /// How many are NaN.
    pub nan: usize,
    /// How many are infinite.
    pub infinite: usize,
    /// How many lie in each of 32 ranges of equal width from `min` to `max`.
    pub histogram: Vec<usize>,
    /// The numbers, in row-major order. Every [`stride`](Summary::stride)-th of more than
    /// [`MAX_VALUES`].
    #[serde(serialize_with = "finite_or_text")]
    pub values: Vec<f64>,
    /// Of which numbers [`values`](Summary::values) are a sample: 1 for all of them. 0 where no
    /// number is known: of what only a checkpoint has read, which was not run again.
    pub stride: usize,
    /// Some whole rows of a tensor of more than [`MAX_VALUES`] numbers, evenly spread: with them a
    /// page can show of what an element was computed.
    pub rows: Vec<Row>,
}

/// The numbers of a tensor along its last dimension.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The row's number, if all dimensions but the last are taken as one.
    pub row: usize,
    /// Its numbers.
    #[serde(serialize_with = "finite_or_text")]
    pub values: Vec<f64>,
}

impl Summary {
    /// Reads a tensor. Numbers that are not floats count as they are.
    pub(super) fn of(tensor: &Tensor) -> Summary {
        let all = tensor.to_f64_vec();
        let finite: Vec<f64> = all.iter().copied().filter(|x| x.is_finite()).collect();
        let stride = all.len().div_ceil(MAX_VALUES).max(1);
        let count = finite.len().max(1) as f64;
        let mean = finite.iter().sum::<f64>() / count;
        let squares: f64 = finite.iter().map(|x| (x - mean) * (x - mean)).sum();
        let largest = |sign: f64| finite.iter().map(|x| sign * x).reduce(f64::max);
        let (min, max) = (-largest(-1.0).unwrap_or(-0.0), largest(1.0).unwrap_or(0.0));
        Summary {
            min,
            max,
            mean,
            std: (squares / count).sqrt(),
            nan: all.iter().filter(|x| x.is_nan()).count(),
            infinite: all.iter().filter(|x| x.is_infinite()).count(),
            histogram: histogram(&finite, min, max),
            rows: rows(&all, tensor.shape()),
            values: all.into_iter().step_by(stride).collect(),
            stride,
        }
    }
}

/// Whole rows, evenly spread: together at most half of [`MAX_VALUES`] numbers, but at least two rows.
fn rows(all: &[f64], shape: &[usize]) -> Vec<Row> {
    let width = shape.last().copied().unwrap_or(1);
    if all.len() <= MAX_VALUES || width == all.len() || width > MAX_VALUES {
        return Vec::new();
    }
    let rows = all.len() / width;
    let kept = (MAX_VALUES / 2 / width).clamp(2, rows);
    let place = |i: usize| i * (rows - 1) / (kept - 1).max(1);
    let row = |row: usize| Row { row, values: all[row * width..(row + 1) * width].to_vec() };
    (0..kept).map(|i| row(place(i))).collect()
}

fn histogram(numbers: &[f64], min: f64, max: f64) -> Vec<usize> {
    let mut bins = vec![0; BINS];
    for x in numbers {
        // Halves, so that the width of the range cannot overflow.
        let share = (x / 2.0 - min / 2.0) / (max / 2.0 - min / 2.0);
        let bin = if share.is_finite() { (share * BINS as f64) as usize } else { 0 };
        bins[bin.min(BINS - 1)] += 1;
    }
    bins
}

/// JSON has no NaN and no infinity: they become texts.
fn finite_or_text<S: serde::Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|x| match x.is_finite() {
        true => serde_json::Value::from(*x),
        false => serde_json::Value::from(x.to_string()),
    }))
}

#[cfg(test)]
mod tests {
    use gradus_tensor::DType;

    use super::*;

    #[test]
    fn numbers_of_a_tensor() {
        let all = [1.0, -3.0, f64::NAN, f64::INFINITY, 2.0, f64::NEG_INFINITY];
        let of = Summary::of(&Tensor::from_slice(&all, &[2, 3]).unwrap());
        assert_eq!((of.min, of.max, of.mean, of.nan, of.infinite), (-3.0, 2.0, 0.0, 1, 2));
        assert!((of.std - (14f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((of.histogram[0], of.histogram[25], of.histogram[31]), (1, 1, 1));
        assert_eq!(of.histogram.iter().sum::<usize>(), 3);
        assert_eq!((of.values.len(), of.stride), (6, 1));
        let text = serde_json::to_string(&of).unwrap();
        assert!(text.contains(r#""values":[1.0,-3.0,"NaN","inf",2.0,"-inf"]"#), "{text}");
    }

    #[test]
    fn rows_of_a_large_tensor() {
        let numbers: Vec<f32> = (0..8000).map(|i| i as f32).collect();
        let of = |shape: &[usize]| Summary::of(&Tensor::from_slice(&numbers, shape).unwrap()).rows;
        let kept = of(&[2, 10, 400]);
        assert_eq!(kept.iter().map(|row| row.row).collect::<Vec<_>>(), [0, 4, 9, 14, 19]);
        assert_eq!((kept[1].values[0], kept[1].values[399]), (1600.0, 1999.0));
        assert_eq!(of(&[2, 4000]).len(), 2);
        assert!(Summary::of(&Tensor::ones(&[40, 40], DType::F32).unwrap()).rows.is_empty());
    }

    #[test]
    fn constants_nothing_and_many() {
        let of = Summary::of(&Tensor::full(&[3], 7.0, DType::F32).unwrap());
        assert_eq!((of.min, of.max, of.std, of.histogram[0]), (7.0, 7.0, 0.0, 3));
        let none = Summary::of(&Tensor::zeros(&[0], DType::F32).unwrap());
        assert_eq!((none.min, none.max, none.mean, none.std), (0.0, 0.0, 0.0, 0.0));
        let many = Tensor::zeros(&[MAX_VALUES * 2 + 1], DType::F32).unwrap();
        let of = Summary::of(&many);
        assert_eq!((of.stride, of.values.len()), (3, (MAX_VALUES * 2 + 1).div_ceil(3)));
        assert!(of.rows.is_empty(), "a row is as long as the tensor");
        let wide = Summary::of(&Tensor::from_slice(&[f64::MAX, f64::MIN], &[2]).unwrap());
        assert_eq!((wide.histogram[0], wide.histogram[31]), (1, 1));
    }
}
