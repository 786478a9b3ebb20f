//! Ranks that talk through MPI.
//!
//! MPI belongs to one thread (`line.rs`), which sends and receives while the others compute. A
//! second thread (`watchdog.rs`) ends the process when a rank is silent.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gradus_cli::{Failure, Outcome};
use gradus_models::training::ranks::{Communicator, Tag};
use gradus_models::{Error, Result};

use super::launcher::{Launched, told_once};
use super::line::{self, Order};
use super::state::State;
use super::{Connection, Line, watchdog};
use crate::flags::RankFlags;

/// Seconds, unless --rank-timeout says otherwise.
const TIMEOUT: u64 = 30;

/// How long a rank that fails waits for the others, so that its message reaches them.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connects to the processes that were started together with this one.
///
/// # Errors
/// When MPI cannot be started, or sees this process alone.
pub fn connect(launched: &Launched, flags: &RankFlags) -> Outcome<Connection> {
    let timeout = Duration::from_secs(flags.rank_timeout.unwrap_or(TIMEOUT));
    let (orders, incoming) = channel();
    let (tell_start, start) = sync_channel(1);
    let (tell_end, end) = channel();
    std::thread::Builder::new().name("mpi".into()).spawn(move || {
        line::run(timeout, incoming, &tell_start);
        let _ = tell_end.send(());
    })?;
    let Ok(Some((state, place))) = start.recv() else {
        return Err(Failure::error("MPI cannot be started; does another mpirun work here?"));
    };
    let Launched { by, processes } = launched;
    if state.size() == 1 {
        return Err(told_once(Failure::error(format!(
            "{by} started {processes} processes, but MPI sees each alone: start them with the mpirun \
             of the MPI library that train was built with, or with srun --mpi=pmix"
        ))));
    }
    watchdog::watch(state.clone(), timeout)?;
    let mpi = Arc::new(Mpi { orders: Mutex::new(orders), state, end: Mutex::new(end) });
    Ok((mpi.clone(), mpi, place))
}

/// The other ranks, through the thread that MPI belongs to.
struct Mpi {
    orders: Mutex<Sender<Order>>,
    state: Arc<State>,
    /// Tells when that thread has ended.
    end: Mutex<Receiver<()>>,
}

impl Mpi {
    fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = || "its connection to the other ranks has ended".to_string();
        orders.send(order).map_err(|_| Error::Rank { rank: self.rank(), message: ended() })
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.state.rank
    }

    fn size(&self) -> usize {
        self.state.size()
    }

    fn send(&self, to: usize, tag: Tag, message: Vec<u8>) -> Result<()> {
        self.state.mailbox.check()?;
        self.order(Order::Send { to, tag, message })
    }

    fn receive(&self, from: usize, tag: Tag) -> Result<Vec<u8>> {
        self.state.mailbox.take(from, tag)
    }

    fn arrived(&self, from: usize, tag: Tag) -> Result<Option<(Vec<u8>, Instant)>> {
        Ok(self.state.mailbox.arrived(from, tag))
    }

    fn fail(&self, message: &str) {
        for to in (0..self.size()).filter(|to| *to != self.rank()) {
            // Where the connection has ended, nobody can be told.
            let _ = self.order(Order::Send { to, tag: line::FAILED, message: message.into() });
        }
    }

    fn all_reduce(&self, values: Vec<f32>) -> Result<Vec<f32>> {
        let (answer, sum) = channel();
        self.order(Order::Reduce { values, answer })?;
        loop {
            if let Ok(sum) = sum.recv_timeout(Duration::from_secs(1)) {
                return Ok(sum);
            }
            self.state.mailbox.check()?;
        }
    }
}

impl Line for Mpi {
    fn set_advice(&self, advice: String) {
        self.state.set_advice(advice);
    }

    fn leave(&self, all: bool) {
        // A rank that fails here has told the others, or is named by the watchdog.
        let all = all && self.barrier().is_ok();
        if !all && self.rank() > 0 {
            // The launcher ends everybody as soon as one process has failed: rank 0 tells why first.
            self.state.wait_for_leader();
        }
        let _ = self.order(Order::End);
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = end.recv_timeout(if all { Duration::from_secs(TIMEOUT) } else { PATIENCE });
    }
}
