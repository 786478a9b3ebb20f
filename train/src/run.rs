//! A training run, from flags to a model folder.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gradus_cli::{Failure, Outcome, SharedArgs, layered, note, peak_rss_mib};
use gradus_models::training::{
    Classification, Evaluation, Step, Trainer, encode_split, latest_checkpoint,
    remove_old_checkpoints,
};
use gradus_models::{
    BertConfig, Checkpoint, Dataset, Encoding, Labels, Pooling, Pretrained, SequenceClassifier,
    Split, Tokenizer, files, save_folder,
};
use gradus_nn::{Parameter, Store};
use gradus_tensor::{Device, Tensor};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::args::{Command, Flags, Program};
use crate::metrics::{Metrics, Scaling};
use crate::scratch;

/// The flags of a run, kept beside its checkpoints so that `--resume` needs no others.
const RUN: &str = "train.json";

/// The program.
pub fn program(program: Program) -> Outcome {
    let (shared, flags) = match &program.command {
        None => {
            let (shared, flags) = layered(&program.shared, &program.flags)?;
            let flags = if flags.resume.is_some() { flags } else { scratch::flags(&flags)? };
            (shared, flags)
        }
        Some(Command::Classify(classify)) => layered(&classify.shared, &classify.flags)?,
    };
    let device = shared.start()?;
    let (shared, flags) = match flags.resume.clone() {
        Some(dir) => resumed(&shared, &flags, &dir)?,
        None => (shared, flags),
    };
    shared.check_precision(device)?;
    let precision = shared.precision();
    precision
        .check_training()
        .map_err(|error| Failure::usage(format!("--precision {precision}: {error}")))?;
    Run::prepare(shared, flags, device)?.train()
}

/// The flags of the run in `dir`, under those given now.
fn resumed(shared: &SharedArgs, flags: &Flags, dir: &Path) -> Outcome<(SharedArgs, Flags)> {
    let base = if dir.join(RUN).is_file() { dir } else { dir.parent().unwrap_or(dir) };
    let path = base.join(RUN);
    if !path.is_file() {
        return Err(Failure::error(format!(
            "--resume {}: no run was stopped there ({RUN} is missing)",
            dir.display()
        )));
    }
    let saved: serde_json::Value = serde_json::from_slice(&files::read(&path)?)
        .map_err(|e| Failure::error(format!("{}: is no record of a run: {e}", path.display())))?;
    let below: Flags = serde_json::from_value(saved["flags"].clone())?;
    let mut merged = flags.over(&below)?;
    merged.out.get_or_insert_with(|| base.to_path_buf());
    let mut shared = shared.clone();
    shared.seed = shared.seed.or(saved["seed"].as_u64());
    if shared.precision.is_none() {
        shared.precision = serde_json::from_value(saved["precision"].clone())?;
    }
    Ok((shared, merged))
}

/// A split, encoded.
type Encoded = (Vec<Encoding>, Vec<u32>);

struct Run {
    shared: SharedArgs,
    flags: Flags,
    out: PathBuf,
    config: BertConfig,
    tokenizer: Tokenizer,
    trainer: Trainer<Classification>,
    dev: Option<Encoded>,
    test: Option<Encoded>,
    weights: Option<Checkpoint>,
}

impl Run {
    /// Reads everything, checks everything: what can fail fails here, before the first step.
    fn prepare(shared: SharedArgs, flags: Flags, device: Device) -> Outcome<Run> {
        let seed = shared.seed.unwrap_or(0);
        let recipe = flags.recipe(seed, shared.precision())?;
        let needed = |name: &str| {
            Failure::usage(format!("train classify needs --{name} (see train classify --help)"))
        };
        let data = flags.data.clone().ok_or_else(|| needed("data"))?;
        let model = flags.model.clone().ok_or_else(|| needed("model"))?;
        let out = out_folder(&flags, &data)?;

        let dataset = Dataset::open(&data, &flags.columns())?;
        let labels = dataset.labels()?;
        let pooling = flags.pooling.unwrap_or(Pooling::Cls);
        let resume = flags.resume.as_deref().map(latest_checkpoint).transpose()?;

        let (mut config, tokenizer, store, weights);
        let source = resume.as_ref().map(|p| p.display().to_string()).unwrap_or(model.clone());
        if source == "scratch" {
            let texts: Vec<&str> = dataset
                .train
                .examples
                .iter()
                .flat_map(|e| [Some(e.text.as_str()), e.pair.as_deref()])
                .flatten()
                .collect();
            tokenizer = Tokenizer::train_wordpiece(&texts, flags.vocab_size.unwrap_or(6000))?;
            let size = flags.config_size.map_or("tiny", |s| s.name());
            config = BertConfig::preset(size, tokenizer.vocab_size())?;
            store = Store::new(seed);
            weights = None;
        } else {
            let pretrained = Pretrained::open(&source)?;
            store = pretrained.store(seed);
            weights = Some(pretrained.checkpoint.clone());
            (config, tokenizer) = (pretrained.config, pretrained.tokenizer);
        }
        store.to_device(device)?;
        configure(&mut config, &flags, &labels, pooling);
        let max_length = flags.max_length.unwrap_or(128).min(config.max_position_embeddings);

        let encode = |split: &Split| encode_split(split, &labels, &tokenizer, max_length);
        let train = encode(&dataset.train)?;
        let dev = dataset.dev.as_ref().map(encode).transpose()?;
        let test = dataset.test.as_ref().map(encode).transpose()?;
        let cut = train.0.iter().filter(|e| e.truncated).count();
        if cut > 0 {
            let all = train.0.len();
            note(&shared, format!("{cut} of {all} training texts are cut to {max_length} tokens"));
        }

        let classifier = SequenceClassifier::new(&store.root(), &config, pooling, labels.len())?;
        let count: usize = store.parameters().iter().map(|p| p.tensor().numel()).sum();
        note(
            &shared,
            format!(
                "{}: {:.1} M parameters, {} layers, hidden {}; {} training texts, {} labels",
                if source == "scratch" { "from scratch" } else { &source },
                count as f64 / 1e6,
                config.num_hidden_layers,
                config.hidden_size,
                train.0.len(),
                labels.len()
            ),
        );
        if let Some(checkpoint) = &weights {
            report_names(&shared, "not in the checkpoint, begun at random", &store.missing());
            report_names(&shared, "in the checkpoint, but not used", &checkpoint.unexpected());
        }
        let task = Classification::new(classifier, train, flags.label_smoothing.unwrap_or(0.0));
        let mut trainer = Trainer::new(task, store, recipe)?;
        if let Some(checkpoint) = &resume {
            trainer.resume(checkpoint)?;
            let step = trainer.steps_done();
            note(&shared, format!("resumed from {} at step {step}", checkpoint.display()));
        }
        Ok(Run { shared, flags, out, config, tokenizer, trainer, dev, test, weights })
    }

    fn train(mut self) -> Outcome {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        // A second Ctrl-C ends the program at once.
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        })?;
        std::fs::create_dir_all(&self.out)
            .map_err(|source| gradus_models::Error::Io { path: self.out.clone(), source })?;
        let record = json!({
            "flags": self.flags,
            "seed": self.shared.seed.unwrap_or(0),
            "precision": self.shared.precision(),
        });
        files::write_atomic(&self.out.join(RUN), &serde_json::to_vec_pretty(&record)?)?;
        let mut metrics = Metrics::open(&self.out, self.trainer.steps_done())?;
        let bar = self.bar();

        let start = Instant::now();
        let (mut tokens, mut texts, mut last) = (0usize, 0usize, Instant::now());
        let eval_every = self.flags.eval_every.unwrap_or(self.trainer.steps_per_epoch());
        let mut best: Option<Best> = None;
        let mut dev = None;
        let mut waiting = VecDeque::new();
        while let Some(step) = self.trainer.step()? {
            tokens += step.tokens;
            texts += step.examples;
            if step.step == 1 {
                let without = self.trainer.without_gradient().unwrap_or_default();
                report_names(&self.shared, "get no gradient", without);
            }
            let over = step.step == self.trainer.total_steps();
            let evaluates = self.dev.is_some() && (step.step.is_multiple_of(eval_every) || over);
            let saves = !over && self.flags.save_every.is_some_and(|n| step.step.is_multiple_of(n));
            let stops = stop.load(Ordering::SeqCst);
            let mut numbers = Tensor::stack(&[&step.loss, &step.grad_norm], 0)?;
            if let Some(verdict) = &step.verdict {
                numbers = Tensor::cat(&[&numbers, verdict], 0)?;
            }
            waiting.push_back((step.clone(), numbers.read_later()?));
            // A GPU computes a step while the numbers of the one before are read, unless the model is
            // about to be used.
            let waits = numbers.device() != Device::Cpu && !(over || evaluates || saves || stops);
            while waiting.len() > waits as usize
                && let Some((step, reading)) = waiting.pop_front()
            {
                let numbers = reading.wait()?.to_f64_vec();
                let (loss, norm) = (numbers[0], numbers[1]);
                let scaling = numbers.get(2..).and_then(Scaling::of);
                self.check_finite(loss, norm, scaling.as_ref(), &step)?;
                let rate = step.tokens as f64 / last.elapsed().as_secs_f64();
                last = Instant::now();
                let mut line = json!({
                    "step": step.step, "epoch": step.epoch, "loss": loss, "lr": step.lr,
                    "grad_norm": norm, "tokens_per_second": rate,
                });
                if let Some(scaling) = &scaling {
                    line["loss_scale"] = json!(scaling.scale);
                    line["skipped_steps"] = json!(scaling.skipped_steps);
                }
                metrics.write(&line)?;
                bar.set_position(step.step);
                bar.set_message(format!(
                    "loss {loss:.3}  {:.0} texts/s{}{}",
                    texts as f64 / start.elapsed().as_secs_f64(),
                    scaling.map(|s| s.to_string()).unwrap_or_default(),
                    dev.map(|d: Evaluation| format!("  dev {:.1}%", d.accuracy * 100.0))
                        .unwrap_or_default()
                ));
            }
            if let Some(set) = self.dev.as_ref().filter(|_| evaluates) {
                let result = self.trainer.task().evaluate(&set.0, &set.1)?;
                self.evaluated(&mut metrics, &bar, &step, "dev", &result)?;
                dev = Some(result);
                if self.improved(&mut best, result, step.step) {
                    note(&self.shared, "stopped early: the dev accuracy no longer improves");
                    break;
                }
                last = Instant::now();
            }
            if stops {
                return self.interrupted(&bar);
            }
            if saves {
                self.checkpoint()?;
            }
        }
        bar.finish_and_clear();
        let seconds = start.elapsed().as_secs_f64();
        if let Some(best) = best.filter(|_| self.flags.early_stop.is_some()) {
            dev = Some(best.restore(&self.shared)?);
        }
        self.finish(&mut metrics, dev, seconds, texts, tokens)
    }

    fn bar(&self) -> ProgressBar {
        let total = self.trainer.total_steps();
        let bar = gradus_cli::progress_bar(&self.shared, total, "steps");
        if let Ok(style) = ProgressStyle::with_template(
            "{bar:28} step {pos}/{len}  {msg}  {elapsed} gone, {eta} left",
        ) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar
    }

    /// A loss that is no number ends the run; what is to blame is named.
    ///
    /// In f16 gradients may overflow: the step was skipped, and the scale is lower in the next. Only if they do so
    /// at a scale below 1 it is not the scale that is to blame.
    fn check_finite(
        &self,
        loss: f64,
        norm: f64,
        scaling: Option<&Scaling>,
        step: &Step,
    ) -> Outcome {
        if loss.is_finite() && (norm.is_finite() || scaling.is_some_and(|s| s.scale >= 1.0)) {
            return Ok(());
        }
        let cause = self
            .weights
            .as_ref()
            .and_then(|w| Some((w.first_not_finite()?, w.path().display().to_string())));
        Err(Failure::error(match cause {
            Some((name, path)) => {
                format!(
                    "{path}: the tensor {name} holds NaN or infinite values; the checkpoint is damaged"
                )
            }
            None => format!(
                "the loss became {loss} (gradient norm {norm}) at step {}; try a lower --lr, a \
                 longer --warmup or --clip-norm 1",
                step.step
            ),
        }))
    }

    fn evaluated(
        &self,
        metrics: &mut Metrics,
        bar: &ProgressBar,
        step: &Step,
        split: &str,
        result: &Evaluation,
    ) -> Outcome {
        let line = json!({
            "step": step.step, "epoch": step.epoch, "split": split, "accuracy": result.accuracy,
            "loss": result.loss, "macro_f1": result.macro_f1,
        });
        metrics.write(&line)?;
        if self.shared.json {
            println!("{line}");
        }
        bar.suspend(|| {
            note(
                &self.shared,
                format!(
                    "epoch {:.1}  step {}: {split} accuracy {:.2}%, loss {:.4}",
                    step.epoch,
                    step.step,
                    result.accuracy * 100.0,
                    result.loss
                ),
            );
        });
        Ok(())
    }

    /// Keeps the best model; whether it is time to stop.
    fn improved(&self, best: &mut Option<Best>, result: Evaluation, step: u64) -> bool {
        let Some(patience) = self.flags.early_stop else { return false };
        match best {
            Some(best) if result.accuracy <= best.result.accuracy => {
                best.stale += 1;
                best.stale >= patience
            }
            _ => {
                let parameters = self.trainer.store().parameters();
                let values = parameters.into_iter().map(|p| (p.tensor(), p)).collect();
                *best = Some(Best { result, step, stale: 0, values });
                false
            }
        }
    }

    fn checkpoint(&self) -> Outcome<PathBuf> {
        let path = self.trainer.save_checkpoint(&self.out, &self.config, &self.tokenizer)?;
        remove_old_checkpoints(&self.out, self.flags.keep.unwrap_or(2))?;
        Ok(path)
    }

    fn interrupted(&self, bar: &ProgressBar) -> Outcome {
        bar.finish_and_clear();
        let path = self.checkpoint()?;
        note(
            &self.shared,
            format!("stopped at step {}: {}", self.trainer.steps_done(), path.display()),
        );
        note(&self.shared, format!("go on with: train classify --resume {}", self.out.display()));
        std::process::exit(130);
    }

    /// Tests, saves, and says what to do next.
    fn finish(
        mut self,
        metrics: &mut Metrics,
        dev: Option<Evaluation>,
        seconds: f64,
        texts: usize,
        tokens: usize,
    ) -> Outcome {
        let steps = self.trainer.steps_done();
        self.config.extra.remove("_name_or_path");
        save_folder(&self.out, &self.config, &self.tokenizer, self.trainer.store())?;
        if self.flags.save_every.is_some() {
            self.checkpoint()?;
        }
        let test = match &self.test {
            Some((encodings, labels)) => Some(self.trainer.task().evaluate(encodings, labels)?),
            None => None,
        };
        if let Some(test) = &test {
            metrics.write(&json!({
                "step": steps, "split": "test", "accuracy": test.accuracy, "loss": test.loss,
                "macro_f1": test.macro_f1,
            }))?;
        }
        let per_second = |n: usize| n as f64 / seconds.max(1e-9);
        if self.shared.json {
            println!(
                "{}",
                json!({
                    "test_accuracy": test.map(|t| t.accuracy),
                    "dev_accuracy": dev.map(|d| d.accuracy),
                    "steps": steps,
                    "seconds": seconds,
                    "texts_per_second": per_second(texts),
                    "tokens_per_second": per_second(tokens),
                    "peak_rss_mib": peak_rss_mib(),
                    "out": self.out,
                })
            );
            return Ok(());
        }
        note(
            &self.shared,
            format!(
                "{steps} steps in {seconds:.0} s, {:.0} texts/s, {:.0} tokens/s",
                per_second(texts),
                per_second(tokens)
            ),
        );
        if let Some(test) = test {
            println!(
                "test accuracy {:.2}%  (macro F1 {:.2}%, {} texts)",
                test.accuracy * 100.0,
                test.macro_f1 * 100.0,
                test.examples
            );
        } else if let Some(dev) = dev {
            println!("dev accuracy {:.2}%  ({} texts)", dev.accuracy * 100.0, dev.examples);
        }
        println!("model: {}", self.out.display());
        println!("try it:");
        println!(
            "  cargo run --release --bin infer -- classify --model {} \"I lost my card, what now?\"",
            self.out.display()
        );
        Ok(())
    }
}

/// The best model so far, by dev accuracy.
struct Best {
    result: Evaluation,
    step: u64,
    stale: usize,
    values: Vec<(Tensor, Parameter)>,
}

impl Best {
    fn restore(self, shared: &SharedArgs) -> Outcome<Evaluation> {
        for (value, parameter) in self.values {
            parameter.set(value)?;
        }
        note(shared, format!("the model of step {} is kept, the best on the dev set", self.step));
        Ok(self.result)
    }
}

/// Adapts a model's configuration to the task.
fn configure(config: &mut BertConfig, flags: &Flags, labels: &Labels, pooling: Pooling) {
    config.set_labels(labels);
    config.pooling = Some(pooling);
    config.problem_type = Some("single_label_classification".into());
    // transformers has no class for a classifier on the mean of the tokens; its BertModel loads the
    // encoder, and ours the whole.
    let class = if pooling == Pooling::Cls { "BertForSequenceClassification" } else { "BertModel" };
    config.architectures = vec![class.into()];
    if let Some(p) = flags.dropout {
        config.hidden_dropout_prob = p;
        config.attention_probs_dropout_prob = p;
        config.classifier_dropout = Some(p);
    }
}

/// The folder to write: the one named, which must not hold another run; or a fresh one.
fn out_folder(flags: &Flags, data: &Path) -> Outcome<PathBuf> {
    let holds_model =
        |path: &Path| path.join("model.safetensors").exists() || path.join(RUN).exists();
    if let Some(out) = &flags.out {
        if flags.resume.is_none() && !flags.overwrite && holds_model(out) {
            return Err(Failure::error(format!(
                "--out {} already holds a run; name another folder, go on with it (--resume {}), \
                 or give --overwrite",
                out.display(),
                out.display()
            )));
        }
        return Ok(out.clone());
    }
    let name = data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = if name.is_empty() { "model".to_string() } else { name };
    let fresh = |n: u32| match n {
        1 => Path::new("runs").join(&name),
        n => Path::new("runs").join(format!("{name}-{n}")),
    };
    let number = (1..).find(|&n| !holds_model(&fresh(n))).unwrap_or(1);
    Ok(fresh(number))
}

/// Tells of parameter names, by their first few.
fn report_names(shared: &SharedArgs, what: &str, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let shown: Vec<&str> = names.iter().take(6).map(String::as_str).collect();
    let more = if names.len() > 6 { ", …" } else { "" };
    note(shared, format!("{} parameters {what}: {}{more}", names.len(), shown.join(", ")));
}
