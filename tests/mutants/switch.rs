//! Which mutant is on: the one whose number `GRADUS_MUTANT` has, or none.
//!
//! `run` puts this file in a copy of the crate, and the mutants ask it. With `GRADUS_MUTANT=reached`
//! none is on; instead each mutant that is asked about is written to the file `GRADUS_REACHED`, with
//! the name of the test that asked.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

const UNREAD: u32 = u32::MAX;
const REACHED: u32 = u32::MAX - 1;

static CHOSEN: AtomicU32 = AtomicU32::new(UNREAD);

thread_local! {
    /// The mutants that this thread has asked about: a test has a thread of its own.
    static SEEN: RefCell<HashSet<u32>> = RefCell::default();
}

/// Whether the mutant is on.
#[inline(always)]
pub(crate) fn on(mutant: u32) -> bool {
    let chosen = CHOSEN.load(Ordering::Relaxed);
    chosen != 0 && asked(chosen, mutant)
}

#[cold]
#[inline(never)]
fn asked(chosen: u32, mutant: u32) -> bool {
    let chosen = if chosen == UNREAD { read() } else { chosen };
    if chosen == REACHED {
        note(mutant);
    }
    chosen == mutant
}

fn read() -> u32 {
    let chosen = match std::env::var("GRADUS_MUTANT").as_deref() {
        Err(_) => 0,
        Ok("reached") => REACHED,
        Ok(number) => number.parse().expect("GRADUS_MUTANT is a number"),
    };
    CHOSEN.store(chosen, Ordering::Relaxed);
    chosen
}

fn note(mutant: u32) {
    // At the end of a thread the set is gone: then a mutant may be written twice.
    if !SEEN.try_with(|seen| seen.borrow_mut().insert(mutant)).unwrap_or(true) {
        return;
    }
    let path = std::env::var("GRADUS_REACHED").expect("GRADUS_REACHED names a file");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let line = format!("{mutant}\t{}\n", std::thread::current().name().unwrap_or("?"));
    file.write_all(line.as_bytes()).unwrap();
}
