//! The GPU to test on. Tests of other crates include this file by its path.

use gradus_tensor::{Device, gpus};

/// The first GPU, if there is one; with `GRADUS_REQUIRE_GPU=1` there must be.
pub fn gpu() -> Option<Device> {
    let Some(info) = gpus().into_iter().next() else {
        let required = std::env::var_os("GRADUS_REQUIRE_GPU").is_some_and(|v| v == "1");
        assert!(!required, "GRADUS_REQUIRE_GPU=1, and there is no GPU");
        eprintln!("skipped: no GPU here");
        return None;
    };
    Some(Device::gpu(info.index).expect("a GPU that is listed can be opened"))
}
