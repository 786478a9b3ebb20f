//! Tensors as the CPU's kernels take and return them.

use gradus_base::op::attention::{Attention, GradientLayout};
use gradus_base::op::binary::{BinaryOp, CompareOp};
use gradus_base::op::cross_entropy::Options;
use gradus_base::op::loss_scale::LossScale;
use gradus_base::op::optim::{AdamWStep, SgdStep};
use gradus_base::op::reduce::ReduceOp;
use gradus_base::op::unary::UnaryOp;
use gradus_cpu::layer_norm::Normalised;
use gradus_cpu::{Array, View, ViewMut, attention, layer_norm};

use crate::operands::{LayerNormOutput, Residual, Sequences};
use crate::{DType, Result, RngKey, Tensor};

/// An argument of `on_device!` as the CPU's kernels take it: a tensor as a view, a setting as it
/// is.
pub(crate) trait ToCpu {
    /// What the kernel takes.
    type Cpu;

    /// Makes it. Only a tensor to be written can fail: see [`Tensor::cpu_mut`].
    fn to_cpu(self, op: &'static str) -> Result<Self::Cpu>;
}

impl<'a> ToCpu for &'a Tensor {
    type Cpu = View<'a>;

    fn to_cpu(self, _op: &'static str) -> Result<View<'a>> {
        Ok(self.cpu())
    }
}

impl<'a> ToCpu for &'a mut Tensor {
    type Cpu = ViewMut<'a>;

    fn to_cpu(self, op: &'static str) -> Result<ViewMut<'a>> {
        self.cpu_mut(op)
    }
}

impl<'a> ToCpu for &'a [&Tensor] {
    type Cpu = Vec<View<'a>>;

    fn to_cpu(self, _op: &'static str) -> Result<Vec<View<'a>>> {
        Ok(self.iter().map(|tensor| tensor.cpu()).collect())
    }
}

impl<'a> ToCpu for &'a [Tensor] {
    type Cpu = Vec<View<'a>>;

    fn to_cpu(self, _op: &'static str) -> Result<Vec<View<'a>>> {
        Ok(self.iter().map(Tensor::cpu).collect())
    }
}

/// Lists are slices.
impl<'a, T> ToCpu for &'a Vec<T>
where
    &'a [T]: ToCpu,
{
    type Cpu = <&'a [T] as ToCpu>::Cpu;

    fn to_cpu(self, op: &'static str) -> Result<Self::Cpu> {
        self.as_slice().to_cpu(op)
    }
}

impl<'a, T, const N: usize> ToCpu for &'a [T; N]
where
    &'a [T]: ToCpu,
{
    type Cpu = <&'a [T] as ToCpu>::Cpu;

    fn to_cpu(self, op: &'static str) -> Result<Self::Cpu> {
        self.as_slice().to_cpu(op)
    }
}

impl<'a> ToCpu for &'a Sequences<'_> {
    type Cpu = attention::Sequences<'a>;

    fn to_cpu(self, _op: &'static str) -> Result<attention::Sequences<'a>> {
        let Sequences { q, k, v, bounds, .. } = self;
        Ok(attention::Sequences { q: q.cpu(), k: k.cpu(), v: v.cpu(), bounds })
    }
}

impl<'a> ToCpu for &'a Residual<'_> {
    type Cpu = layer_norm::Residual<'a>;

    fn to_cpu(self, _op: &'static str) -> Result<layer_norm::Residual<'a>> {
        let Residual { tensor, dropout, keep } = *self;
        Ok(layer_norm::Residual { view: tensor.cpu(), dropout, keep })
    }
}

impl<T: ToCpu> ToCpu for Option<T> {
    type Cpu = Option<T::Cpu>;

    fn to_cpu(self, op: &'static str) -> Result<Option<T::Cpu>> {
        self.map(|x| x.to_cpu(op)).transpose()
    }
}

/// Settings go to the kernels as they are.
macro_rules! settings {
    ($($setting:ty),* $(,)?) => {$(
        impl ToCpu for $setting {
            type Cpu = Self;

            fn to_cpu(self, _op: &'static str) -> Result<Self> {
                Ok(self)
            }
        }
    )*};
}
settings!(
    bool,
    f64,
    usize,
    &'static str,
    &[bool],
    &[usize],
    DType,
    (f64, RngKey),
    RngKey,
    BinaryOp,
    CompareOp,
    GradientLayout,
    Options,
    ReduceOp,
    UnaryOp,
    &AdamWStep,
    &Attention,
    &LossScale,
    &SgdStep,
);

/// What a CPU kernel returns, as tensors.
pub(crate) trait IntoTensors {
    /// The tensors.
    type Tensors;

    /// Makes them. Nothing is copied.
    fn into_tensors(self) -> Self::Tensors;
}

impl IntoTensors for () {
    type Tensors = ();

    fn into_tensors(self) {}
}

impl IntoTensors for Array {
    type Tensors = Tensor;

    fn into_tensors(self) -> Tensor {
        Tensor::from_array(self)
    }
}

impl<A: IntoTensors> IntoTensors for Option<A> {
    type Tensors = Option<A::Tensors>;

    fn into_tensors(self) -> Self::Tensors {
        self.map(A::into_tensors)
    }
}

impl<A: IntoTensors, B: IntoTensors> IntoTensors for (A, B) {
    type Tensors = (A::Tensors, B::Tensors);

    fn into_tensors(self) -> Self::Tensors {
        (self.0.into_tensors(), self.1.into_tensors())
    }
}

impl<A: IntoTensors, B: IntoTensors, C: IntoTensors, D: IntoTensors> IntoTensors for (A, B, C, D) {
    type Tensors = (A::Tensors, B::Tensors, C::Tensors, D::Tensors);

    fn into_tensors(self) -> Self::Tensors {
        (self.0.into_tensors(), self.1.into_tensors(), self.2.into_tensors(), self.3.into_tensors())
    }
}

impl IntoTensors for Normalised {
    type Tensors = LayerNormOutput;

    fn into_tensors(self) -> LayerNormOutput {
        let Normalised { output, mean, rstd, sum } = self;
        LayerNormOutput {
            output: output.into_tensors(),
            mean: mean.into_tensors(),
            rstd: rstd.into_tensors(),
            sum: sum.into_tensors(),
        }
    }
}

/// The tensors that a CPU kernel returns.
pub(crate) fn on_cpu<R: IntoTensors>(kernel: impl FnOnce() -> Result<R>) -> Result<R::Tensors> {
    kernel().map(R::into_tensors)
}
