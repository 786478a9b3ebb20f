//! Plain twins of all kernels. That of integers is also the path of a processor without a kernel.

#[cfg(test)]
use super::float::{F32Kernel, Float};
use super::kernel::{Kernel, Registers, Tile};
use super::numbers::{HALF, MAX_WIDTH, Numbers};
#[cfg(test)]
use super::vectors::Vectors;

/// The kernel of integers of 16 by 8 bits.
pub(super) fn int8() -> Option<&'static dyn Kernel> {
    Some(&Plain(Numbers::I16ByI8))
}

/// The kernels of all rounded numbers.
#[cfg(test)]
pub(super) static ALL: [&dyn Kernel; 4] = [
    &Plain(Numbers::I16ByI8),
    &Plain(Numbers::U8ByI8),
    &Plain(Numbers::I8ByI8),
    &Plain(Numbers::Bf16),
];

struct Plain(Numbers);

impl Kernel for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn numbers(&self) -> Numbers {
        self.0
    }

    fn rows(&self) -> usize {
        6
    }

    fn width(&self) -> usize {
        MAX_WIDTH
    }

    fn fs_per_mac(&self) -> usize {
        300_000
    }

    fn tile(&self, _: &Registers, tile: Tile) {
        tile.check(self);
        for r in 0..tile.rows {
            let row = &tile.left.data[r * tile.left.row..][..tile.words];
            for c in 0..MAX_WIDTH {
                let sum = sum(self.0, bytemuck::cast_slice(row), tile.panel, c);
                // SAFETY: inside the window (checked).
                unsafe { tile.out.ptr.add(r * tile.out.row + c).write(sum) };
            }
        }
    }
}

/// The sum of a row times column `c` of a panel.
fn sum(numbers: Numbers, row: &[u8], panel: &[u8], c: usize) -> u32 {
    let (words, steps, bytes) = (row.len() / 4, numbers.steps(), numbers.bytes());
    let half = c / HALF * words * HALF + c % HALF;
    let at = |p: usize| (half + p / steps * HALF) * bytes + p % steps * (bytes / steps);
    let short = |of: &[u8], at: usize| u16::from_ne_bytes([of[at], of[at + 1]]);
    let float = |bits: u16| f32::from_bits((bits as u32) << 16);
    let weight = |p: usize| panel[at(p)] as i8 as i32;
    let steps = 0..words * steps;
    match numbers {
        Numbers::I16ByI8 => {
            steps.map(|p| short(row, 2 * p) as i16 as i32 * weight(p)).sum::<i32>() as u32
        }
        Numbers::U8ByI8 => steps.map(|p| row[p] as i32 * weight(p)).sum::<i32>() as u32,
        Numbers::I8ByI8 => steps.map(|p| row[p] as i8 as i32 * weight(p)).sum::<i32>() as u32,
        Numbers::Bf16 => steps
            .map(|p| float(short(row, 2 * p)) * float(short(panel, at(p))))
            .sum::<f32>()
            .to_bits(),
        Numbers::F32 => unreachable!("f32 has vectors"),
    }
}

/// The kernel of f32, with the tiles and panels of AVX-512.
#[cfg(test)]
pub(super) static F32: &dyn F32Kernel = &Float(Arrays);

/// Arrays as vectors.
#[cfg(test)]
#[derive(Clone, Copy)]
struct Arrays;

#[cfg(test)]
impl Vectors for Arrays {
    type Vector = [f32; 16];
    const NAME: &'static str = "plain, f32";
    const N: usize = 16;
    const ROWS: usize = 8;
    const FS_PER_MAC: usize = 12_000;

    fn inside<R>(self, body: impl FnOnce() -> R) -> R {
        body()
    }

    unsafe fn load(self, p: *const f32) -> [f32; 16] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 16]>().read() }
    }

    fn splat(self, x: f32) -> [f32; 16] {
        [x; 16]
    }

    fn add_product(self, sum: [f32; 16], a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| a[i].mul_add(b[i], sum[i]))
    }

    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    unsafe fn store(self, x: [f32; 16], p: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 16]>().write(x) }
    }

    unsafe fn transpose8(self, rows: [&[f32; 8]; 8], out: *mut f32, width: usize) {
        for (c, row) in rows.into_iter().enumerate() {
            for (p, &x) in row.iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { out.add(p * width + c).write(x) };
            }
        }
    }
}
