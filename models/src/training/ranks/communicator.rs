//! What ranks need of each other.

use std::time::Instant;

use crate::Result;

/// The subject of a message. Messages with the same subject arrive in the order in which they were
/// sent; those with others may be received in any order. A subject is below 32,000.
pub type Tag = u16;

/// The tags of the operations that all ranks take part in. Lower tags are free.
const BROADCAST: Tag = 31_000;
const GATHER: Tag = 31_001;
const REDUCE: Tag = 31_002;

/// A group of ranks, as one of them sees it: the operations of MPI that training needs.
///
/// Only [`send`](Communicator::send) and [`receive`](Communicator::receive) must be written; the
/// other operations are made of these two. All ranks must call an operation of all ranks, in the
/// same order.
pub trait Communicator: Send + Sync {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// Sends a message to another rank. Returns at once: the message is delivered in the background.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) when a rank has failed.
    fn send(&self, to: usize, tag: Tag, message: Vec<u8>) -> Result<()>;

    /// Waits for the next message of this tag from another rank.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) when a rank has failed.
    fn receive(&self, from: usize, tag: Tag) -> Result<Vec<u8>>;

    /// The next message of this tag from another rank if it is here already, and when it arrived.
    /// `None` where it is not, or where the communicator cannot tell: who needs the message then
    /// waits for it.
    ///
    /// # Errors
    /// As [`receive`](Communicator::receive).
    fn arrived(&self, _from: usize, _tag: Tag) -> Result<Option<(Vec<u8>, Instant)>> {
        Ok(None)
    }

    /// Tells all other ranks that this one ends with an error. What they do next fails with it.
    fn fail(&self, message: &str);

    /// The message of the rank `root`, on all ranks.
    ///
    /// # Errors
    /// As [`receive`](Communicator::receive).
    fn broadcast(&self, root: usize, message: Vec<u8>) -> Result<Vec<u8>> {
        if self.rank() != root {
            return self.receive(root, BROADCAST);
        }
        for to in (0..self.size()).filter(|to| *to != root) {
            self.send(to, BROADCAST, message.clone())?;
        }
        Ok(message)
    }

    /// The messages of all ranks, in their order, on all ranks.
    ///
    /// # Errors
    /// As [`receive`](Communicator::receive).
    fn all_gather(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let own = self.rank();
        for to in (0..self.size()).filter(|to| *to != own) {
            self.send(to, GATHER, message.clone())?;
        }
        let of = |from| match from == own {
            true => Ok(message.clone()),
            false => self.receive(from, GATHER),
        };
        (0..self.size()).map(of).collect()
    }

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// As [`receive`](Communicator::receive).
    fn barrier(&self) -> Result<()> {
        self.all_gather(Vec::new()).map(drop)
    }

    /// The sum of all ranks' values, element by element, in the order that is fastest. This one adds
    /// in the order of the ranks.
    ///
    /// # Errors
    /// As [`receive`](Communicator::receive).
    fn all_reduce(&self, values: Vec<f32>) -> Result<Vec<f32>> {
        if self.rank() != 0 {
            self.send(0, REDUCE, bytemuck::cast_slice(&values).to_vec())?;
            let sum = self.broadcast(0, Vec::new())?;
            return Ok(bytemuck::pod_collect_to_vec(&sum));
        }
        let mut sum = values;
        for from in 1..self.size() {
            let other: Vec<f32> = bytemuck::pod_collect_to_vec(&self.receive(from, REDUCE)?);
            sum.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
        }
        self.broadcast(0, bytemuck::cast_slice(&sum).to_vec())?;
        Ok(sum)
    }
}
