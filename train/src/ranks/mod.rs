//! Several processes that train one model, started by `mpirun` or `srun`.

mod agree;
mod host;
mod launcher;
#[cfg(feature = "mpi")]
mod line;
#[cfg_attr(not(feature = "mpi"), path = "no_mpi.rs")]
mod mpi;
#[cfg(feature = "mpi")]
mod state;
#[cfg(feature = "mpi")]
mod watchdog;

use std::path::Path;
use std::sync::Arc;

use gradus_cli::{Failure, Outcome, SharedArgs, command, note};
use gradus_models::Error;
use gradus_models::data::Fingerprint;
use gradus_models::training::ranks::Communicator;
use gradus_models::training::{Task, Trainer};

use agree::agree;
pub use launcher::refuse;

use crate::flags::{Flags, RankFlags, TaskFlags, object, with_flag};

/// The ranks of a run, as one of them sees them.
pub struct Group {
    line: Arc<dyn Line>,
    communicator: Arc<dyn Communicator>,
    /// The host of this rank.
    host: String,
    pub flags: RankFlags,
}

/// The line to the other ranks, what speaks over it, and where this rank stands.
type Connection = (Arc<dyn Line>, Arc<dyn Communicator>, Place);

/// The end of a connection to the other ranks.
trait Line: Send + Sync {
    /// What to do when a rank is silent, for the message.
    fn set_advice(&self, advice: String);

    /// Ends the connection in order. `all`: only when all ranks are here.
    fn leave(&self, all: bool);
}

/// What a process knows of its place when it has joined the others.
#[cfg_attr(not(feature = "mpi"), allow(dead_code))] // only MPI makes one
pub struct Place {
    /// The name of the host.
    pub host: String,
    /// The number of this rank among those on its host.
    pub local_rank: usize,
}

/// Joins the other processes of an `mpirun` or `srun`. `None` where this process is alone. The
/// shared flags then have the device and the threads of this rank, and only rank 0 tells anything.
///
/// # Errors
/// When this program was built without MPI, or MPI does not see the processes that were started.
pub fn join(shared: &mut SharedArgs, flags: &RankFlags) -> Outcome<Option<Group>> {
    let Some(launched) = launcher::launched() else {
        return match flags.given() {
            None => Ok(None),
            Some(name) => Err(Failure::usage(format!(
                "--{name} is for several ranks, and this is one process; start it with mpirun -n N \
                 train … or srun -n N train …"
            ))),
        };
    };
    let (line, communicator, place) = mpi::connect(&launched, flags)?;
    let group = Group { line, communicator, host: place.host.clone(), flags: flags.clone() };
    let told = match host::settle(shared, &group, &place) {
        Ok(told) => told,
        // Another rank has failed already, which rank 0 tells.
        Err(failure) => return group.run(|_| Err(failure)).map(|()| None),
    };
    if group.rank() > 0 {
        shared.json = false;
        shared.quiet = !shared.verbose;
    }
    note(shared, told);
    Ok(Some(group))
}

impl Group {
    pub fn rank(&self) -> usize {
        self.communicator.rank()
    }

    pub fn size(&self) -> usize {
        self.communicator.size()
    }

    /// Gives a step one micro-batch a rank, unless flags say otherwise.
    pub fn share(&self, shared: &SharedArgs, flags: &mut Flags) {
        let size = self.size();
        if flags.accumulate.is_none() {
            flags.accumulate = Some(size);
            note(
                shared,
                format!(
                    "a step has {size} batches, one a rank; --accumulate {size} on one process gives \
                     the same model"
                ),
            );
        }
    }

    /// Makes the trainer one of all ranks' that are about to train the same.
    ///
    /// # Errors
    /// When a rank would train something else, or there are more ranks than batches in a step.
    pub fn begin<F: TaskFlags, T: Task>(
        &self,
        shared: &SharedArgs,
        flags: &F,
        data: &Fingerprint,
        trainer: &mut Trainer<T>,
    ) -> Outcome {
        agree(self, data, object(flags)?, trainer)?;
        trainer.set_ranks(self.communicator.clone(), self.flags.options()).map_err(with_flag)?;
        let (own, all) = trainer.optimizer_bytes();
        if self.flags.shard_optimizer {
            let mib = |bytes: usize| bytes as f64 / (1 << 20) as f64;
            let (own, all) = (mib(own), mib(all));
            note(
                shared,
                format!("the optimiser's state takes {own:.1} MiB on this rank, of {all:.1} MiB"),
            );
        }
        Ok(())
    }

    /// Checks that the run has the step whose timeline is asked for.
    ///
    /// # Errors
    /// A usage error where it has not.
    pub fn check_timeline<T: Task>(&self, trainer: &Trainer<T>) -> Outcome {
        let steps = trainer.steps_done() + 1..=trainer.total_steps();
        match self.flags.rank_timeline.filter(|step| !steps.contains(step)) {
            None => Ok(()),
            Some(step) => Err(Failure::usage(format!(
                "--rank-timeline is {step}; the steps of this run are {} to {}",
                steps.start(),
                steps.end()
            ))),
        }
    }

    /// Says what a person can do if a rank dies from now on.
    pub fn advise(&self, task: &str, out: &Path) {
        let out = &out.display().to_string();
        let resume = command("train", [task, "--resume", out]);
        self.line.set_advice(format!(
            "the checkpoints in {out} are whole; go on from the newest, on any number of ranks, with: \
             {resume}"
        ));
    }

    /// Runs this rank's part of the program, and ends it on all ranks. A failure of any rank is told
    /// once, by rank 0.
    pub fn run(self, part: impl FnOnce(&Group) -> Outcome) -> Outcome {
        let outcome = part(&self);
        match &outcome {
            Ok(()) | Err(Failure::Told(_) | Failure::Closed) => self.line.leave(true),
            Err(failure) => {
                if !comes_from_another(failure) {
                    self.communicator.fail(&format!("{failure} (on {})", self.host));
                }
                self.line.leave(false);
            }
        }
        match outcome {
            // Rank 0 ends with the exit code, and tells why.
            Err(Failure::Usage(_) | Failure::Error(_)) if self.rank() > 0 => Err(Failure::Told(0)),
            outcome => outcome,
        }
    }
}

/// Whether a failure is that of another rank, which has told all.
fn comes_from_another(failure: &Failure) -> bool {
    let Failure::Error(error) = failure else { return false };
    matches!(error.downcast_ref(), Some(Error::Rank { .. }))
}
