//! Training on several ranks: processes, on one host or many, that train one model together.
//!
//! A step has a fixed number of micro-batches ([`Recipe::accumulate`](super::Recipe::accumulate)
//! batches), for any number of ranks. Each rank computes some of them, and all gradients are added
//! in the order of one binary tree. So any number of ranks gives the bits of one process, dropout
//! included, which is keyed by the number of the micro-batch in the run.
//!
//! [`Trainer::set_ranks`](super::Trainer::set_ranks) makes a trainer one of several. Ranks talk
//! through a [`Communicator`]: [`in_process`] runs ranks as threads of one process, for tests and
//! to learn from; the program `train` has one over MPI.
//!
//! ```
//! use gradus_models::training::ranks::{Communicator, in_process};
//!
//! // Each rank says hello to the next one.
//! let heard = in_process(3, |me| {
//!     let (rank, size) = (me.rank(), me.size());
//!     me.send((rank + 1) % size, 0, format!("hello from {rank}").into_bytes())?;
//!     me.receive((rank + size - 1) % size, 0)
//! });
//! assert_eq!(heard[0].as_ref().unwrap(), b"hello from 2");
//! ```

mod communicator;
mod exchange;
mod mailbox;
mod message;
mod plan;
mod shard;
mod share;
mod threads;
mod timeline;

pub use communicator::{Communicator, Tag};
pub(super) use exchange::Exchange;
pub use mailbox::Mailbox;
pub(super) use share::Ranks;
pub use share::{RankOptions, Reduce, Traffic};
pub use threads::in_process;
pub use timeline::{Doing, Mark};
