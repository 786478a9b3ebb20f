//! Sorting along a dimension, and the k largest or smallest.
//!
//! Each value becomes an unsigned key whose order is the wanted one (floats: sign bit turned, the
//! rest inverted where negative; −0 as 0; every NaN above ∞), packed above its index into one
//! integer. Sorting these integers is stable without a stable sort: equal values keep the order of
//! their indices. A descending order inverts the key, not the index. Values are read back by index.
//!
//! One task sorts whole lines; nothing depends on the threads. `topk` keeps the best k in a sorted
//! array (k ≤ 32: one comparison an element once the array is full) or partitions around the k-th.

use gradus_base::{Element, Result, dispatch_any, sizes};

use super::parallel::{self, SharedMut};
use super::storage::Output;
use super::view::{Array, View};

/// Up to this k, the best are kept in a sorted array.
const FEW: usize = 32;

/// An element as an integer that sorts as it, with its index in the low 32 bits.
trait Key: Element {
    type Packed: Ord + Copy + Send;
    fn pack(self, index: u32, descending: bool) -> Self::Packed;
    fn index(packed: Self::Packed) -> u32;
}

macro_rules! key {
    ($($t:ty => $bits:ty, $packed:ty, $key:expr;)*) => {$(impl Key for $t {
        type Packed = $packed;
        #[inline(always)]
        fn pack(self, index: u32, descending: bool) -> $packed {
            let key: $bits = ($key)(self);
            ((if descending { !key } else { key }) as $packed) << 32 | index as $packed
        }
        #[inline(always)]
        fn index(packed: $packed) -> u32 {
            packed as u32
        }
    })*};
}
macro_rules! float_key {
    ($t:ty, $bits:ty, $signed:ty) => {
        |x: $t| {
            if x.is_nan() {
                return <$bits>::MAX;
            }
            let bits = if x.to_f64() == 0.0 { 0 } else { x.to_bits() };
            let sign = (bits as $signed >> (<$bits>::BITS - 1)) as $bits;
            bits ^ (sign | 1 << (<$bits>::BITS - 1))
        }
    };
}
key! {
    f32 => u32, u64, float_key!(f32, u32, i32);
    f64 => u64, u128, float_key!(f64, u64, i64);
    half::f16 => u16, u64, float_key!(half::f16, u16, i16);
    half::bf16 => u16, u64, float_key!(half::bf16, u16, i16);
    u32 => u32, u64, |x: u32| x;
    u8 => u8, u64, |x: u8| x;
}

/// The first `k` values and indices along the last dimension, which has at least `k` entries;
/// sorted.
pub fn sorted(op: &'static str, x: View, k: usize, descending: bool) -> Result<(Array, Array)> {
    let mut shape = x.shape().to_vec();
    let n = std::mem::replace(shape.last_mut().expect("checked by the caller"), k);
    let x = x.contiguous()?;
    let room = if k <= FEW && k < n { k } else { n };
    let lines = Lines { n, k, room, descending };
    dispatch_any!(x.view().dtype(), sorted_of::<T>(op, x.view(), &shape, lines))
}

/// What is done with each line of `n` elements: the first `k` are kept, in a list with `room`.
#[derive(Clone, Copy)]
struct Lines {
    n: usize,
    k: usize,
    room: usize,
    descending: bool,
}

fn sorted_of<T: Key>(
    op: &'static str,
    x: View,
    shape: &[usize],
    lines: Lines,
) -> Result<(Array, Array)> {
    let mut values = Output::<T>::new(op, shape)?;
    let mut indices = Output::<u32>::new(op, shape)?;
    if !values.slice_mut().is_empty() {
        // A task cannot return an error, so check here that there is memory for one.
        drop(sizes::list::<T::Packed>(op, lines.room)?);
        sort_lines(values.slice_mut(), indices.slice_mut(), x.slice::<T>(), lines);
    }
    Ok((values.into_array(shape), indices.into_array(shape)))
}

fn sort_lines<T: Key>(values: &mut [T], indices: &mut [u32], x: &[T], lines: Lines) {
    let Lines { n, k, room, .. } = lines;
    let indices = SharedMut::new(indices);
    let ns = n as f64 * if k <= FEW { 1.5 } else { 4.0 + 2.0 * (k as f64).log2() };
    parallel::rows(values, k, parallel::rows_per_task(n), ns, |first, values| {
        let mut packed = Vec::with_capacity(room);
        for (line, values) in values.chunks_exact_mut(k).enumerate() {
            let line = first + line;
            let x = &x[line * n..(line + 1) * n];
            sort_line(x, lines, &mut packed);
            // SAFETY: each line belongs to one task.
            let indices = unsafe { indices.slice(line * k..(line + 1) * k) };
            for (j, &key) in packed.iter().enumerate() {
                indices[j] = T::index(key);
                values[j] = x[indices[j] as usize];
            }
        }
    });
}

/// The keys of the first `k` elements of a line, sorted.
#[inline(always)]
fn sort_line<T: Key>(x: &[T], lines: Lines, packed: &mut Vec<T::Packed>) {
    let Lines { n, k, descending, .. } = lines;
    let keys = x.iter().enumerate().map(|(i, &x)| x.pack(i as u32, descending));
    packed.clear();
    if k < n && k <= FEW {
        return keep_best(packed, k, keys);
    }
    packed.extend(keys);
    if k < n {
        packed.select_nth_unstable(k - 1);
        packed.truncate(k);
    }
    packed.sort_unstable();
}

/// The `k` least of `keys`, sorted, by insertion.
#[inline(always)]
fn keep_best<P: Ord + Copy>(best: &mut Vec<P>, k: usize, keys: impl Iterator<Item = P>) {
    for key in keys {
        if best.len() == k {
            if key >= best[k - 1] {
                continue;
            }
            best.pop();
        }
        let mut at = best.len();
        best.push(key);
        while at > 0 && best[at - 1] > key {
            best[at] = best[at - 1];
            at -= 1;
        }
        best[at] = key;
    }
}
