//! `bench --quick`: a slower kernel shows as more instructions, which are nearly the same in every run.
//!
//! callgrind counts the instructions of one run of a workload, after a first one that warms up: one
//! thread, weights from a seed. bench/instructions.toml has the count for each compiler. Valgrind shows
//! every processor as one with AVX2, so this guards the kernels of AVX2 alone.

use std::path::Path;
use std::process::Command;

use gradus_cli::{Failure, Outcome};
use toml::{Table, Value};

/// What is counted.
const WORKLOADS: [&str; 2] = ["encode-b1-s16", "step-b32-s128"];
/// The largest difference that passes. Runs of one program differ by 0.04 %: hash maps have random keys.
const TOLERANCE: f64 = 0.01;
const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");
const COMPILER: &str = env!("GRADUS_RUSTC");
const RENEW: &str = "GRADUS_BLESS=1 bench --quick";
const HEADER: &str = "\
# Instructions of one run of a workload on one thread (AVX2), by compiler: see `bench --quick`.
# After an intended change: GRADUS_BLESS=1 cargo run --release --bin bench -- --quick
";

/// The function whose instructions callgrind counts: from its call to its return.
#[inline(never)]
pub fn counted_run(run: &mut dyn FnMut() -> Outcome) -> Outcome {
    // Not a jump to `run`, after which callgrind would not see the return.
    std::hint::black_box(run())
}

/// Counts, prints and compares.
pub fn run() -> Outcome {
    if cfg!(debug_assertions) {
        return Err(Failure::usage(
            "--quick counts what a release build does: cargo run --release --bin bench -- --quick",
        ));
    }
    let counts =
        WORKLOADS.into_iter().map(|name| Ok((name, count(name)?))).collect::<Outcome<Vec<_>>>()?;
    if std::env::var_os("GRADUS_BLESS").is_some() {
        return renew(&counts);
    }
    let figures = read()?;
    let known = figures.get(COMPILER).and_then(Value::as_table);
    let mut faults = Vec::new();
    for (name, count) in counts {
        let expected = known.and_then(|table| table.get(name)).and_then(Value::as_integer);
        println!(
            "{}",
            serde_json::json!({"workload": name, "instructions": count, "expected": expected})
        );
        faults.extend(fault(name, count, expected));
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::error(faults.join("\n"))) }
}

/// What is wrong with a count.
fn fault(name: &str, count: i64, expected: Option<i64>) -> Option<String> {
    let Some(expected) = expected else {
        return Some(format!(
            "{name}: bench/instructions.toml has no figure for `{COMPILER}`; make one on an unchanged \
             engine with `{RENEW}`, and commit it"
        ));
    };
    let change = count as f64 / expected as f64 - 1.0;
    (change.abs() > TOLERANCE).then(|| {
        let (more, advice) = match change > 0.0 {
            true => ("more", "find what became slower (callgrind_annotate shows it); if it must be so,"),
            false => ("fewer", "if the result is still right,"),
        };
        format!(
            "{name}: {count} instructions, {:.2} % {more} than the {expected} of bench/instructions.toml; \
             {advice} renew the figure with `{RENEW}`, and say why in the commit",
            100.0 * change.abs()
        )
    })
}

fn read() -> Outcome<Table> {
    let unreadable = |error: String| Failure::error(format!("{FIGURES} cannot be read: {error}"));
    let text = std::fs::read_to_string(FIGURES).map_err(|error| unreadable(error.to_string()))?;
    text.parse().map_err(|error: toml::de::Error| unreadable(error.to_string()))
}

fn renew(counts: &[(&str, i64)]) -> Outcome {
    let mut figures = if Path::new(FIGURES).exists() { read()? } else { Table::new() };
    let table =
        counts.iter().map(|&(name, count)| (name.to_string(), Value::Integer(count))).collect();
    figures.insert(COMPILER.into(), Value::Table(table));
    std::fs::write(FIGURES, format!("{HEADER}\n{figures}"))?;
    println!("{FIGURES} has new figures for {COMPILER}: {counts:?}");
    Ok(())
}

/// The instructions of one run of a workload.
fn count(workload: &str) -> Outcome<i64> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*counted_run*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["--device", "cpu", "--threads", "1", "--model", "tiny", "--batch", "1"])
        .args(["--seconds", "0", "--counted", workload])
        .output()
        .map_err(|error| {
            Failure::error(format!(
                "valgrind cannot be started: {error}; install it (Debian: apt-get install valgrind)"
            ))
        })?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::error(format!(
            "{workload} under valgrind ended with {}:\n{errors}",
            output.status
        )));
    }
    if !said.contains(r#""hardware":"AVX2"#) {
        return Err(Failure::error(format!(
            "the figures are for AVX2, and this processor has none under valgrind: {}",
            said.trim()
        )));
    }
    let text = std::fs::read_to_string(&file)?;
    total(&text).ok_or_else(|| {
        Failure::error(format!(
            "callgrind counted nothing in {workload}: it did not find the function `counted_run` \
             (is the program stripped?)"
        ))
    })
}

/// The total of a file of callgrind; none if it counted nothing.
fn total(text: &str) -> Option<i64> {
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
    totals.trim().parse().ok().filter(|&count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_above_one_percent_are_told() {
        assert_eq!(fault("step", 1009, Some(1000)), None);
        assert_eq!(fault("step", 991, Some(1000)), None);
        let more = fault("step", 1011, Some(1000)).unwrap();
        assert!(more.contains("1.10 % more") && more.contains(RENEW), "{more}");
        let fewer = fault("step", 989, Some(1000)).unwrap();
        assert!(fewer.contains("1.10 % fewer") && fewer.contains(RENEW), "{fewer}");
        assert!(fault("step", 1000, None).unwrap().contains("no figure for"));
    }

    #[test]
    fn totals_are_read() {
        assert_eq!(total("events: Ir\nsummary: 5\n\ntotals: 1234\n"), Some(1234));
        assert_eq!(total("totals: 0\n"), None);
        assert_eq!(total("events: Ir\n"), None);
    }
}
