//! What started this process.

use gradus_cli::{Failure, Outcome};

/// The variables in which launchers say how many processes they started.
const SIZES: [(&str, &str); 4] = [
    ("OMPI_COMM_WORLD_SIZE", "mpirun"),
    ("MV2_COMM_WORLD_SIZE", "mpirun"),
    ("PMI_SIZE", "mpirun or srun"),
    ("SLURM_STEP_NUM_TASKS", "srun"),
];

/// The variables in which they say which of the processes this is.
const RANKS: [&str; 4] =
    ["OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"];

/// A launcher that started several processes.
pub struct Launched {
    pub by: &'static str,
    pub processes: usize,
}

/// The launcher that started this process and others; `None` for a process that is alone.
pub fn launched() -> Option<Launched> {
    let size = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let mut found = SIZES.iter().filter_map(|(name, by)| Some((size(name)?, *by)));
    found.next().filter(|(n, _)| *n > 1).map(|(processes, by)| Launched { by, processes })
}

/// Refuses to run a subcommand that does not train on several ranks: each would do the same.
///
/// # Errors
/// A usage error where a launcher started several processes.
pub fn refuse(subcommand: &str) -> Outcome {
    let Some(Launched { by, processes }) = launched() else { return Ok(()) };
    let refused = format!(
        "{by} started {processes} processes, but train {subcommand} is for one: start it without {by}"
    );
    Err(told_once(Failure::usage(refused)))
}

/// A failure of all processes that a launcher started: the first of them tells it.
pub fn told_once(failure: Failure) -> Failure {
    let rank = RANKS.iter().find_map(|name| std::env::var(name).ok());
    if rank.is_none_or(|rank| rank == "0") { failure } else { Failure::Told(0) }
}
