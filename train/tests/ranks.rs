//! Several ranks, started by `mpirun`: the weights of one process, and how a run ends when a rank
//! does. A program of its own, because it needs the feature `mpi`.

#[path = "all/common.rs"]
#[allow(dead_code)] // a part is used here
mod common;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{data, metrics, ok, run, scratch, stderr, weights};
use serde_json::Value;

/// `mpirun` with the program on so many ranks of this machine.
fn mpirun(ranks: usize, args: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command
        .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
        .args(["--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()])
        .arg(env!("CARGO_BIN_EXE_train"))
        .args(args)
        .stdin(Stdio::null());
    command
}

fn on_ranks(ranks: usize, args: &[&str]) -> Output {
    mpirun(ranks, args).output().expect("mpirun is installed: see CONTRIBUTING.md")
}

const COURSE: [&str; 8] =
    ["--steps", "12", "--accumulate", "5", "--eval-every", "5", "--dropout", "0.2"];

#[test]
fn any_number_of_ranks_trains_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let (data, alone) = (data(dir.path()), dir.path().join("alone"));
    ok(&run(&scratch(&data, &alone, &COURSE)));
    for ranks in [2, 3, 4] {
        let out = dir.path().join(ranks.to_string());
        let course = [&COURSE[..], &["--rank-timeline", "2"]].concat();
        let output = on_ranks(ranks, &scratch(&data, &out, &course));
        ok(&output);
        assert!(weights(&alone) == weights(&out), "{ranks} ranks have other weights");
        assert_eq!(metrics(&alone), metrics(&out), "{ranks} ranks tell other numbers");
        let told = stderr(&output);
        let line = format!("{ranks} ranks on one host");
        assert_eq!(told.matches(&line).count(), 1, "only rank 0 tells: {told}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(printed.matches("model: ").count(), 1, "only rank 0 prints: {printed}");
        measured(&out, ranks);
    }
}

/// Checks what a run tells of its ranks for scripts.
fn measured(out: &Path, ranks: usize) {
    let lines = |file: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(out.join(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = lines("metrics.jsonl");
    let means: Vec<&Value> = all.iter().filter_map(|line| line.get("ranks")).collect();
    let steps: Vec<u64> = means.iter().filter_map(|line| line["steps"].as_u64()).collect();
    assert_eq!(steps, [5, 5, 2], "the steps between evaluations");
    for line in means {
        let of = |name: &str| -> Vec<f64> {
            line[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let whole = of("step_seconds");
        assert_eq!(whole.len(), ranks);
        for rank in 0..ranks {
            let parts = ["compute_seconds", "exchange_seconds"].map(|name| of(name)[rank]);
            assert!(parts.iter().all(|part| *part > 0.0), "{line}");
            assert!(parts.iter().sum::<f64>() < whole[rank], "{line}");
            assert!(of("sent_bytes")[rank] > 0.0, "{line}");
        }
    }
    let marks = lines("timeline.jsonl");
    for rank in 0..ranks {
        let of = |what: &str| {
            marks.iter().filter(move |mark| mark["rank"] == rank && mark["what"] == what).count()
        };
        // Every bucket is packed by each rank, and its sum comes from the owner or is made here.
        let (packed, added, sums) = (of("pack"), of("add"), of("sum"));
        assert!(packed > 1 && added > 0 && added + sums == packed, "{packed}, {added}, {sums}");
        assert_eq!(of("arrive"), added * (ranks - 1));
        assert!(of("gradient") > 0 && of("update") == 1);
        assert_eq!(of("forward"), of("backward"));
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let (data, whole) = (data(dir.path()), dir.path().join("whole"));
    let out = dir.path().join("out");
    // Without --accumulate a step has a batch a rank, and keeps it.
    let course = |steps| ["--steps", steps, "--schedule", "constant", "--warmup", "0", "-q"];
    let first = on_ranks(3, &scratch(&data, &out, &course("4")));
    ok(&first);
    let resume = ["classify", "--resume", out.to_str().unwrap(), "--steps"];
    ok(&on_ranks(2, &[&resume[..], &["7"]].concat()));
    ok(&run(&[&resume[..], &["10"]].concat()));
    let more = [&course("10")[..], &["--accumulate", "3"]].concat();
    ok(&run(&scratch(&data, &whole, &more)));
    assert!(weights(&whole) == weights(&out), "the resumed run has other weights");
}

#[test]
fn every_rank_tells_its_steps_if_it_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let output = on_ranks(3, &scratch(&data, &out, &["--steps", "2", "--verbose"]));
    ok(&output);
    let told = stderr(&output);
    assert_eq!(told.matches("step 2: loss ").count(), 2, "ranks 1 and 2: {told}");
}

/// The text of a failure that is told once, by rank 0 alone.
#[track_caller]
fn refused(output: &Output) -> String {
    assert!(!output.status.success());
    let told = stderr(output);
    assert_eq!(told.matches("error: ").count(), 1, "{told}");
    told
}

#[test]
fn a_wrong_start_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let told = refused(&on_ranks(3, &scratch(&data, &out, &["--accumulate", "2"])));
    assert!(told.contains("--accumulate is 2; 3 ranks need"), "{told}");
    let told = refused(&on_ranks(2, &scratch(Path::new("/nowhere"), &out, &[])));
    assert!(told.contains("/nowhere"), "{told}");
    let late = ["--steps", "3", "--rank-timeline", "4"];
    let told = refused(&on_ranks(2, &scratch(&data, &out, &late)));
    assert!(told.contains("--rank-timeline is 4; the steps of this run are 1 to 3"), "{told}");
    let told = refused(&on_ranks(2, &["sweep", "plan.toml"]));
    assert!(told.contains("train sweep is for one"), "{told}");
    assert!(!out.exists(), "a refused run wrote");
}

/// Ranks with flags of their own: what differs is named, with the rank.
#[test]
fn ranks_that_differ_refuse_to_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    for file in ["train.csv", "dev.csv", "test.csv"] {
        let text = std::fs::read_to_string(data.join(file)).unwrap();
        std::fs::write(other.join(file), text.replace("red", "green")).unwrap();
    }
    let mixed = |data: &Path, more: &[&str]| {
        let program = env!("CARGO_BIN_EXE_train");
        let second = scratch(data, &out, more);
        let mut command = mpirun(1, &scratch(&dir.path().join("data"), &out, &[]));
        command.args([&[":", "-n", "1", program][..], &second].concat()).output().unwrap()
    };
    let told = refused(&mixed(&data, &["--lr", "0.5"]));
    assert!(told.contains("rank 1") && told.contains("its --lr is 0.5"), "{told}");
    let told = refused(&mixed(&other, &[]));
    assert!(told.contains("rank 1") && told.contains("its data is not"), "{told}");
    // A failure of one rank alone is told by rank 0, with the rank.
    let told = refused(&mixed(Path::new("/nowhere"), &[]));
    assert!(told.contains("rank 1") && told.contains("/nowhere"), "{told}");
}

/// Starts a long run on three ranks, and waits for its first checkpoints.
fn long_run(dir: &Path) -> (Child, std::path::PathBuf) {
    let (data, out) = (data(dir), dir.join("out"));
    let more = ["--steps", "1000000", "--save-every", "3", "--rank-timeout", "3", "-q"];
    let mut command = mpirun(3, &scratch(&data, &out, &more));
    let child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    let saved = || common::checkpoints(&out).len() > 1;
    while !(out.exists() && saved()) && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    (child, out)
}

/// The process of a rank: each has its number in its environment.
fn process_of(rank: usize, out: &Path) -> String {
    let rank = format!("OMPI_COMM_WORLD_RANK={rank}");
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let own = |path: &Path, file: &str, part: &str| {
        let bytes = std::fs::read(path.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).split('\0').any(|word| word == part)
    };
    let found = all
        .map(|entry| entry.path())
        .find(|path| own(path, "environ", &rank) && own(path, "cmdline", out.to_str().unwrap()));
    found.unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

fn signal(name: &str, process: &str) {
    assert!(Command::new("kill").args([name, process]).status().unwrap().success());
}

#[test]
fn a_silent_rank_ends_the_run_everywhere_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (child, out) = long_run(dir.path());
    signal("-STOP", &process_of(1, &out));
    let begin = Instant::now();
    let output = child.wait_with_output().unwrap();
    let told = stderr(&output);
    assert!(!output.status.success() && begin.elapsed() < Duration::from_secs(20), "{told}");
    assert!(told.contains("error: rank 1 has been silent for"), "{told}");
    assert!(told.contains("go on from the newest"), "{told}");
    // The checkpoint is whole.
    let resume = ["classify", "--resume", out.to_str().unwrap(), "--steps"];
    let names = common::checkpoints(&out);
    let step = |name: &String| name.strip_prefix("checkpoint-")?.parse::<u64>().ok();
    let steps = (names.iter().filter_map(step).max().unwrap() + 2).to_string();
    ok(&on_ranks(2, &[&resume[..], &[&steps]].concat()));
}

#[test]
fn a_killed_rank_ends_the_run_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let (child, out) = long_run(dir.path());
    signal("-KILL", &process_of(2, &out));
    let begin = Instant::now();
    let output = child.wait_with_output().unwrap();
    let told = stderr(&output);
    assert!(!output.status.success() && begin.elapsed() < Duration::from_secs(20), "{told}");
    assert!(told.contains("rank 2"), "{told}");
}

/// Two ranks on one GPU: gradients pass through the host, and the bits are those of one process.
#[test]
fn ranks_on_a_gpu_train_the_model_of_one_process() {
    if gradus_testing::gpu().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, alone) = (data(dir.path()), dir.path().join("alone"));
    // The norm of a sharded run is computed on the CPU, and so may have other bits.
    let plain = ["--device", "gpu:0", "--clip-norm", "0", "--dropout", "0.2"];
    let course = [&plain[..], &["--steps", "4", "--accumulate", "3"]].concat();
    ok(&run(&scratch(&data, &alone, &course)));
    for sharded in [false, true] {
        let out = dir.path().join(format!("sharded-{sharded}"));
        let flags: &[&str] = if sharded { &["--shard-optimizer"] } else { &[] };
        let output = on_ranks(2, &scratch(&data, &out, &[&course[..], flags].concat()));
        ok(&output);
        assert!(stderr(&output).contains("2 of them share one GPU"), "{}", stderr(&output));
        assert!(weights(&alone) == weights(&out), "two ranks have other weights ({flags:?})");
    }
}
