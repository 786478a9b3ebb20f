//! A program that was built without MPI.

use gradus_cli::{Failure, Outcome};

use super::Connection;
use super::launcher::{Launched, told_once};
use crate::flags::RankFlags;

/// Refuses: the processes would each train the same run, into the same folder.
pub fn connect(launched: &Launched, _: &RankFlags) -> Outcome<Connection> {
    let Launched { by, processes } = launched;
    Err(told_once(Failure::error(format!(
        "{by} started {processes} processes, but this train was built without MPI, so that each would \
         train the whole run: build it with --features mpi (which needs an MPI library and libclang), \
         or start one process"
    ))))
}
