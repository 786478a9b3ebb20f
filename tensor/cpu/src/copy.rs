//! Copies over other values, and to another dtype. One pass over memory.
//!
//! Conversions go by way of f64, which holds every element type exactly; see [`Element::from_f64`].

use gradus_base::{DType, Element, Result, dispatch_any};

use super::storage::Output;
use super::strided::{self, map1};
use super::view::{Array, View, ViewMut};

/// Nanoseconds of one conversion.
const CONVERSION: f64 = 1.0;

/// Overwrites the values with those of `source`, which has as many and the same dtype.
pub fn copy_(x: ViewMut, source: View) -> Result<()> {
    dispatch_any!(x.dtype(), overwrite::<T>(x, source))
}

fn overwrite<T: Element>(x: ViewMut, source: View) -> Result<()> {
    strided::copy(x.into_slice::<T>(), source.typed::<T>());
    Ok(())
}

/// The values in another dtype.
pub fn convert(x: View, dtype: DType) -> Result<Array> {
    dispatch_any!(x.dtype(), convert_from::<T>(x, dtype))
}

fn convert_from<A: Element>(x: View, dtype: DType) -> Result<Array> {
    dispatch_any!(dtype, converted::<A, T>(x))
}

fn converted<A: Element, R: Element>(x: View) -> Result<Array> {
    let mut out = Output::<R>::new("to_dtype", x.shape())?;
    let view = x.typed::<A>();
    map1::<false, _, _>(out.slice_mut(), view, CONVERSION, |x| R::from_f64(x.to_f64()));
    Ok(out.into_array(x.shape()))
}
