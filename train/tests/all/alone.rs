//! One process: what is for several is refused. `train/tests/ranks.rs` has several.

use crate::common::{data, run, scratch, stderr};

#[test]
fn flags_for_several_ranks_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    for flag in [&["--reduce", "fast"][..], &["--shard-optimizer"], &["--rank-timeout", "9"]] {
        let refused = run(&scratch(&data, &out, flag));
        assert_eq!(refused.status.code(), Some(2));
        let told = stderr(&refused);
        assert!(told.contains(&format!("{} is for several ranks", flag[0])), "{told}");
    }
    assert!(!out.exists());
}

/// Each process would train the whole run, into the same folder.
#[cfg(not(feature = "mpi"))]
#[test]
fn several_processes_without_mpi_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    for (name, by) in [("OMPI_COMM_WORLD_SIZE", "mpirun"), ("SLURM_STEP_NUM_TASKS", "srun")] {
        let mut command = crate::common::train(&scratch(&data, &out, &[]));
        let refused = command.env(name, "2").output().unwrap();
        let told = stderr(&refused);
        assert!(told.contains(&format!("{by} started 2 processes")), "{told}");
        assert!(told.contains("--features mpi"), "{told}");
        let mut sweep = crate::common::train(&["sweep", "plan.toml"]);
        let told = stderr(&sweep.env(name, "2").output().unwrap());
        assert!(told.contains("train sweep is for one"), "{told}");
    }
    assert!(!out.exists());
}
