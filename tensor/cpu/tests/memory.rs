//! The pool's memory: what it holds stays near the peak of what lives, and the rest goes back to
//! the system. The test is alone in its process, because it counts the memory of the whole pool.

use gradus_base::DType;
use gradus_cpu::{Array, create, memory_use};

const MIB: usize = 1 << 20;

/// So many arrays of so many bytes, written to their ends.
fn arrays(count: usize, bytes: usize) -> Vec<Array> {
    (0..count).map(|_| create::full(&[bytes], 1.0, DType::U8).unwrap()).collect()
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
    }
    // What lives counts too.
    let kept = arrays(1, 64 * MIB);
    for bytes in sizes.into_iter().chain(sizes) {
        drop(arrays(96 * MIB / bytes, bytes));
        let held = memory_use();
        assert!(held.free + held.live < 215 * MIB, "{bytes} bytes each: {held:?}");
    }
    drop(kept);
    // A free block is taken before a new one is made.
    let before = memory_use();
    let again = arrays(1, 3 * MIB);
    assert_eq!(memory_use().free + memory_use().live, before.free, "{before:?}");
    assert_eq!(memory_use().live, again.len() * 3 * MIB);
}
