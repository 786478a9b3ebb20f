//! Copies that a GPU storage keeps until its values change: the values in another dtype, and joined
//! with those of other tensors.

use std::sync::PoisonError;

use gradus_base::Layout;

use super::{concat, copy};
use crate::storage::{Joined, Kept, Storage};
use crate::{DType, Result, Tensor};

/// Prepares a contiguous tensor that fills its storage for being kept with another storage.
fn kept(tensor: &Tensor) -> Kept {
    let (storage, dtype, numel) = (tensor.storage.clone(), tensor.dtype(), tensor.numel());
    Kept { storage, dtype, numel }
}

/// The kept tensor, with `shape`.
fn restored(kept: &Kept, shape: &[usize]) -> Tensor {
    let layout = Layout::contiguous(shape);
    Tensor { storage: kept.storage.clone(), layout, dtype: kept.dtype }
}

/// [`Tensor::to_dtype_kept`] for a tensor that fills its storage.
pub(crate) fn convert_kept(op: &'static str, x: &Tensor, dtype: DType) -> Result<Tensor> {
    let Storage::Gpu(storage) = &*x.storage else { return x.to_dtype(dtype) };
    if !x.is_contiguous() || x.layout.offset != 0 {
        return copy::convert(op, x, dtype);
    }
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

/// The elements of `tensors` (of one dtype), one tensor after another. If the tensors fill their
/// storages, the result is kept with the first one's storage until any of them changes.
pub(crate) fn join_kept(op: &'static str, tensors: &[&Tensor]) -> Result<Tensor> {
    let whole = |t: &Tensor| match &*t.storage {
        Storage::Gpu(storage) if t.is_contiguous() && t.layout.offset == 0 => {
            Some((storage.version, t.numel()))
        }
        _ => None,
    };
    let parts: Option<Vec<_>> = tensors.iter().map(|t| whole(t)).collect();
    let (Some(parts), Storage::Gpu(first)) = (parts, &*tensors[0].storage) else {
        let tensors = tensors.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
        return concat::join(op, &tensors.iter().collect::<Vec<_>>());
    };
    let mut joined = first.joined.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(joined) = &*joined
        && joined.parts == parts
    {
        return Ok(restored(&joined.values, &[joined.values.numel]));
    }
    let values = concat::join(op, tensors)?;
    *joined = Some(Joined { parts, values: kept(&values) });
    Ok(values)
}
