//! Intel's tile registers (AMX): products of whole blocks of numbers in 8 or 16 bits, one
//! instruction each.
//!
//! A tile has 16 rows of 64 bytes. `tdpbusd` adds to C, 16×16 of i32, the product of A, 16 rows of
//! 64 u8, and of B, 64 steps of 16 columns of i8; `tdpbf16ps` likewise to 16×16 of f32 that of 32
//! steps in bf16. B lies in words of four bytes: row g of its tile has, for each of 16 columns, the
//! steps 4g to 4g + 3 (bf16: 2g and 2g + 1). An instruction takes 16 cycles for 16,384
//! multiply-adds in 8 bits, or 8,192 in bf16: eight times what AVX512-VNNI does, and sixteen times
//! what AVX-512 does in f32.
//!
//! bf16 products are exact, their sums are rounded to f32 step by step, subnormal numbers count as
//! zero.
//! Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18,
//! and volume 2.

use std::arch::asm;
use std::marker::PhantomData;
use std::sync::LazyLock;

/// Rows of a tile, and its columns of words.
pub(super) const SIDE: usize = 16;
/// Bytes of a tile's row.
const LINE: usize = 64;

/// Processor and system let this process use tiles of 8 bits and of bf16.
#[derive(Clone, Copy)]
pub(super) struct Available(());

impl Available {
    pub(super) fn detect() -> Option<Available> {
        static AVAILABLE: LazyLock<bool> = LazyLock::new(|| has_amx() && ask_system());
        AVAILABLE.then_some(Available(()))
    }
}

/// Leaf 7 tells tiles, bf16 and int8 (bits 24, 22, 25 of EDX); XCR0 that the system keeps their
/// state.
fn has_amx() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    const WANTED: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    const OSXSAVE: u32 = 1 << 27;
    const STATE: u64 = 0b11 << 17;
    #[target_feature(enable = "xsave")]
    fn xcr0() -> u64 {
        // SAFETY: register 0 exists wherever the instruction does.
        unsafe { _xgetbv(0) }
    }
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: OSXSAVE says that the instruction is there.
    __cpuid_count(7, 0).edx & WANTED == WANTED && unsafe { xcr0() } & STATE == STATE
}

/// Linux gives a process the tiles' 8 KiB of state a thread only on request (arch_prctl,
/// ARCH_REQ_XCOMP_PERM).
fn ask_system() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_PRCTL: i64 = 158;
        const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
        const XTILEDATA: i64 = 18;
        let mut result = ARCH_PRCTL;
        // SAFETY: the call changes nothing but the permission; the kernel overwrites rcx and r11.
        unsafe {
            asm!(
                "syscall",
                inout("rax") result,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XTILEDATA,
                out("rcx") _, out("r11") _,
                options(nostack),
            );
        }
        result == 0
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// The calling thread's tiles, all of 16 rows of 64 bytes; given back on drop. A thread has at most
/// one such value: a task makes it and waits for no other task.
pub(crate) struct Registers(PhantomData<*const ()>);

impl Registers {
    pub(super) fn new(_: Available) -> Registers {
        let mut config = [0u8; 64];
        config[0] = 1; // the palette
        for tile in 0..8 {
            config[16 + 2 * tile] = LINE as u8;
            config[48 + tile] = SIDE as u8;
        }
        // SAFETY: the tiles are available; the instruction reads the 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly)) };
        Registers(PhantomData)
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: whoever made this had the tiles.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// The operands of a block: 32 (or 16) rows of A times the two halves of a panel of B.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// Rows of A, `row_a` bytes apart.
    pub(super) a: *const u8,
    pub(super) row_a: usize,
    /// Halves of a panel, each `[16·tiles]` rows of 16 words.
    pub(super) b: [*const u8; 2],
    /// Tiles along k: at least one.
    pub(super) tiles: usize,
}

/// A block's instructions. Four sums in four tiles, so that none waits for the one before; A's and
/// B's tiles are loaded just before they are needed.
macro_rules! block {
    ($name:ident, $short:ident, $dot:literal) => {
        /// C, 32 rows of 32 words, `row_c` bytes apart: the sums of a block.
        ///
        /// # Safety
        /// A has 32 rows of `tiles` times 64 bytes, B's halves have `tiles` times 1 KiB, C is ours;
        /// these are this thread's tiles.
        pub(super) unsafe fn $name(_: &Registers, block: Block, c: *mut u8, row_c: usize) {
            let Block { a, row_a, b: [b0, b1], tiles } = block;
            // SAFETY: the caller's promise.
            unsafe {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{a} + {row_a}]",
                    "tileloadd tmm6, [{b0} + {line}]",
                    concat!($dot, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{b1} + {line}]",
                    concat!($dot, " tmm1, tmm4, tmm7"),
                    "tileloadd tmm5, [{below} + {row_a}]",
                    concat!($dot, " tmm2, tmm5, tmm6"),
                    concat!($dot, " tmm3, tmm5, tmm7"),
                    "add {a}, 64", "add {below}, 64", "add {b0}, 1024", "add {b1}, 1024",
                    "dec {tiles}",
                    "jnz 2b",
                    "tilestored [{c} + {row_c}], tmm0",
                    "tilestored [{c} + {row_c} + 64], tmm1",
                    "tilestored [{c_below} + {row_c}], tmm2",
                    "tilestored [{c_below} + {row_c} + 64], tmm3",
                    a = inout(reg) a => _,
                    below = inout(reg) a.wrapping_add(SIDE * row_a) => _,
                    b0 = inout(reg) b0 => _,
                    b1 = inout(reg) b1 => _,
                    tiles = inout(reg) tiles => _,
                    row_a = in(reg) row_a, line = in(reg) LINE, row_c = in(reg) row_c,
                    c = in(reg) c, c_below = in(reg) c.wrapping_add(SIDE * row_c),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }

        /// As its tall twin, of 16 rows.
        ///
        /// # Safety
        /// As there, with 16 rows of A and of C.
        pub(super) unsafe fn $short(_: &Registers, block: Block, c: *mut u8, row_c: usize) {
            let Block { a, row_a, b: [b0, b1], tiles } = block;
            // SAFETY: the caller's promise.
            unsafe {
                asm!(
                    "tilezero tmm0", "tilezero tmm1",
                    "2:",
                    "tileloadd tmm4, [{a} + {row_a}]",
                    "tileloadd tmm6, [{b0} + {line}]",
                    concat!($dot, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{b1} + {line}]",
                    concat!($dot, " tmm1, tmm4, tmm7"),
                    "add {a}, 64", "add {b0}, 1024", "add {b1}, 1024",
                    "dec {tiles}",
                    "jnz 2b",
                    "tilestored [{c} + {row_c}], tmm0",
                    "tilestored [{c} + {row_c} + 64], tmm1",
                    a = inout(reg) a => _,
                    b0 = inout(reg) b0 => _,
                    b1 = inout(reg) b1 => _,
                    tiles = inout(reg) tiles => _,
                    row_a = in(reg) row_a, line = in(reg) LINE, row_c = in(reg) row_c,
                    c = in(reg) c,
                    out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}
block!(int8_tall, int8_short, "tdpbusd");
block!(bf16_tall, bf16_short, "tdpbf16ps");
