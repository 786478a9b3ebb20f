//! Dropout: `y[i] = x[i] · 1/(1−p)` where `word(i) ≥ p·2³²`, else 0.
//!
//! One pass: a block of 1,024 words is made in the first-level cache ([`random::map_words`]) and
//! consumed at once, so no mask is ever written to memory. Elements count in row-major order; the
//! word of an element depends on the key and its index alone, so neither threads nor the split
//! matter. A dropped element is 0 even where x is infinite or NaN.

use super::math::Float;
use crate::random::{self, RngKey, least_kept};
use crate::storage::Output;
use crate::{Result, Tensor, dispatch_float};

pub(crate) fn dropout(x: &Tensor, p: f64, key: RngKey) -> Result<Tensor> {
    dispatch_float!("dropout", x.dtype(), T => {
        let Some(least) = least_kept(p) else { return x.zeros_like() };
        let x = x.contiguous()?;
        let (xs, scale) = (x.cpu_slice::<T>(), T::c(1.0 / (1.0 - p)));
        let mut out = Output::<T>::new("dropout", x.shape())?;
        random::map_words(out.slice_mut(), key, #[inline(always)] |first, words, out| {
         let n = out.len();
         let (xs, words) = (&xs[first..first + n], &words[..n]);
         for i in 0..n {
             let scaled = xs[i] * scale; // outside the branch, so that the loop vectorises
             out[i] = if words[i] >= least { scaled } else { T::ZERO };
         }
     });
     Ok(out.into_tensor(x.shape()))
    })
}

pub(crate) fn mask(shape: &[usize], p: f64, key: RngKey) -> Result<Tensor> {
    let Some(least) = least_kept(p) else { return Tensor::zeros(shape, crate::DType::U8) };
    let mut out = Output::<u8>::new("bernoulli_mask", shape)?;
    random::fill_words(out.slice_mut(), key, |words, out| {
        for (m, &w) in out.iter_mut().zip(words) {
            *m = (w >= least) as u8;
        }
    });
    Ok(out.into_tensor(shape))
}
