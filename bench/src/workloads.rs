//! The workloads. They have the names, meaning and units of the peers' scripts.

use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;
use gradus_autograd::no_grad;
use gradus_cli::{Failure, Outcome, peak_rss_mib};
use gradus_models::batch::sorted_batches;
use gradus_models::encoder::{mean_pool, normalize};
use gradus_models::{
    Dataset, Encoder, EncoderConfig, EncoderInput, Encoding, Labels, PackedBatch, Pooling,
    Pretrained, SequenceClassifier, Split,
};
use gradus_nn::{
    AdamW, CrossEntropy, Forward, GradScaler, Optimizer, ParamGroup, Precision, Store,
    clip_grad_norm,
};
use gradus_tensor::{DType, Device, GpuCounters, LowPrecision, Reading, RngKey, Tensor, profile};

use crate::report::{GpuUse, Measurement};

/// What to measure.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Workload {
    /// Encoder forward, 32 × 128
    #[value(name = "encode-b32-s128")]
    EncodeB32S128,
    /// Encoder forward, 1 × 16
    #[value(name = "encode-b1-s16")]
    EncodeB1S16,
    /// Real texts to embeddings
    EncodeReal,
    /// Training step, 32 × 128
    #[value(name = "step-b32-s128")]
    StepB32S128,
    /// Training over real texts
    EpochReal,
    /// One large product
    Gemm,
    /// Multiply-adds in registers: the limit
    Fma,
}

/// The shape of ModernBERT-base, with the vocabulary of BERT-base.
fn modernbert_base(base: EncoderConfig) -> Outcome<EncoderConfig> {
    let json = serde_json::json!({
        "model_type": "modernbert",
        "vocab_size": base.vocab_size,
        "hidden_size": 768,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "pad_token_id": 0,
        "local_attention": 128,
        "global_attn_every_n_layers": 3,
    });
    Ok(EncoderConfig::from_json(&json.to_string())?)
}

/// Labels of the training workloads, as many as in the peers' scripts.
const LABELS: usize = 77;
/// Real texts are truncated to this many tokens.
const MAX_LENGTH: usize = 128;

/// A small BERT, for `bench --quick`: valgrind emulates multiply-adds, a hundred times slower.
fn tiny() -> Outcome<EncoderConfig> {
    let json = serde_json::json!({
        "model_type": "bert",
        "vocab_size": 1000,
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
    });
    Ok(EncoderConfig::from_json(&json.to_string())?)
}

/// The settings of all measurements.
pub struct Bench {
    pub device: Device,
    pub model: Option<String>,
    pub data: Option<PathBuf>,
    pub texts: Option<usize>,
    pub seconds: f64,
    pub batch: usize,
    pub precision: Precision,
    /// Runs once only, after the warm-up, and through [`counted_run`](crate::quick::counted_run).
    pub counted: bool,
}

struct Times {
    median: f64,
    best: f64,
    runs: usize,
    gpu: Option<GpuUse>,
}

/// The positions of `count` texts of `all`, at even distances. The peers' `common.py` takes the same.
fn share(all: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(all);
    (0..count).map(move |i| i * all / count)
}

/// Whether to run again: until the seconds are over, at least three times, but not a second or
/// third time once the runs took four times as long. The peers' `common.py` has the same rule.
fn again(runs: usize, elapsed: f64, seconds: f64) -> bool {
    runs == 0 || elapsed < if runs < 3 { 4.0 * seconds } else { seconds }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    let n = of.len();
    (of[n / 2] + of[(n - 1) / 2]) / 2.0
}

impl Bench {
    pub fn measure(&self, workload: Workload) -> Outcome<Measurement> {
        let mut kernel = None;
        let (times, amount, unit) = match workload {
            Workload::EncodeB32S128 => (self.encode(self.batch, 128)?, self.batch, "sequences/s"),
            Workload::EncodeB1S16 => (self.encode(1, 16)?, 1, "ms"),
            Workload::EncodeReal => {
                let (times, texts) = self.encode_real()?;
                (times, texts, "texts/s")
            }
            Workload::StepB32S128 => {
                // Counted: so few tokens that packing and copying weights are a part that shows.
                let length = if self.counted { 32 } else { 128 };
                (self.step(self.batch, length)?, self.batch, "sequences/s")
            }
            Workload::EpochReal => {
                let (times, texts) = self.epoch_real()?;
                (times, texts, "texts/s")
            }
            Workload::Gemm => {
                let times;
                (times, kernel) = self.gemm()?;
                (times, 2 * 4096 * 1536 * 1536, "GFLOP/s")
            }
            Workload::Fma => {
                let (times, operations) = self.fma()?;
                (times, operations, "GFLOP/s")
            }
        };
        let value = |seconds: f64| match unit {
            "ms" => seconds * 1e3,
            "GFLOP/s" => amount as f64 / seconds / 1e9,
            _ => amount as f64 / seconds,
        };
        let round = |x: f64| (x * 1e3).round() / 1e3;
        Ok(Measurement {
            engine: format!("gradus-{}", env!("CARGO_PKG_VERSION")),
            workload: workload
                .to_possible_value()
                .map(|v| v.get_name().to_string())
                .unwrap_or_default(),
            model: match (workload, &self.model) {
                (Workload::Gemm | Workload::Fma, _) | (_, None) => "none".into(),
                (_, Some(model)) => {
                    model.trim_end_matches('/').rsplit('/').next().unwrap_or(model).to_string()
                }
            },
            value: round(value(times.median)),
            unit: unit.into(),
            best: round(value(times.best)),
            runs: times.runs,
            threads: rayon::current_num_threads(),
            device: self.device.to_string(),
            hardware: self.hardware(),
            kernel,
            texts: (unit == "texts/s").then_some(amount),
            precision: self.precision.to_string(),
            gpu: times.gpu,
            peak_rss_mib: peak_rss_mib(),
        })
    }

    fn hardware(&self) -> String {
        match self.device {
            Device::Gpu(index) => gradus_tensor::gpus()
                .get(index)
                .map(|gpu| format!("{}, {}, {}", gpu.name, gpu.backend, gpu.driver))
                .unwrap_or_default(),
            _ => gradus_tensor::instruction_set().into(),
        }
    }

    /// Runs `f` until the time is over (see [`again`]), after one warm-up. (In training the
    /// second step still allocates new memory, because the first left some to the optimiser.)
    fn repeat(&self, mut f: impl FnMut() -> Outcome + Send) -> Outcome<Times> {
        // Runs inside the thread pool, like pipelines and the trainer: entering it costs 20 µs.
        // When `f` returns, a GPU has only recorded the work, so the clock waits for it.
        let mut f = || -> Outcome<Option<GpuUse>> {
            let (before, start) = (self.device.counters()?, Instant::now());
            rayon::scope(|_| f())?;
            let host = start.elapsed();
            self.device.synchronize()?;
            Ok(before.zip(self.device.counters()?).map(|(a, b)| {
                let mib = |bytes: u64| bytes >> 20;
                let made = |c: &GpuCounters| c.buffers + c.bind_groups;
                GpuUse {
                    dispatches: b.dispatches - a.dispatches,
                    submits: b.submits - a.submits,
                    made: made(&b) - made(&a),
                    encode_ms: (b.encode_ns - a.encode_ns) as f64 / 1e6,
                    host_ms: host.as_secs_f64() * 1e3,
                    held_mib: mib(b.held_bytes),
                    peak_mib: [mib(b.peak_live_bytes), mib(b.peak_held_bytes)],
                }
            }))
        };
        f()?;
        let (start, mut times, mut uses) = (Instant::now(), Vec::new(), Vec::new());
        if self.counted {
            crate::quick::counted_run(&mut || f().map(drop))?;
            times.push(start.elapsed().as_secs_f64());
        }
        while !self.counted && again(times.len(), start.elapsed().as_secs_f64(), self.seconds) {
            let one = Instant::now();
            uses.extend(f()?);
            times.push(one.elapsed().as_secs_f64());
        }
        // Counts come from the last run, because the first runs still make buffers.
        let gpu = uses.last().map(|last| GpuUse {
            encode_ms: median(uses.iter().map(|run| run.encode_ms).collect()),
            host_ms: median(uses.iter().map(|run| run.host_ms).collect()),
            ..*last
        });
        let best = times.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Times { best, runs: times.len(), median: median(times), gpu })
    }

    fn config_and_store(&self) -> Outcome<(EncoderConfig, Store, Option<Pretrained>)> {
        match self.model.as_deref() {
            None => Err(Failure::usage("this workload needs --model DIR or --model base")),
            Some(name @ ("base" | "modernbert-base" | "tiny")) => {
                let store = Store::new(0);
                store.to_device(self.device)?;
                let base = EncoderConfig::base(30522);
                let config = match name {
                    "base" => base,
                    "tiny" => tiny()?,
                    _ => modernbert_base(base)?,
                };
                Ok((config, store, None))
            }
            Some(model) => {
                let pretrained = Pretrained::open(model)?;
                let store = pretrained.store(0);
                store.to_device(self.device)?;
                Ok((pretrained.config.clone(), store, Some(pretrained)))
            }
        }
    }

    /// `batch` random sequences of `length` tokens each.
    fn random_input(
        &self,
        batch: usize,
        length: usize,
        config: &EncoderConfig,
    ) -> Outcome<EncoderInput> {
        let high = 30000.min(config.vocab_size as u32);
        let ids = Tensor::randint(high / 30, high, &[batch * length], RngKey::new(0))?;
        let (ids, zeros) = (ids.to_vec::<u32>()?, vec![0u32; length]);
        let parts = ids.chunks(length).map(|ids| (ids, zeros.as_slice()));
        Ok(EncoderInput::new(&PackedBatch::from_parts(parts, config)?)?.to_device(self.device)?)
    }

    fn encode(&self, batch: usize, length: usize) -> Outcome<Times> {
        let (config, store, _) = self.config_and_store()?;
        let encoder = Encoder::new(&config.encoder_path(&store.root()), &config, false)?;
        let input = self.random_input(batch, length, &config)?;
        self.repeat(|| {
            no_grad(|| self.precision.run(|| encoder.forward(&input, &Forward::inference())))?;
            Ok(())
        })
    }

    /// The texts of `--data`, with all its labels: as many as `--texts` says, or `default`.
    fn data(&self, default: usize) -> Outcome<(Split, Labels)> {
        let path = self.data.as_ref().ok_or_else(|| {
            Failure::usage("this workload needs --data FILE with texts and labels")
        })?;
        let mut split = Dataset::open(path, &Default::default())?.train;
        let labels = Labels::from_split(&split)?;
        let places = share(split.examples.len(), self.texts.unwrap_or(default));
        split.examples = places.map(|place| split.examples[place].clone()).collect();
        Ok((split, labels))
    }

    fn encode_real(&self) -> Outcome<(Times, usize)> {
        let (config, store, pretrained) = self.config_and_store()?;
        let tokenizer = pretrained
            .ok_or_else(|| Failure::usage("encode-real needs a model with a tokenizer"))?
            .tokenizer;
        let encoder = Encoder::new(&config.encoder_path(&store.root()), &config, false)?;
        let (split, _) = self.data(usize::MAX)?;
        let texts: Vec<(&str, Option<&str>)> =
            split.examples.iter().map(|e| (e.text.as_str(), None)).collect();
        let times = self.repeat(|| {
            let encodings = tokenizer.encode_batch(&texts, MAX_LENGTH)?;
            let lengths: Vec<usize> = encodings.iter().map(Encoding::len).collect();
            for batch in sorted_batches(&lengths, 32)? {
                let packed = PackedBatch::new(batch.iter().map(|&i| &encodings[i]), &config)?;
                let input = EncoderInput::new(&packed)?.to_device(self.device)?;
                let embed = || {
                    let hidden = encoder.forward(&input, &Forward::inference())?;
                    normalize(&mean_pool(&hidden, &input)?)
                };
                no_grad(|| self.precision.run(embed))?;
            }
            Ok(())
        })?;
        Ok((times, texts.len()))
    }

    /// A model in training, with its optimiser.
    fn trainee(&self) -> Outcome<Trainee> {
        self.precision.check_training()?;
        let (mut config, store, pretrained) = self.config_and_store()?;
        let names = (0..LABELS).map(|i| format!("label {i:02}")).collect();
        config.set_labels(&Labels::from_names(names)?);
        let model = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, LABELS)?;
        let group = ParamGroup::new(store.parameters(), 5e-5).weight_decay(0.01);
        Ok(Trainee {
            config,
            store,
            model,
            optimizer: AdamW::with_groups(vec![group])?,
            precision: self.precision,
            scaler: match self.precision {
                Precision::F32 | Precision::Bf16 | Precision::Int8 => None,
                Precision::F16 => Some(GradScaler::new(self.device)?),
            },
            steps: 0,
            loss: None,
            pretrained,
        })
    }

    fn step(&self, batch: usize, length: usize) -> Outcome<Times> {
        let mut trainee = self.trainee()?;
        let input = self.random_input(batch, length, &trainee.config)?;
        let targets = Tensor::randint(0, LABELS as u32, &[batch], RngKey::new(1))?;
        let targets = targets.to_device(self.device)?;
        self.repeat(|| trainee.step(&input, &targets))
    }

    fn epoch_real(&self) -> Outcome<(Times, usize)> {
        let mut trainee = self.trainee()?;
        let tokenizer = &trainee
            .pretrained
            .as_ref()
            .ok_or_else(|| Failure::usage("epoch-real needs a model with a tokenizer"))?
            .tokenizer;
        let (split, labels) = self.data(1024)?;
        let ids = labels.encode(&split)?;
        let texts: Vec<(&str, Option<&str>)> =
            split.examples.iter().map(|e| (e.text.as_str(), None)).collect();
        let encodings = tokenizer.encode_batch(&texts, MAX_LENGTH)?;
        let mut batches = Vec::new();
        for (encodings, ids) in encodings.chunks(32).zip(ids.chunks(32)) {
            let input = EncoderInput::new(&PackedBatch::new(encodings, &trainee.config)?)?;
            let targets = Tensor::from_slice(ids, &[ids.len()])?.to_device(self.device)?;
            batches.push((input.to_device(self.device)?, targets));
        }
        let times = self.repeat(|| {
            batches.iter().try_for_each(|(input, targets)| trainee.step(input, targets))
        })?;
        Ok((times, texts.len()))
    }

    /// Times of one product, and the GPU's kernel that computed it.
    fn gemm(&self) -> Outcome<(Times, Option<String>)> {
        let a = Tensor::randn(&[4096, 1536], DType::F32, RngKey::new(0))?.to_device(self.device)?;
        let b = Tensor::randn(&[1536, 1536], DType::F32, RngKey::new(1))?.to_device(self.device)?;
        let (a, b) = match self.precision {
            Precision::F32 | Precision::Int8 | Precision::Bf16 => (a, b),
            Precision::F16 => (a.to_dtype(DType::F16)?, b.to_dtype(DType::F16)?),
        };
        let product = || -> Outcome {
            match self.precision {
                Precision::Int8 => a.linear_low(&b, None, LowPrecision::Int8)?,
                Precision::Bf16 => a.linear_low(&b, None, LowPrecision::Bf16)?,
                Precision::F32 | Precision::F16 => a.linear(&b, None)?,
            };
            Ok(())
        };
        Ok((self.repeat(product)?, self.kernel(product)?))
    }

    /// The kernel that `f` runs last on the GPU; none on the CPU, without timestamps, or while
    /// `--profile` keeps a record.
    fn kernel(&self, f: impl FnOnce() -> Outcome) -> Outcome<Option<String>> {
        if self.device == Device::Cpu || profile::calls() > 0 {
            return Ok(None);
        }
        profile::start();
        f()?;
        self.device.synchronize()?;
        let runs = profile::stop().map(|record| record.kernels).unwrap_or_default();
        Ok(runs.into_iter().next_back().map(|run| run.kernel))
    }

    /// Multiply-adds in registers, on all threads at once.
    fn fma(&self) -> Outcome<(Times, usize)> {
        let rounds = 2_000_000;
        let all = || rayon::broadcast(|_| gradus_tensor::fma_loop(rounds)).into_iter().sum::<u64>();
        let operations = all();
        let times = self.repeat(|| {
            all();
            Ok(())
        })?;
        Ok((times, operations as usize))
    }
}

struct Trainee {
    config: EncoderConfig,
    store: Store,
    model: SequenceClassifier,
    optimizer: AdamW,
    precision: Precision,
    /// Only in f16.
    scaler: Option<GradScaler>,
    steps: u64,
    loss: Option<Reading>,
    pretrained: Option<Pretrained>,
}

impl Trainee {
    fn step(&mut self, input: &EncoderInput, targets: &Tensor) -> Outcome {
        let forward = Forward::training(0, self.steps);
        let logits = self.precision.run(|| self.model.forward(input, &forward))?;
        let loss = logits.cross_entropy(targets, &CrossEntropy::default())?;
        drop(logits);
        let parameters = self.store.parameters();
        let (grads, clip);
        match &mut self.scaler {
            Some(scaler) => {
                grads = scaler.backward(&loss)?;
                clip = scaler.clip_grad_norm(&grads, &parameters, 1.0)?;
            }
            None => {
                grads = loss.backward()?;
                clip = clip_grad_norm(&grads, &parameters, 1.0)?;
            }
        }
        self.optimizer.step_scaled(&grads, 1.0, Some(&clip.scale))?;
        self.steps += 1;
        // On a GPU the loss is read one step later, as in `train`.
        let before = self.loss.replace(loss.tensor().read_later()?);
        let before = if loss.tensor().device() == Device::Cpu { self.loss.take() } else { before };
        let value = before.map(|reading| reading.wait()?.item()).transpose()?.unwrap_or(0.0);
        if !value.is_finite() {
            return Err(Failure::error(format!("the loss became {value}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_texts_is_spread_evenly() {
        assert_eq!(share(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(share(3, usize::MAX).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(share(0, 5).count(), 0);
    }

    #[test]
    fn slow_runs_end_early_and_quick_ones_repeat() {
        assert!(again(0, 100.0, 2.0), "one run at least");
        assert!(again(2, 7.9, 2.0) && !again(2, 8.0, 2.0));
        assert!(again(3, 1.9, 2.0) && !again(3, 2.0, 2.0));
    }
}
