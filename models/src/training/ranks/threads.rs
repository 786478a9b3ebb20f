//! Ranks that are threads of one process.

use std::sync::Arc;
use std::time::Instant;

use super::{Communicator, Mailbox, Tag};
use crate::{Error, Result};

/// A rank that is a thread.
struct Thread {
    rank: usize,
    boxes: Arc<[Mailbox]>,
}

impl Communicator for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.boxes.len()
    }

    fn send(&self, to: usize, tag: Tag, message: Vec<u8>) -> Result<()> {
        self.boxes[self.rank].check()?;
        self.boxes[to].put(self.rank, tag, message);
        Ok(())
    }

    fn receive(&self, from: usize, tag: Tag) -> Result<Vec<u8>> {
        self.boxes[self.rank].take(from, tag)
    }

    fn arrived(&self, from: usize, tag: Tag) -> Result<Option<(Vec<u8>, Instant)>> {
        Ok(self.boxes[self.rank].arrived(from, tag))
    }

    fn fail(&self, message: &str) {
        self.others().for_each(|mailbox| mailbox.fail(self.rank, message));
    }
}

impl Thread {
    fn others(&self) -> impl Iterator<Item = &Mailbox> {
        let others = self.boxes.iter().enumerate().filter(|(rank, _)| *rank != self.rank);
        others.map(|(_, mailbox)| mailbox)
    }
}

/// A thread that ends, or panics, leaves nobody waiting. One that ends because another rank failed
/// passes that failure on: the others may not have heard of it yet.
impl Drop for Thread {
    fn drop(&mut self) {
        let heard = self.boxes[self.rank].check();
        for mailbox in self.others() {
            if let Err(Error::Rank { rank, message }) = &heard {
                mailbox.fail(*rank, message);
            }
            mailbox.end(self.rank);
        }
    }
}

/// Runs `rank` on so many ranks at once, each a thread with a thread pool of its own. Returns the
/// results in the order of the ranks.
///
/// # Panics
/// If a thread cannot be started, or `rank` panics on one of them.
pub fn in_process<R: Send>(
    size: usize,
    rank: impl Fn(Arc<dyn Communicator>) -> R + Sync,
) -> Vec<R> {
    let boxes: Arc<[Mailbox]> = (0..size).map(|_| Mailbox::default()).collect();
    let rank = &rank;
    let start = |number| {
        let boxes = boxes.clone();
        move || {
            let own = Thread { rank: number, boxes };
            // A rank that waits must not hold up the threads that another rank computes with.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            pool.expect("a thread can be started").install(|| rank(Arc::new(own)))
        }
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..size).map(|number| scope.spawn(start(number))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, R>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        all.into_iter().map(join).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_order_and_their_tags() {
        let heard = in_process(2, |me| {
            let other = 1 - me.rank();
            for (tag, text) in [(1, "a"), (2, "b"), (1, "c")] {
                me.send(other, tag, text.into())?;
            }
            let order = [2, 1, 1].map(|tag| me.receive(other, tag));
            order.into_iter().collect::<Result<Vec<_>>>()
        });
        for heard in heard {
            assert_eq!(heard.unwrap().concat(), b"bac");
        }
    }

    #[test]
    fn operations_of_all_ranks() {
        let results = in_process(3, |me| {
            let rank = me.rank() as f32;
            me.barrier()?;
            let gathered = me.all_gather(vec![me.rank() as u8])?.concat();
            let sent = me.broadcast(1, vec![7 * me.rank() as u8])?;
            Ok::<_, Error>((gathered, sent, me.all_reduce(vec![rank, 10.0 * rank])?))
        });
        for result in results {
            assert_eq!(result.unwrap(), (vec![0, 1, 2], vec![7], vec![3.0, 30.0]));
        }
    }

    #[test]
    fn a_rank_that_fails_is_named_to_all_who_wait() {
        let results = in_process(3, |me| match me.rank() {
            1 => {
                me.fail("the disk is full");
                Ok(Vec::new())
            }
            _ => me.receive(2 - me.rank(), 0),
        });
        for rank in [0, 2] {
            let error = results[rank].as_ref().unwrap_err().to_string();
            assert!(error.contains("rank 1") && error.contains("the disk is full"), "{error}");
        }
    }

    #[test]
    fn a_rank_passes_on_the_failure_that_ended_it() {
        let boxes: Arc<[Mailbox]> = (0..3).map(|_| Mailbox::default()).collect();
        let [first, failing, last] = [0, 1, 2].map(|rank| Thread { rank, boxes: boxes.clone() });
        // The failing rank has told rank 0, and not yet rank 2, when rank 0 ends.
        boxes[0].fail(failing.rank, "the disk is full");
        drop(first);
        let error = last.receive(0, 0).unwrap_err().to_string();
        assert!(error.contains("rank 1") && error.contains("the disk is full"), "{error}");
    }

    #[test]
    fn a_rank_that_ends_leaves_nobody_waiting() {
        let results = in_process(2, |me| match me.rank() {
            1 => Ok(Vec::new()),
            _ => me.receive(1, 0),
        });
        let error = results[0].as_ref().unwrap_err().to_string();
        assert!(error.contains("rank 1: it has ended"), "{error}");
    }
}
