//! In what precision a model computes.

use std::fmt;
use std::str::FromStr;

use gradus_autograd::{autocast, low_precision};
use gradus_tensor::{DType, Device, LowPrecision, Result, bail, gpus, is_bf16_fast};
use serde::{Deserialize, Serialize};

/// In what precision a model computes. Parameters and the optimiser's state are f32 in every
/// precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Precision {
    /// Everything in f32.
    #[default]
    F32,
    /// Mixed: products and activations in f16, sums, statistics, softmax and losses in f32; see
    /// [`autocast`]. For GPUs. Training in it needs a [`GradScaler`](crate::GradScaler).
    F16,
    /// Products of linear layers in bf16, forward and backward, and in inference those of attention;
    /// their sums and all else in f32; see [`low_precision`]. For the CPU; one on which that is no
    /// faster ([`is_bf16_fast`]) computes in f32.
    Bf16,
    /// Products of linear layers in 8 bits, one scale for each output channel and one for each row
    /// of the input; attention as with bf16; see [`low_precision`]. For inference on the CPU.
    Int8,
}

impl Precision {
    /// Checks that a model can be trained in this precision.
    ///
    /// ```
    /// # use gradus_nn::Precision;
    /// assert!(Precision::Bf16.check_training().is_ok());
    /// assert!(Precision::Int8.check_training().is_err());
    /// ```
    ///
    /// # Errors
    /// If it cannot; the message says what does.
    pub fn check_training(self) -> Result<()> {
        match self {
            Precision::Int8 => {
                bail!(
                    "precision",
                    "int8 is for inference: weights in 8 bits have no gradient; train in f32 or bf16, then infer in int8"
                )
            }
            _ => Ok(()),
        }
    }

    /// Checks that `device` computes in this precision.
    ///
    /// ```
    /// # use gradus_nn::Precision;
    /// # use gradus_tensor::Device;
    /// assert!(Precision::Int8.check(Device::Cpu).is_ok());
    /// let error = Precision::F16.check(Device::Cpu).unwrap_err();
    /// assert!(error.to_string().contains("f16 is computed on GPUs only"));
    /// ```
    ///
    /// # Errors
    /// If it does not; the message says what does.
    pub fn check(self, device: Device) -> Result<()> {
        let (op, fails) = ("precision", "use f32");
        match (self, device) {
            (Precision::F32, _) | (Precision::Int8 | Precision::Bf16, Device::Cpu) => Ok(()),
            (Precision::Int8 | Precision::Bf16, _) => {
                bail!(
                    op,
                    Device,
                    "{self} is computed on the CPU only, not on {device}; use f16 or f32"
                )
            }
            (Precision::F16, Device::Gpu(index)) => match gpus().get(index) {
                Some(gpu) if !gpu.features.f16 => {
                    bail!(op, DType, "{device} ({}) has no 16-bit floats; {fails}", gpu.name)
                }
                _ => Ok(()),
            },
            (Precision::F16, _) => {
                bail!(op, Device, "f16 is computed on GPUs only, not on {device}; {fails}")
            }
        }
    }

    /// Runs `body`, the forward pass of a model, in this precision.
    ///
    /// ```
    /// # use gradus_autograd::{Var, no_grad};
    /// # use gradus_nn::{Init, Linear, Precision, Store};
    /// # use gradus_tensor::Tensor;
    /// let layer = Linear::no_bias(&Store::new(0).root(), 2, 1, Init::Ones)?;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
    /// let y = no_grad(|| Precision::Int8.run(|| layer.forward(&x)))?;
    /// assert!((y.item()? - 3.0).abs() < 0.02); // 1 + 2, rounded
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn run<R>(self, body: impl FnOnce() -> R) -> R {
        let (dtype, low) = match self {
            Precision::F32 => (None, None),
            Precision::F16 => (Some(DType::F16), None),
            Precision::Bf16 => (None, Some(LowPrecision::Bf16)),
            Precision::Int8 => (None, Some(LowPrecision::Int8)),
        };
        autocast(dtype, || low_precision(low, body))
    }

    /// What a person should know of this precision on this machine.
    ///
    /// ```
    /// # use gradus_nn::Precision;
    /// assert_eq!(Precision::F32.warning(), None);
    /// ```
    pub fn warning(self) -> Option<&'static str> {
        (self == Precision::Bf16 && !is_bf16_fast()).then_some(
            "this processor computes bf16 no faster than f32 (that takes AMX, or AVX512-BF16 of AMD), \
             so all is computed in f32",
        )
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            "bf16" => Ok(Precision::Bf16),
            "int8" => Ok(Precision::Int8),
            _ => Err("use f32, f16, bf16 or int8".into()),
        }
    }
}

impl TryFrom<String> for Precision {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        name.parse().map_err(|hint| format!("precision `{name}` is unknown; {hint}"))
    }
}

impl From<Precision> for String {
    fn from(precision: Precision) -> String {
        precision.to_string()
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_devices() {
        for name in ["f32", "f16", "bf16", "int8"] {
            assert_eq!(name.parse::<Precision>().unwrap().to_string(), name);
        }
        assert!(
            Precision::try_from("f8".to_string()).unwrap_err().contains("f32, f16, bf16 or int8")
        );
        assert!(Precision::F32.check(Device::Cpu).is_ok());
        let error = Precision::F16.check(Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("not on cpu; use f32"), "{error}");
        for low in [Precision::Bf16, Precision::Int8] {
            assert!(low.check(Device::Cpu).is_ok());
            let error = low.check(Device::Gpu(0)).unwrap_err().to_string();
            assert!(error.contains(&format!("{low} is computed on the CPU only")), "{error}");
        }
        assert!(Precision::Bf16.check_training().is_ok());
        let error = Precision::Int8.check_training().unwrap_err().to_string();
        assert!(error.contains("inference"), "{error}");
    }
}
