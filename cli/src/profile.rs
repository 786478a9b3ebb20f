//! `--profile FILE`: a table for people on standard error, and a trace for `chrome://tracing` or
//! <https://ui.perfetto.dev>.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gradus_tensor::Device;
use gradus_tensor::profile::{self, Profile};
use serde_json::json;

use crate::failure::{Failure, Outcome};

/// The file and the device of the profile that is being recorded.
static FILE: Mutex<Option<(PathBuf, Device)>> = Mutex::new(None);

fn file() -> std::sync::MutexGuard<'static, Option<(PathBuf, Device)>> {
    FILE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Begins to record. The file is created at once, so that a path that cannot be written fails
/// before the work.
pub(crate) fn begin(path: &Path, device: Device) -> Outcome {
    File::create(path).map_err(|error| cannot_write(path, error))?;
    *file() = Some((path.to_path_buf(), device));
    profile::start();
    Ok(())
}

fn cannot_write(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::error(format!("the profile {} cannot be written: {error}", path.display()))
}

/// Ends the record that [`begin`] began, if it did: writes the file, prints the table.
pub(crate) fn end() -> Outcome {
    let Some((path, device)) = file().take() else { return Ok(()) };
    // The program has told an error of the device already; the profile is still worth seeing.
    let _ = device.synchronize();
    let Some(profile) = profile::stop() else { return Ok(()) };
    write(&profile, &path).map_err(|error| cannot_write(&path, error))?;
    eprint!("{}", table(&profile));
    eprintln!("{}: open it at https://ui.perfetto.dev or chrome://tracing", path.display());
    Ok(())
}

/// The trace-event format:
/// <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.
fn write(profile: &Profile, path: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let us = |ns: u64| ns as f64 / 1e3;
    write!(out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    let name = |pid: u32, name: &str| json!({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}});
    write!(out, "{}", name(1, "operations (host)"))?;
    if !profile.kernels.is_empty() {
        write!(out, ",\n{}", name(2, "kernels (GPU)"))?;
    }
    for call in &profile.calls {
        let event = json!({
            "ph": "X", "pid": 1, "tid": call.thread, "name": call.op, "cat": call.device.to_string(),
            "ts": us(call.begin_ns), "dur": us(call.wall_ns),
            "args": {"shapes": call.shapes, "flops": call.flops, "bytes": call.bytes},
        });
        write!(out, ",\n{event}")?;
    }
    for kernel in &profile.kernels {
        let op = kernel.call.and_then(|index| profile.calls.get(index));
        let event = json!({
            "ph": "X", "pid": 2, "tid": 0, "name": kernel.kernel, "cat": "gpu",
            "ts": us(kernel.begin_ns), "dur": us(kernel.wall_ns),
            "args": {"operation": op.map(|call| call.op), "shapes": op.map(|call| &call.shapes)},
        });
        write!(out, ",\n{event}")?;
    }
    writeln!(out, "]}}")?;
    out.flush()
}

/// One line for each operation, the longest first: calls, time, share of the operations' time,
/// rates.
fn table(profile: &Profile) -> String {
    #[derive(Default)]
    struct Line {
        calls: u64,
        ns: u64,
        flops: u64,
        bytes: u64,
    }
    let mut lines: HashMap<&str, Line> = HashMap::new();
    for call in &profile.calls {
        let line = lines.entry(call.op).or_default();
        line.calls += 1;
        line.ns += call.own_ns;
        line.flops += call.flops;
        line.bytes += call.bytes;
    }
    let all: u64 = lines.values().map(|line| line.ns).sum();
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(op, line)| (std::cmp::Reverse(line.ns), *op));
    let mut text = format!(
        "{:<24}{:>9}{:>12}{:>9}{:>11}{:>9}\n",
        "operation", "calls", "ms", "share", "GFLOP/s", "GB/s"
    );
    // One in a nanosecond is 10⁹ in a second.
    let rate = |count: u64, ns: u64| match (count, ns) {
        (0, _) | (_, 0) => "-".to_string(),
        _ => format!("{:.1}", count as f64 / ns as f64),
    };
    for (op, line) in lines {
        text += &format!(
            "{op:<24}{:>9}{:>12.2}{:>8.1}%{:>11}{:>9}\n",
            line.calls,
            line.ns as f64 / 1e6,
            100.0 * line.ns as f64 / all.max(1) as f64,
            rate(line.flops, line.ns),
            rate(line.bytes, line.ns),
        );
    }
    text += &format!(
        "operations {:.2} ms of {:.2} ms\n",
        all as f64 / 1e6,
        profile.wall_ns as f64 / 1e6
    );
    if profile.calls.iter().any(|call| call.device != Device::Cpu) && profile.kernels.is_empty() {
        text += "this GPU has no timestamps: its kernels' times are unknown\n";
    }
    if profile.dropped > 0 {
        text += &format!("the record was full: {} later entries are missing\n", profile.dropped);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus_tensor::{DType, Tensor};

    #[test]
    fn a_profile_has_every_call_with_its_work() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.json");
        begin(&path, Device::Cpu).unwrap();
        let x = Tensor::full(&[8, 16], 0.5, DType::F32).unwrap();
        let w = Tensor::full(&[4, 16], 0.5, DType::F32).unwrap();
        x.linear(&w, None).unwrap().exp().unwrap();
        let profile = {
            let held = file().take().unwrap();
            let profile = profile::stop().unwrap();
            write(&profile, &held.0).unwrap();
            profile
        };
        // Other tests of this process may compute meanwhile, on threads of their own.
        let of = |op: &str| profile.calls.iter().find(|call| call.op == op).unwrap();
        let linear = of("linear");
        assert_eq!(linear.flops, 2 * 8 * 16 * 4);
        assert_eq!(linear.bytes, 4 * (8 * 16 + 4 * 16 + 8 * 4));
        assert_eq!(linear.shapes, [vec![8, 16], vec![4, 16]]);
        assert!(linear.wall_ns >= linear.own_ns && linear.own_ns > 0);
        assert_eq!(of("exp").bytes, 2 * 4 * 8 * 4);
        let trace: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let names: Vec<&str> = trace["traceEvents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["name"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"linear") && names.contains(&"exp"), "{names:?}");
        let text = table(&profile);
        assert!(text.contains("linear") && text.contains("GFLOP/s"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_told_before_the_work() {
        let failure = begin(Path::new("/no/such/folder/trace.json"), Device::Cpu).unwrap_err();
        assert!(failure.to_string().contains("/no/such/folder/trace.json"), "{failure}");
    }
}
