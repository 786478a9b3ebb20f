//! The flags of a run on several ranks.

use clap::{Args, ValueEnum};
use gradus_models::training::ranks::{RankOptions, Reduce};
use serde::{Deserialize, Serialize};

/// How ranks add their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adding {
    /// In a fixed order: any number of ranks gives the same bits
    Exact,
    /// By MPI's own all-reduce: sums depend on the number of ranks, by about 1e-6
    Fast,
}

/// The flags of a run on several ranks; `None` or `false` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RankFlags {
    /// How ranks add their gradients [default: exact]
    #[arg(long, help_heading = "Ranks (mpirun, srun)")]
    pub reduce: Option<Adding>,
    /// Split the optimiser's state over the ranks (ZeRO-1): less memory for each, the same numbers
    #[arg(long, help_heading = "Ranks (mpirun, srun)")]
    pub shard_optimizer: bool,
    /// End the run on all ranks when one has been silent for so many seconds [default: 30]
    #[arg(
        long,
        help_heading = "Ranks (mpirun, srun)",
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub rank_timeout: Option<u64>,
    /// Write what each rank does in this step, and when, to OUT/timeline.jsonl
    #[arg(
        long,
        help_heading = "Ranks (mpirun, srun)",
        value_name = "STEP",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub rank_timeline: Option<u64>,
}

impl RankFlags {
    /// The first of these flags that is given.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            ("reduce", self.reduce.is_some()),
            ("shard-optimizer", self.shard_optimizer),
            ("rank-timeout", self.rank_timeout.is_some()),
            ("rank-timeline", self.rank_timeline.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// What the trainer needs.
    pub fn options(&self) -> RankOptions {
        let reduce = match self.reduce {
            Some(Adding::Fast) => Reduce::Fast,
            Some(Adding::Exact) | None => Reduce::Exact,
        };
        RankOptions {
            reduce,
            shard_optimizer: self.shard_optimizer,
            timeline: self.rank_timeline,
            ..RankOptions::default()
        }
    }
}
