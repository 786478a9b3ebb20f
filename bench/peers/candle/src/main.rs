//! Times candle on the encode workloads of `bench`; prints one JSON object a line. The flags are those of the
//! other peers (`bench/peers/common.py`): see `--help`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use candle_transformers::models::bert::{BertModel, Config};
use clap::Parser;
use serde_json::{Value, json};
use tokenizers::{Tokenizer, TruncationParams};

const MAX_LENGTH: usize = 128;
const BATCH: usize = 32;
const ENGINE: &str = "candle-0.11";

/// Times candle on the encode workloads of `bench`; prints one JSON object a line.
#[derive(Parser)]
struct Flags {
    /// A folder in the Hugging Face layout, or `base`: BERT-base with random weights
    #[arg(long)]
    model: PathBuf,
    /// Texts with labels (.csv), for encode-real
    #[arg(long)]
    data: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Texts of a run on real texts, spread evenly over the file
    #[arg(long)]
    texts: Option<usize>,
    #[arg(long, default_value_t = 32)]
    batch: usize,
    #[arg(long, default_value = "f32", value_parser = ["f32"])]
    precision: String,
    /// Write the embeddings of the first 64 texts there instead (.npy)
    #[arg(long)]
    embeddings: Option<PathBuf>,
    workload: Vec<String>,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    // candle computes on rayon's threads, and its products on as many of their own.
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", flags.threads.to_string()) };
    let model = load(&flags.model)?;
    if let Some(out) = &flags.embeddings {
        let texts = texts(&flags)?;
        let embeddings = embed(&model, &tokenizer(&flags)?, &texts[..texts.len().min(64)])?;
        return Ok(embeddings.write_npy(out)?);
    }
    flags.workload.iter().try_for_each(|workload| measure(&flags, &model, workload))
}

fn measure(flags: &Flags, model: &BertModel, workload: &str) -> Result<()> {
    if workload == "encode-real" {
        let (texts, tokenizer) = (share(texts(flags)?, flags.texts), tokenizer(flags)?);
        let times = repeat(flags.seconds, || embed(model, &tokenizer, &texts).map(drop))?;
        return report(flags, workload, texts.len(), times);
    }
    let (batch, length) =
        if workload == "encode-b1-s16" { (1, 16) } else { (flags.batch, MAX_LENGTH) };
    let ids: Vec<u32> = (0..batch * length).map(|_| rand::random_range(1000..30000)).collect();
    let ids = Tensor::from_vec(ids, (batch, length), &Device::Cpu)?;
    let (types, mask) = (ids.zeros_like()?, ids.ones_like()?);
    let times = repeat(flags.seconds, || Ok(drop(model.forward(&ids, &types, Some(&mask))?)))?;
    report(flags, workload, batch, times)
}

fn load(model: &Path) -> Result<BertModel> {
    if model == "base" {
        let map = VarMap::new();
        let weights = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
        return Ok(BertModel::load(weights, &Config::default())?);
    }
    let config = std::fs::read_to_string(model.join("config.json")).context("config.json")?;
    let files = [model.join("model.safetensors")];
    // SAFETY: nobody changes the file while it is mapped.
    let weights = unsafe { VarBuilder::from_mmaped_safetensors(&files, DType::F32, &Device::Cpu)? };
    Ok(BertModel::load(weights, &serde_json::from_str(&config)?)?)
}

fn tokenizer(flags: &Flags) -> Result<Tokenizer> {
    let path = flags.model.join("tokenizer.json");
    let mut tokenizer = Tokenizer::from_file(path).map_err(anyhow::Error::msg)?;
    let truncation = TruncationParams { max_length: MAX_LENGTH, ..TruncationParams::default() };
    tokenizer.with_padding(None).with_truncation(Some(truncation)).map_err(anyhow::Error::msg)?;
    Ok(tokenizer)
}

fn texts(flags: &Flags) -> Result<Vec<String>> {
    let mut rows = csv::Reader::from_path(flags.data.as_ref().context("--data is missing")?)?;
    let column =
        rows.headers()?.iter().position(|name| name == "text").context("no column `text`")?;
    rows.records().map(|row| Ok(row?[column].to_string())).collect()
}

/// `count` of them at even distances: those that `bench` takes too.
fn share(all: Vec<String>, count: Option<usize>) -> Vec<String> {
    let count = count.unwrap_or(all.len()).min(all.len());
    (0..count).map(|i| all[i * all.len() / count].clone()).collect()
}

/// Mean-pooled, normalised embeddings, by batches of texts of similar length, padded.
fn embed(model: &BertModel, tokenizer: &Tokenizer, texts: &[String]) -> Result<Tensor> {
    let encodings = tokenizer.encode_batch(texts.to_vec(), true).map_err(anyhow::Error::msg)?;
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&i| encodings[i].len());
    let mut rows = Vec::new();
    for batch in order.chunks(BATCH) {
        let longest = encodings[batch[batch.len() - 1]].len();
        let padded = |values: fn(&tokenizers::Encoding) -> &[u32]| {
            let pad = |&i: &usize| {
                let values = values(&encodings[i]);
                values
                    .iter()
                    .copied()
                    .chain(std::iter::repeat(0))
                    .take(longest)
                    .collect::<Vec<u32>>()
            };
            Tensor::new(batch.iter().map(pad).collect::<Vec<_>>(), &Device::Cpu)
        };
        let (ids, mask) = (padded(|e| e.get_ids())?, padded(|e| e.get_attention_mask())?);
        let hidden = model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let sum = hidden.broadcast_mul(&mask)?.sum(1)?;
        let norm = sum.sqr()?.sum_keepdim(1)?.sqrt()?;
        rows.push(sum.broadcast_div(&norm)?);
    }
    let mut place = vec![0u32; order.len()];
    order.iter().enumerate().for_each(|(row, &text)| place[text] = row as u32);
    Ok(Tensor::cat(&rows, 0)?.index_select(&Tensor::new(place, &Device::Cpu)?, 0)?)
}

/// Runs `f` once to warm up, then until the seconds pass: three times at least, unless that takes four times as
/// long. The seconds of each run.
fn repeat(seconds: f64, mut f: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    f()?;
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.is_empty()
        || start.elapsed().as_secs_f64() < if times.len() >= 3 { seconds } else { 4.0 * seconds }
    {
        let start = Instant::now();
        f()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

fn report(flags: &Flags, workload: &str, amount: usize, mut times: Vec<f64>) -> Result<()> {
    ensure!(!times.is_empty(), "nothing was measured");
    times.sort_by(f64::total_cmp);
    let unit = match workload {
        "encode-b1-s16" => "ms",
        "encode-real" => "texts/s",
        _ => "sequences/s",
    };
    let value = |time: f64| if unit == "ms" { time * 1e3 } else { amount as f64 / time };
    let middle = times.len() / 2;
    let median = (times[middle] + times[times.len() - 1 - middle]) / 2.0;
    let line = json!({
        "engine": ENGINE,
        "workload": workload,
        "model": flags.model.file_name().map(|name| name.to_string_lossy()),
        "precision": flags.precision,
        "value": value(median),
        "unit": unit,
        "best": value(times[0]),
        "runs": times.len(),
        "threads": flags.threads,
        "device": "cpu",
        "texts": if workload == "encode-real" { json!(amount) } else { Value::Null },
        "peak_rss_mib": peak_mib(),
    });
    println!("{line}");
    Ok(())
}

/// The most memory that the process has held; `None` where the system does not say.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}
