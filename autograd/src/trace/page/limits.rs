//! What the machine can do at most, measured when the program makes its first page.

use std::sync::{Barrier, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use gradus_tensor::{fma_loop, instruction_set, read_loop};
use serde_json::{Value, json};

/// How long each limit is measured.
const TIME: Duration = Duration::from_millis(25);

/// Bytes that all threads together read in turn, each its own part: more than the caches hold.
const STREAM: usize = 128 << 20;

/// The processor's instructions, its multiply-adds in registers and its reading of memory a second,
/// with all threads at work.
pub(super) static MACHINE: LazyLock<Value> = LazyLock::new(|| {
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    let flops = together(threads, |_| fma_loop(10_000));
    let memory = vec![1f32; STREAM / 4];
    let part = memory.len() / threads;
    let bytes = together(threads, |thread| {
        std::hint::black_box(read_loop(&memory[thread * part..][..part]));
        4 * part as u64
    });
    json!({
        "instructions": instruction_set(),
        "threads": threads,
        "flops_per_second": flops,
        "bytes_per_second": bytes,
    })
});

/// What all threads do in a second, if `work` of a thread says how much each call did.
fn together(threads: usize, work: impl Fn(usize) -> u64 + Sync) -> f64 {
    let start = Barrier::new(threads);
    let one = |thread| {
        start.wait();
        let (begin, mut done) = (Instant::now(), 0);
        while begin.elapsed() < TIME {
            done += work(thread);
        }
        done as f64 / begin.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let one = &one;
        let all: Vec<_> = (0..threads).map(|at| scope.spawn(move || one(at))).collect();
        all.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum()
    })
}
