//! Behaviour when a GPU's memory is exhausted. The test runs alone in its process and limits its
//! address space, which is the memory of a software GPU.

use std::process::Command;

use gradus_tensor::{DType, Device, Tensor, gpus};

/// Limits the address space to the part in use plus `more` bytes. `false` where that is impossible.
fn limit(more: u64) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let used = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let used = used.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let Some(used) = used else { return false };
    let limit = format!("--as={}", used * 1024 + more);
    let pid = std::process::id().to_string();
    Command::new("prlimit").args(["--pid", &pid, &limit]).status().is_ok_and(|s| s.success())
}

#[test]
fn exhausted_memory_is_an_error_that_says_how_much_was_asked_for() {
    let Some(device) = gradus_testing::gpu() else { return };
    let gpu = &gpus()[0];
    let ones = Tensor::ones(&[8 << 20], DType::F32).unwrap();
    let first = ones.to_device(device).unwrap();
    first.neg().unwrap().to_device(Device::Cpu).unwrap(); // compiles, with room
    if !gpu.software || !limit(512 << 20) {
        eprintln!("skipped: this needs a GPU in software, /proc and prlimit");
        return;
    }
    let mut taken = vec![first];
    let error = loop {
        match taken[0].neg() {
            Ok(x) => taken.push(x),
            Err(error) => break error.to_string(),
        }
        assert!(taken.len() < 40, "1.2 GiB came out of 512 MiB");
    };
    assert!(taken.len() > 4, "{error}");
    let used = format!("{}.0 MiB in use", 32 * taken.len());
    for part in ["[neg]", "gpu:0", "out of memory: 32.0 MiB asked for", &used, "smaller batch"] {
        assert!(error.contains(part), "{error}");
    }
    eprintln!("{error}");
    // The device keeps working, and dropped tensors make room for new ones.
    taken.truncate(2);
    let sum = taken[1].add(&taken[0]).unwrap().abs().unwrap().sum(&[], false).unwrap();
    assert_eq!(sum.item().unwrap(), 0.0);
}
