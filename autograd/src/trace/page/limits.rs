//! What the machine can do at most, measured when a page is made.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use gradus_tensor::{fma_loop, instruction_set};
use serde_json::{Value, json};

/// How long each limit is measured.
const TIME: Duration = Duration::from_millis(25);

/// Bytes that each thread reads in turn: more than its caches hold.
const STREAM: usize = 32 << 20;

/// The processor's instructions, its multiply-adds in registers and its reading of memory a second,
/// with all threads at work.
pub(super) fn machine() -> Value {
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    let flops = together(threads, || fma_loop(10_000));
    let block = vec![1u64; STREAM / 8];
    let bytes = together(threads, || {
        std::hint::black_box(block.iter().fold(0u64, |sum, x| sum.wrapping_add(*x)));
        STREAM as u64
    });
    json!({
        "instructions": instruction_set(),
        "threads": threads,
        "flops_per_second": flops,
        "bytes_per_second": bytes,
    })
}

/// What all threads do in a second, if `work` says how much each of its calls did.
fn together(threads: usize, work: impl Fn() -> u64 + Sync) -> f64 {
    let start = Barrier::new(threads);
    let one = || {
        start.wait();
        let (begin, mut done) = (Instant::now(), 0);
        while begin.elapsed() < TIME {
            done += work();
        }
        done as f64 / begin.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum()
    })
}
