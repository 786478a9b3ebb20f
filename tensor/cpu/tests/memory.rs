//! The pool's memory: what it holds stays near the peak of what lives, and the rest goes back to
//! the system. The test is alone in its process, because it counts the process's memory.
#![cfg(target_os = "linux")]

use gradus_base::DType;
use gradus_cpu::{Array, create, memory_use};

const MIB: usize = 1 << 20;

/// So many arrays of so many bytes, written to their ends.
fn arrays(count: usize, bytes: usize) -> Vec<Array> {
    (0..count).map(|_| create::full(&[bytes], 1.0, DType::U8).unwrap()).collect()
}

/// What the process holds, in bytes. A page has at least 4 KiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn freed_memory_is_used_again_or_given_back() {
    let sizes = [MIB, 5 * MIB / 4, 3 * MIB / 2, 7 * MIB / 4, 3 * MIB];
    for round in 0..4 {
        for bytes in sizes {
            drop(arrays(96 * MIB / bytes, bytes));
        }
        let held = memory_use();
        assert_eq!(held.live, 0, "round {round}: {held:?}");
        // The peak, an eighth of it, and 32 MiB.
        assert!(held.free < 150 * MIB, "round {round}: {held:?}");
        assert!(resident() < 250 * MIB, "round {round}: {} MiB", resident() / MIB);
    }
    // A free block is taken before a new one is made.
    let before = memory_use();
    let again = arrays(1, 3 * MIB);
    assert_eq!(memory_use().free + memory_use().live, before.free, "{before:?}");
    assert_eq!(memory_use().live, again.len() * 3 * MIB);
}
