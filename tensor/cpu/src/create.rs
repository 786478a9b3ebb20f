//! Arrays of constants and sequences.

use gradus_base::{DType, Element, Result, dispatch_any};

use super::storage::Output;
use super::view::Array;

/// One value everywhere, converted to `dtype`.
pub fn full(shape: &[usize], value: f64, dtype: DType) -> Result<Array> {
    dispatch_any!(dtype, full_of::<T>(shape, value))
}

fn full_of<T: Element>(shape: &[usize], value: f64) -> Result<Array> {
    Ok(Output::<T>::filled("full", shape, T::from_f64(value))?.into_array(shape))
}

/// `[value(0), value(1), …]`, `count` of them, converted to `dtype`.
pub fn list(
    op: &'static str,
    count: usize,
    dtype: DType,
    value: &dyn Fn(usize) -> f64,
) -> Result<Array> {
    dispatch_any!(dtype, list_of::<T>(op, count, value))
}

fn list_of<T: Element>(
    op: &'static str,
    count: usize,
    value: &dyn Fn(usize) -> f64,
) -> Result<Array> {
    let mut out = Output::<T>::new(op, &[count])?;
    for (i, x) in out.slice_mut().iter_mut().enumerate() {
        *x = T::from_f64(value(i));
    }
    Ok(out.into_array(&[count]))
}

/// The identity matrix of size `n`.
pub fn eye(n: usize, dtype: DType) -> Result<Array> {
    dispatch_any!(dtype, eye_of::<T>(n))
}

fn eye_of<T: Element>(n: usize) -> Result<Array> {
    let mut out = Output::<T>::filled("full", &[n, n], T::from_f64(0.0))?;
    let diagonal = out.slice_mut().iter_mut().step_by(n + 1);
    diagonal.for_each(|x| *x = T::from_f64(1.0));
    Ok(out.into_array(&[n, n]))
}
