//! The pool's threads, kept awake between the regions of one forward pass.
//!
//! A pass over a single text is some fifty parallel regions of 20–100 µs with a few microseconds of
//! serial work between them. A pool's idle worker soon goes to sleep, and waking it takes as long
//! as such a region (on a virtual machine longer): half of the regions would run on one thread. So
//! the first region of a pass asks the other workers to join the team: until none has come for
//! [`IDLE`] they watch for the next one, and enter it within a fraction of a microsecond.
//!
//! One region is open at a time. Tasks are handed out one by one from a counter, so a thread that
//! comes late takes fewer. Where the team is taken (a region within a region, a second model at
//! work) the caller uses the pool itself.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a member watches for another region before it goes back to the pool.
const IDLE: Duration = Duration::from_micros(200);
/// Looks at the state between two looks at the clock.
const LOOKS: usize = 64;

/// What the members of a region share; lives on its caller's stack.
struct Region<'a> {
    body: &'a (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Region<'_> {
    /// Takes tasks until there are none.
    fn work(&self) {
        let work = AssertUnwindSafe(|| {
            loop {
                let task = self.next.fetch_add(1, Ordering::Relaxed);
                if task >= self.tasks {
                    return;
                }
                (self.body)(task);
            }
        });
        if let Err(panic) = catch_unwind(work) {
            self.next.store(self.tasks, Ordering::Relaxed); // nobody need begin another
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }
}

/// In [`Team::state`]: a region is open to members.
const OPEN: u64 = 1;
/// One member inside.
const MEMBER: u64 = 2;
/// The members inside.
const INSIDE: u64 = 0xffff_fffe;
/// One more region opened so far.
const EPOCH: u64 = 1 << 32;

pub(crate) struct Team {
    /// A caller has the team.
    taken: AtomicBool,
    /// Epoch, members inside, whether open.
    state: AtomicU64,
    /// The open region. Written by whoever has taken the team, while nobody is inside; read by
    /// those who entered.
    region: UnsafeCell<*const Region<'static>>,
    /// Workers asked to watch that have not gone yet.
    members: AtomicUsize,
}

// SAFETY: `region` is only written by the one caller that has `taken` the team, while the region is
// closed and nobody inside, and only read by members that entered it while it was open: the atomic
// `state` orders the two.
unsafe impl Sync for Team {}

static TEAM: Team = Team {
    taken: AtomicBool::new(false),
    state: AtomicU64::new(0),
    region: UnsafeCell::new(std::ptr::null()),
    members: AtomicUsize::new(0),
};

/// Whether there are threads that watch for a region: then even a short one gains from them.
pub(crate) fn is_awake() -> bool {
    TEAM.members.load(Ordering::Relaxed) > 0
}

/// Calls `body(task)` for every task in `0..tasks` on this thread and the members. False, and
/// nothing done, if another caller has the team.
pub(crate) fn run(tasks: usize, body: &(dyn Fn(usize) + Sync)) -> bool {
    if TEAM.taken.swap(true, Ordering::Acquire) {
        return false;
    }
    let region = Region { body, tasks, next: AtomicUsize::new(0), panic: Mutex::new(None) };
    let erased: *const Region = &region;
    // SAFETY: the team is ours and closed, so nobody reads; whoever enters has left before `region`
    // goes (below).
    unsafe { *TEAM.region.get() = erased.cast() };
    TEAM.state.fetch_add(EPOCH | OPEN, Ordering::Release);
    TEAM.call();
    region.work();
    TEAM.state.fetch_and(!OPEN, Ordering::AcqRel);
    let mut looks = 0;
    while TEAM.state.load(Ordering::Acquire) & INSIDE != 0 {
        looks += 1;
        // A member whose processor was taken from it needs one to finish.
        if looks % (16 * LOOKS) == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
    }
    TEAM.taken.store(false, Ordering::Release);
    if let Some(panic) = region.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
    true
}

impl Team {
    /// Asks the pool's other workers to watch, unless they do.
    fn call(&'static self) {
        let others = rayon::current_num_threads() - 1;
        if self.members.load(Ordering::Relaxed) > 0 {
            return;
        }
        self.members.fetch_add(others, Ordering::Relaxed);
        let caller = rayon::current_thread_index();
        for _ in 0..others {
            rayon::spawn(move || {
                // The caller itself may take it while it waits for something else.
                if caller.is_none() || rayon::current_thread_index() != caller {
                    self.watch();
                }
                self.members.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    /// A member's life: enters every region once, until none comes for [`IDLE`].
    fn watch(&self) {
        let mut since = Instant::now();
        let mut last = 0;
        loop {
            for _ in 0..LOOKS {
                let state = self.state.load(Ordering::Acquire);
                let enters = state & OPEN != 0 && state / EPOCH != last;
                if enters && self.enter(state) {
                    last = state / EPOCH;
                    since = Instant::now();
                }
                std::hint::spin_loop();
            }
            if since.elapsed() > IDLE {
                return;
            }
        }
    }

    /// Works in the region that was open in `state`, if it still is as it was.
    fn enter(&self, state: u64) -> bool {
        let entered =
            self.state.compare_exchange(state, state + MEMBER, Ordering::AcqRel, Ordering::Relaxed);
        if entered.is_err() {
            return false;
        }
        // SAFETY: the region was open when we entered, so the pointer was written before, and its
        // caller waits for us to leave before it goes.
        unsafe { (**self.region.get()).work() };
        self.state.fetch_sub(MEMBER, Ordering::Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    /// Runs a region once the team is free: other tests use it as well.
    fn run_surely(tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        while !run(tasks, body) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn every_task_runs_once_in_many_regions() {
        pool(4).install(|| {
            for round in 0..3000 {
                let tasks = round % 37;
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                run_surely(tasks, &|task| {
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "round {round}");
                if round % 1000 == 999 {
                    std::thread::sleep(2 * IDLE); // the members go, and come again
                }
            }
        });
    }

    #[test]
    fn several_threads_take_part() {
        pool(3).install(|| {
            let seen = Mutex::new(std::collections::HashSet::new());
            let until = Instant::now() + Duration::from_secs(20);
            while seen.lock().unwrap().len() < 2 && Instant::now() < until {
                run_surely(8, &|_| {
                    std::thread::sleep(Duration::from_micros(300));
                    seen.lock().unwrap().insert(std::thread::current().id());
                });
            }
            assert!(seen.lock().unwrap().len() >= 2, "one thread did everything");
        });
    }

    #[test]
    fn a_region_within_a_region_finds_the_team_taken() {
        pool(2).install(|| run_surely(4, &|_| assert!(!run(2, &|_| ()))));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        pool(2).install(|| {
            for bad in [0, 3] {
                let panic = catch_unwind(|| {
                    run_surely(4, &|task| {
                        std::thread::sleep(Duration::from_micros(100));
                        assert!(task != bad, "task {task}");
                    })
                });
                assert!(panic.is_err());
            }
            let sum = AtomicUsize::new(0);
            run_surely(10, &|task| {
                sum.fetch_add(task, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 45);
        });
    }
}
