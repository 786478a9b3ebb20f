//! Shared by the tests of all crates: where to run (the GPU, the folder of reference results), how
//! many random cases to try, an optimiser's step, and how to compare numbers.

mod near;

use std::path::PathBuf;

use gradus_tensor::ops::optim::AdamWStep;
use gradus_tensor::{Device, gpus};
use proptest::prelude::ProptestConfig;

pub use near::{
    Numbers, assert_devices_agree, assert_devices_within, assert_near, assert_near_or_nan, largest,
};

/// The first GPU, or `None`. Panics without a GPU if `GRADUS_REQUIRE_GPU` is 1.
pub fn gpu() -> Option<Device> {
    let Some(info) = gpus().into_iter().next() else {
        let required = std::env::var_os("GRADUS_REQUIRE_GPU").is_some_and(|v| v == "1");
        assert!(!required, "GRADUS_REQUIRE_GPU=1, and there is no GPU");
        eprintln!("skipped: no GPU here");
        return None;
    };
    Some(Device::gpu(info.index).expect("a GPU that is listed can be opened"))
}

/// The CPU, and the first GPU if there is one.
pub fn devices() -> Vec<Device> {
    std::iter::once(Device::Cpu).chain(gpu()).collect()
}

/// Step `step` of AdamW with PyTorch's moments and ε, at the rate 0.01, with the weight decay 0.1.
pub fn adamw(step: u64) -> AdamWStep {
    AdamWStep {
        lr: 0.01,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.1,
        step,
        decoupled: true,
    }
}

/// The folder with reference results and models, which `GRADUS_SHARED` names.
pub fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("GRADUS_SHARED").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: GRADUS_SHARED names no folder with reference results");
    }
    folder
}

/// The settings for random tests with `cases` cases, or with the number in `PROPTEST_CASES`. A
/// failure is neither shrunk nor written to a file; it names its seed.
pub fn cases(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    }
}
