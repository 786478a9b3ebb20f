//! Dropout (Srivastava et al., JMLR 15, 2014), with a mask that is recomputed, never stored.

use gradus_cpu as cpu;

use super::half::in_f32;
use super::on_device;
use crate::{Device, Result, RngKey, Tensor, bail};

pub(super) fn check_probability(op: &'static str, p: f64) -> Result<()> {
    if !(0.0..=1.0).contains(&p) {
        bail!(op, "the probability {p} is outside [0, 1]");
    }
    Ok(())
}

impl Tensor {
    /// Each element is 0 with probability `p`, else divided by `1 − p`. f32 or f64; any shape.
    ///
    /// Element `i`, counted in row-major order, is kept where `key.word(i) ≥ round(p·2³²)`. The
    /// same key gives the same mask, so the backward pass is this operation on the gradient.
    /// `p = 1` gives zeros. Composed reference: [`Tensor::bernoulli_mask`] and `where_`.
    ///
    /// ```
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let (x, key) = (Tensor::ones(&[100], DType::F32)?, RngKey::new(0));
    /// let y = x.dropout(0.75, key)?; // 4 where the mask is 1, else 0
    /// let mask = Tensor::bernoulli_mask(&[100], 0.75, key)?;
    /// assert_eq!(y.to_f64_vec(), mask.to_dtype(DType::F32)?.mul_scalar(4.0)?.to_f64_vec());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn dropout(&self, p: f64, key: RngKey) -> Result<Tensor> {
        check_probability("dropout", p)?;
        in_f32([self], |[x]| on_device!("dropout", [x], dropout::dropout(x, p, key)))
    }

    /// The mask of [`Tensor::dropout`]: 1 (kept) with probability `1 − p`, else 0 (u8).
    ///
    /// ```
    /// # use gradus_tensor::{RngKey, Tensor};
    /// let mask = Tensor::bernoulli_mask(&[10_000], 0.25, RngKey::new(0))?;
    /// let kept = mask.sum_all()?.item()?;
    /// assert!((kept - 7500.0).abs() < 200.0); // about three quarters
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn bernoulli_mask(shape: &[usize], p: f64, key: RngKey) -> Result<Tensor> {
        Self::bernoulli_mask_on(shape, p, key, Device::Cpu)
    }

    /// [`Tensor::bernoulli_mask`] made on `device`: the same mask on each.
    ///
    /// ```
    /// # use gradus_tensor::{Device, RngKey, Tensor};
    /// let key = RngKey::new(0);
    /// let mask = Tensor::bernoulli_mask_on(&[8], 0.5, key, Device::Cpu)?;
    /// assert_eq!(mask.to_vec::<u8>()?, Tensor::bernoulli_mask(&[8], 0.5, key)?.to_vec::<u8>()?);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn bernoulli_mask_on(
        shape: &[usize],
        p: f64,
        key: RngKey,
        device: Device,
    ) -> Result<Tensor> {
        check_probability("bernoulli_mask", p)?;
        match device {
            Device::Cpu => Ok(Tensor::from_array(cpu::dropout::mask(shape, p, key)?)),
            Device::Gpu(index) => {
                let gpu = gradus_gpu::gpu("bernoulli_mask", index)?;
                Ok(Tensor::from_gpu(gradus_gpu::dropout::mask(gpu, shape, p, key)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use gradus_base::random::drop_threshold;

    #[test]
    fn equals_the_composed_reference_and_the_words() {
        for (n, p) in [(0, 0.5), (1, 0.1), (70_001, 0.1), (4099, 0.0), (4099, 1.0), (100, 1e-12)] {
            let key = RngKey::new(9).step(n as u64);
            let x = Tensor::randn(&[n], DType::F32, RngKey::new(1)).unwrap();
            let y = x.dropout(p, key).unwrap().to_vec::<f32>().unwrap();
            let mask = Tensor::bernoulli_mask(&[n], p, key).unwrap();
            let kept: Vec<u8> =
                (0..n as u64).map(|i| (key.word(i) as u64 >= drop_threshold(p)) as u8).collect();
            assert_eq!(mask.to_vec::<u8>().unwrap(), kept);
            let scaled = if p < 1.0 { x.mul_scalar(1.0 / (1.0 - p)).unwrap() } else { x.clone() };
            let composed = scaled.where_(&mask, &x.zeros_like().unwrap()).unwrap();
            assert_eq!(y, composed.to_vec::<f32>().unwrap(), "n = {n}, p = {p}");
        }
    }

    #[test]
    fn counts_elements_in_row_major_order_for_any_strides() {
        let x = Tensor::rand(&[37, 53], DType::F64, RngKey::new(2)).unwrap();
        let (t, key) = (x.t().unwrap(), RngKey::new(3));
        let view = t.dropout(0.3, key).unwrap();
        let copy = t.copy().unwrap().dropout(0.3, key).unwrap();
        assert_eq!(view.shape(), &[53, 37]);
        assert_eq!(view.to_f64_vec(), copy.to_f64_vec());
    }

    #[test]
    fn drops_infinities_and_refuses_what_is_no_probability() {
        let x = Tensor::full(&[64], f64::INFINITY, DType::F32).unwrap();
        let y = x.dropout(0.5, RngKey::new(0)).unwrap().to_f64_vec();
        assert!(y.iter().all(|&y| y == 0.0 || y == f64::INFINITY) && y.contains(&0.0));
        // A word that equals the threshold is kept.
        let key = RngKey::new(5);
        let p = key.word(7) as f64 / 4_294_967_296.0;
        assert_ne!(x.dropout(p, key).unwrap().to_f64_vec()[7], 0.0);
        for p in [-0.1, 1.1, f64::NAN] {
            let error = x.dropout(p, RngKey::new(0)).err().unwrap().to_string();
            assert!(error.starts_with("[dropout] the probability"), "{error}");
            assert!(Tensor::bernoulli_mask(&[2], p, RngKey::new(0)).is_err());
        }
        assert!(Tensor::zeros(&[2], DType::U8).unwrap().dropout(0.5, RngKey::new(0)).is_err());
        assert!(Tensor::bernoulli_mask(&[usize::MAX, 2], 0.5, RngKey::new(0)).is_err());
    }
}
