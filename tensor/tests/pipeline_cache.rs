//! Compiled pipelines on disk: a run writes them, the next reads them, and a damaged file does no
//! harm. Each run is a separate process of this test program, with its own cache folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use gradus_tensor::{DType, Device, RngKey, Tensor, gpus};

/// One run, which the test below starts.
#[test]
#[ignore = "started by the test of this file"]
fn one_run() {
    let device = Device::gpu(0).unwrap();
    let x = Tensor::randn(&[100, 30], DType::F32, RngKey::new(1)).unwrap();
    let there = x.to_device(device).unwrap().softmax(1).unwrap().to_device(Device::Cpu).unwrap();
    for (a, b) in x.softmax(1).unwrap().to_f64_vec().into_iter().zip(there.to_f64_vec()) {
        assert!((a - b).abs() < 1e-6, "{a} and {b}");
    }
}

fn run(cache: &Path) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "one_run", "--ignored"]).env("XDG_CACHE_HOME", cache);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
}

fn files(cache: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cache.join("gradus")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn pipelines_are_kept_and_a_damaged_file_does_no_harm() {
    if gradus_testing::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path();
    run(cache);
    if !gpus()[0].features.pipeline_cache {
        assert!(files(cache).is_empty());
        eprintln!("skipped: {} keeps no pipelines for programs", gpus()[0].backend);
        return;
    }
    let [file] = &files(cache)[..] else { panic!("{:?}", files(cache)) };
    let whole = std::fs::read(file).unwrap();
    eprintln!("{} bytes in {}", whole.len(), file.file_name().unwrap().display());
    let half = whole[..whole.len() / 2].to_vec();
    let mut wrong = whole.clone();
    wrong[whole.len() - 20] ^= 0xff;
    for damaged in [half, wrong, Vec::new(), b"not a cache".to_vec(), vec![0xa5; 100_000]] {
        std::fs::write(file, &damaged).unwrap();
        run(cache);
        let [again] = &files(cache)[..] else { panic!("{:?}", files(cache)) };
        let found = std::fs::read(again).unwrap();
        assert!(found.len() >= whole.len() && found != damaged, "{} bytes", found.len());
    }
    // A complete file is used unchanged.
    run(cache);
    assert_eq!(files(cache).len(), 1);
    // Where the file cannot be written, the run is the same.
    let file = folder.path().join("a file");
    std::fs::write(&file, "no folder").unwrap();
    run(&file);
    assert_eq!(std::fs::read(&file).unwrap(), b"no folder");
}
