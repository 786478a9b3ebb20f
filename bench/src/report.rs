//! Results as JSON lines, and a table that compares them with a peer's.

use std::path::Path;

use gradus_cli::Outcome;
use serde::{Deserialize, Serialize};

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// Name and version of the engine.
    pub engine: String,
    /// What was measured.
    pub workload: String,
    /// Name of the model.
    pub model: String,
    /// The median.
    pub value: f64,
    /// Unit of `value`.
    pub unit: String,
    /// The best run.
    pub best: f64,
    /// Number of runs.
    pub runs: usize,
    /// Threads used.
    pub threads: usize,
    /// Device used.
    #[serde(default)]
    pub device: String,
    /// What it computes with: the CPU's instructions for products of f32, or the GPU and its driver.
    #[serde(default)]
    pub hardware: String,
    /// The GPU's kernel of the workload `gemm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Texts of a run, in the workloads on real texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<usize>,
    /// Number format of products and activations.
    #[serde(default)]
    pub precision: String,
    /// On a GPU: the work that the last run gave it, and its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuUse>,
    /// Peak memory of the process, MiB, over all its workloads so far.
    pub peak_rss_mib: Option<u64>,
}

/// A run's use of a GPU, besides the kernels' time. Counts are those of the last run, times are
/// medians.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct GpuUse {
    /// Kernels launched.
    pub dispatches: u64,
    /// Command buffers submitted.
    pub submits: u64,
    /// Buffers and bind groups made: none in a steady state.
    pub made: u64,
    /// CPU time of recording and submitting the GPU's commands, ms.
    pub encode_ms: f64,
    /// CPU time from the start of the run until everything was recorded, ms.
    pub host_ms: f64,
    /// Memory in use or waiting in the pool now, MiB.
    pub held_mib: u64,
    /// Peaks of the memory that tensors used and of all memory held, MiB.
    pub peak_mib: [u64; 2],
}

/// Reads a peer's measurements from a file of JSON lines.
pub fn read_peers(path: &Path) -> Outcome<Vec<Measurement>> {
    let bytes = gradus_models::files::read(path)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut found = Vec::new();
    for line in text.lines().filter(|l| l.trim_start().starts_with('{')) {
        found.push(serde_json::from_str(line)?);
    }
    Ok(found)
}

/// Prints our values, the peers', and how many times faster ours are.
pub fn print_ratios(ours: &[Measurement], peers: &[Measurement]) {
    eprintln!(
        "{:<18} {:<12} {:>10} {:>12} {:>24} {:>8}",
        "workload", "unit", "gradus", "peer", "", "ratio"
    );
    for mine in ours {
        for peer in peers.iter().filter(|p| p.workload == mine.workload && p.model == mine.model) {
            let time = mine.unit == "ms";
            let ratio = if time { peer.value / mine.value } else { mine.value / peer.value };
            eprintln!(
                "{:<18} {:<12} {:>10.2} {:>12.2} {:>24} {:>7.2}x",
                mine.workload, mine.unit, mine.value, peer.value, peer.engine, ratio
            );
        }
    }
}
