//! Copies that a storage keeps until its values change: the values in another dtype, and joined
//! with those of other storages.

use gradus_base::{DType, Result};

use super::concat;
use super::copy;
use super::storage::{Joined, Kept};
use super::sync::lock;
use super::view::{Array, View, ViewOrCopy};

/// Prepares an array that fills its storage for being kept with another storage.
fn kept(array: &Array) -> Kept {
    Kept { storage: array.storage().clone(), dtype: array.dtype(), numel: array.numel() }
}

/// The kept array, with `shape`.
fn restored(kept: &Kept, shape: &[usize]) -> Array {
    Array::from_storage(kept.storage.clone(), kept.dtype, shape)
}

/// The same values in another dtype, row-major. If `x` fills its storage, they are kept with it
/// until it changes.
///
/// # Errors
/// Of `op`, if GPUs do not take the dtype, or memory is short.
pub fn to_dtype_kept(op: &'static str, x: View, dtype: DType) -> Result<Array> {
    if x.dtype() == dtype {
        return Ok(x.share());
    }
    if !x.is_whole() {
        return copy::convert(op, x, dtype);
    }
    let storage = x.storage();
    let cast = match storage.cast.get() {
        Some(cast) => cast,
        None => {
            let made = copy::convert(op, x, dtype)?;
            storage.cast.get_or_init(|| kept(&made))
        }
    };
    if cast.dtype != dtype || cast.numel != x.numel() {
        return copy::convert(op, x, dtype);
    }
    Ok(restored(cast, x.shape()))
}

/// The elements of `parts` (of one dtype), one part after another. If the parts fill their
/// storages, the result is kept with the first one's storage until any of them changes.
pub(super) fn join_kept(op: &'static str, parts: &[View]) -> Result<Array> {
    if !parts.iter().all(|x| x.is_whole()) {
        let parts = parts.iter().map(|x| x.contiguous(op)).collect::<Result<Vec<_>>>()?;
        return concat::join(op, &parts.iter().map(ViewOrCopy::view).collect::<Vec<_>>());
    }
    let versions: Vec<_> = parts.iter().map(|x| (x.storage().version, x.numel())).collect();
    let mut joined = lock(&parts[0].storage().joined);
    if let Some(joined) = &*joined
        && joined.parts == versions
    {
        return Ok(restored(&joined.values, &[joined.values.numel]));
    }
    let values = concat::join(op, parts)?;
    *joined = Some(Joined { parts: versions, values: kept(&values) });
    Ok(values)
}
