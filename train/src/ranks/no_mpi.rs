//! A program that was built without MPI.

use std::sync::Arc;

use gradus_cli::{Failure, Outcome};
use gradus_models::training::ranks::Communicator;

use super::launcher::{Launched, told_once};
use super::{Line, Place};
use crate::flags::RankFlags;

/// Refuses: the processes would each train the same run, into the same folder.
pub fn connect(
    launched: &Launched,
    _: &RankFlags,
) -> Outcome<(Arc<dyn Line>, Arc<dyn Communicator>, Place)> {
    let Launched { by, processes } = launched;
    Err(told_once(Failure::error(format!(
        "{by} started {processes} processes, but this train was built without MPI, so that each would \
         train the whole run: build it with --features mpi (which needs an MPI library and libclang), \
         or start one process"
    ))))
}
