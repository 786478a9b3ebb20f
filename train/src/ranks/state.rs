//! What the threads of a rank know of the others: who was heard of when, and who has left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gradus_models::training::ranks::Mailbox;

/// What the threads of a rank know of the others.
pub struct State {
    pub rank: usize,
    pub mailbox: Mailbox,
    /// Whether this rank has left.
    pub over: AtomicBool,
    start: Instant,
    /// When each rank was last heard of, in milliseconds from the start.
    heard: Vec<AtomicU64>,
    /// Ranks that have left in order.
    left: Vec<AtomicBool>,
    advice: Mutex<String>,
}

impl State {
    pub fn new(rank: usize, size: usize) -> State {
        State {
            rank,
            mailbox: Mailbox::default(),
            over: AtomicBool::new(false),
            start: Instant::now(),
            heard: (0..size).map(|_| AtomicU64::new(0)).collect(),
            left: (0..size).map(|_| AtomicBool::new(false)).collect(),
            advice: Mutex::default(),
        }
    }

    pub fn size(&self) -> usize {
        self.heard.len()
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Notes a sign of life.
    pub fn hear(&self, from: usize) {
        self.heard[from].store(self.now(), Ordering::SeqCst);
    }

    /// Counts the silence of all ranks from now.
    pub fn hear_all(&self) {
        (0..self.size()).for_each(|rank| self.hear(rank));
    }

    /// Notes that a rank has left in order.
    pub fn leave(&self, rank: usize) {
        self.left[rank].store(true, Ordering::SeqCst);
        self.mailbox.end(rank);
    }

    /// The other rank that has been silent longest, and how long; ranks that have left do not count.
    pub fn silent(&self) -> Option<(usize, Duration)> {
        let others = (0..self.size()).filter(|rank| *rank != self.rank);
        let present = others.filter(|rank| !self.left[*rank].load(Ordering::SeqCst));
        let silence = |rank: usize| {
            let heard = self.heard[rank].load(Ordering::SeqCst);
            Duration::from_millis(self.now().saturating_sub(heard))
        };
        present.map(|rank| (rank, silence(rank))).max_by_key(|(_, silence)| *silence)
    }

    /// Waits until rank 0 has left.
    pub fn wait_for_leader(&self) {
        while !self.left[0].load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn set_advice(&self, advice: String) {
        *self.advice.lock().unwrap_or_else(PoisonError::into_inner) = advice;
    }

    pub fn advice(&self) -> String {
        self.advice.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
