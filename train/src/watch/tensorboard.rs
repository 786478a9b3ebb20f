//! Event files for TensorBoard: scalars at every step and evaluation, and histograms on request.
//!
//! A file is a sequence of records, each with masked CRC-32C sums as TensorFlow's `TFRecord`; a
//! record is a protocol buffer `tensorflow.Event`. The messages here have the fields that are
//! written, with TensorFlow's numbers.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use gradus_cli::Outcome;
use gradus_models::Error;
use gradus_models::training::{Evaluation, Inspection, Norms, StepNumbers};
use gradus_tensor::Tensor;
use prost::Message;

/// The folder of the event files, in the folder of the run.
const FOLDER: &str = "tensorboard";

/// Buckets of a histogram.
const BUCKETS: usize = 30;

/// `tensorflow.Event`.
#[derive(Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

/// `tensorflow.Summary`.
#[derive(Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value`.
#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "5")]
    histo: Option<Histogram>,
}

/// `tensorflow.HistogramProto`.
#[derive(Message)]
struct Histogram {
    #[prost(double, tag = "1")]
    min: f64,
    #[prost(double, tag = "2")]
    max: f64,
    #[prost(double, tag = "3")]
    num: f64,
    #[prost(double, tag = "4")]
    sum: f64,
    #[prost(double, tag = "5")]
    sum_squares: f64,
    /// The upper end of each bucket.
    #[prost(double, repeated, tag = "6")]
    bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    bucket: Vec<f64>,
}

/// `tensorflow.SessionLog`: with status 1, a reader forgets steps from this one on that earlier
/// files have.
#[derive(Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An open event file.
pub struct TensorBoard {
    path: PathBuf,
    file: BufWriter<File>,
    histograms: bool,
}

impl TensorBoard {
    /// A new event file in a run's folder, for a run that begins or goes on after `step`. A run that
    /// begins removes the files of an earlier one.
    pub fn open(folder: &Path, step: u64, histograms: bool) -> Outcome<Self> {
        let folder = folder.join(FOLDER);
        let now = seconds();
        let path = folder.join(format!("events.out.tfevents.{now:017.6}.gradus"));
        let io = |source| Error::Io { path: path.clone(), source };
        if step == 0 && folder.is_dir() {
            fs::remove_dir_all(&folder).map_err(io)?;
        }
        fs::create_dir_all(&folder).map_err(io)?;
        let file = BufWriter::new(File::create(&path).map_err(io)?);
        let mut board = TensorBoard { path, file, histograms };
        board.write(Event { file_version: Some("brain.Event:2".into()), ..event(0) })?;
        if step > 0 {
            let session_log = Some(SessionLog { status: 1 });
            board.write(Event { session_log, ..event(step + 1) })?;
        }
        Ok(board)
    }

    /// Writes the numbers of a step.
    pub fn step(&mut self, step: &StepNumbers) -> Outcome {
        let mut values = vec![
            scalar("train/loss", step.loss),
            scalar("train/learning_rate", step.lr),
            scalar("train/grad_norm", step.grad_norm),
            scalar("train/epoch", step.epoch),
            scalar("train/tokens_per_second", step.tokens as f64 / step.seconds.max(1e-9)),
        ];
        values.extend(step.loss_scale.map(|scale| scalar("train/loss_scale", scale)));
        self.summary(step.step, values)
    }

    /// Writes an evaluation.
    pub fn evaluated(&mut self, split: &str, step: u64, result: &Evaluation) -> Outcome {
        let values = result.values().map(|(name, value)| scalar(&format!("{split}/{name}"), value));
        self.summary(step, values.collect())
    }

    /// Writes the norms of the parts of the model and, on request, histograms of every parameter
    /// and its gradient.
    pub fn inspected(&mut self, inspection: &Inspection, norms: &[Norms]) -> Outcome {
        let mut values = Vec::new();
        for norms in norms {
            values.push(scalar(&format!("weight_norm/{}", norms.part), norms.weights));
            let gradients = norms.gradients;
            values.extend(gradients.map(|norm| scalar(&format!("grad_norm/{}", norms.part), norm)));
        }
        let parameters = inspection.parameters.iter().filter(|_| self.histograms);
        for parameter in parameters {
            let name = parameter.name();
            values.push(histogram(&format!("weights/{name}"), &parameter.tensor()));
            if let Some(gradient) = inspection.gradient(parameter)? {
                values.push(histogram(&format!("gradients/{name}"), &gradient));
            }
        }
        self.summary(inspection.step, values)
    }

    fn summary(&mut self, step: u64, value: Vec<Value>) -> Outcome {
        self.write(Event { summary: Some(Summary { value }), ..event(step) })
    }

    /// Writes a record at once, so that a running TensorBoard sees it.
    fn write(&mut self, event: Event) -> Outcome {
        let written = record(&mut self.file, &event.encode_to_vec());
        Ok(written.map_err(|source| Error::Io { path: self.path.clone(), source })?)
    }
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn event(step: u64) -> Event {
    Event { wall_time: seconds(), step: step as i64, ..Event::default() }
}

fn scalar(tag: &str, value: f64) -> Value {
    Value { tag: tag.into(), simple_value: Some(value as f32), ..Value::default() }
}

/// Buckets of equal width between the smallest and the largest finite value.
fn histogram(tag: &str, tensor: &Tensor) -> Value {
    let all = tensor.to_f64_vec().into_iter();
    let values: Vec<f64> = all.filter(|value| value.is_finite()).collect();
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let histo = (!values.is_empty()).then(|| {
        let width = ((max - min) / BUCKETS as f64).max(f64::MIN_POSITIVE);
        let mut bucket = vec![0.0; BUCKETS];
        values.iter().for_each(|x| bucket[(((x - min) / width) as usize).min(BUCKETS - 1)] += 1.0);
        let bucket_limit = (1..=BUCKETS).map(|i| min + width * i as f64).collect();
        Histogram {
            min,
            max,
            num: values.len() as f64,
            sum: values.iter().sum(),
            sum_squares: values.iter().map(|x| x * x).sum(),
            bucket_limit,
            bucket,
        }
    });
    Value { tag: tag.into(), histo, ..Value::default() }
}

/// A record of a `TFRecord` file: the length and the data, each with its sum.
fn record(out: &mut impl Write, data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(&length).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked(data).to_le_bytes())?;
    out.flush()
}

/// The CRC-32C of some bytes, masked as TensorFlow does.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sums are those of `masked_crc32c` in TensorBoard's copy of TensorFlow.
    #[test]
    fn a_record_is_tensorflows() {
        let mut out = Vec::new();
        record(&mut out, b"abc").unwrap();
        let length = [3, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0x99, 0x49, 0x0e];
        let data = [b'a', b'b', b'c', 0x6e, 0x57, 0xf1, 0x21];
        assert_eq!(out, [&length[..], &data].concat());
        // The CRC-32C of "123456789" is 0xe3069283 (RFC 3720).
        let known = 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked(b"123456789"), known);
    }

    #[test]
    fn a_histogram_counts_every_finite_value_once() {
        let values: Vec<f32> = (0..100).map(|i| i as f32).chain([f32::NAN]).collect();
        let tensor = Tensor::from_slice(&values, &[101]).unwrap();
        let histo = histogram("w", &tensor).histo.unwrap();
        assert_eq!((histo.min, histo.max, histo.num, histo.sum), (0.0, 99.0, 100.0, 4950.0));
        assert_eq!(histo.bucket.iter().sum::<f64>(), 100.0);
        assert!((histo.bucket_limit[BUCKETS - 1] - 99.0).abs() < 1e-9);
        let constant = histogram("w", &Tensor::from_slice(&[2f32; 4], &[4]).unwrap());
        assert_eq!(constant.histo.unwrap().bucket.iter().sum::<f64>(), 4.0);
    }
}
