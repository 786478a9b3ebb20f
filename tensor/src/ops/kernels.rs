//! Tensors as the kernels of the CPU and the launches of GPUs take and return them. Both have the
//! same functions with the same arguments, over views of their own.

use gradus_base::op::attention::{Attention, GradientLayout, Sequences};
use gradus_base::op::binary::{BinaryOp, CompareOp};
use gradus_base::op::cross_entropy::Logits;
use gradus_base::op::glu::Glu;
use gradus_base::op::layer_norm::{LayerNormOutput, Operands, Residual, Saved};
use gradus_base::op::loss_scale::LossScale;
use gradus_base::op::optim::{AdamWStep, SgdStep};
use gradus_base::op::reduce::ReduceOp;
use gradus_base::op::rotary::Rotary;
use gradus_base::op::unary::UnaryOp;
use gradus_cpu as cpu;
use gradus_gpu as gpu;

use crate::{DType, Result, RngKey, Tensor};

/// A device's kernels, by what they take in place of tensors.
pub(crate) trait Kernels {
    /// What a kernel reads.
    type View<'a>: Copy;
    /// What a kernel writes in place.
    type ViewMut<'a>;

    /// The view of a tensor of the device.
    fn view(tensor: &Tensor) -> Self::View<'_>;

    /// The same for writing. It fails if the tensor must be copied first and memory is short.
    fn view_mut<'a>(tensor: &'a mut Tensor, op: &'static str) -> Result<Self::ViewMut<'a>>;
}

/// Those of `gradus-cpu`.
pub(crate) struct Cpu;

/// Those of `gradus-gpu`.
pub(crate) struct Gpu;

impl Kernels for Cpu {
    type View<'a> = cpu::View<'a>;
    type ViewMut<'a> = cpu::ViewMut<'a>;

    fn view(tensor: &Tensor) -> cpu::View<'_> {
        tensor.cpu()
    }

    fn view_mut<'a>(tensor: &'a mut Tensor, op: &'static str) -> Result<cpu::ViewMut<'a>> {
        tensor.cpu_mut(op)
    }
}

impl Kernels for Gpu {
    type View<'a> = gpu::View<'a>;
    type ViewMut<'a> = gpu::ViewMut<'a>;

    fn view(tensor: &Tensor) -> gpu::View<'_> {
        tensor.gpu()
    }

    fn view_mut<'a>(tensor: &'a mut Tensor, op: &'static str) -> Result<gpu::ViewMut<'a>> {
        tensor.gpu_mut(op)
    }
}

/// An argument of `on_device!`, for the kernels `K`: a tensor becomes a view, a setting stays.
pub(crate) trait Argument<K: Kernels> {
    /// What the kernel takes.
    type Taken;

    /// Makes it. Only a tensor to be written can fail: see [`Kernels::view_mut`].
    fn take(self, op: &'static str) -> Result<Self::Taken>;
}

impl<'a, K: Kernels> Argument<K> for &'a Tensor {
    type Taken = K::View<'a>;

    fn take(self, _op: &'static str) -> Result<K::View<'a>> {
        Ok(K::view(self))
    }
}

impl<'a, K: Kernels> Argument<K> for &'a mut Tensor {
    type Taken = K::ViewMut<'a>;

    fn take(self, op: &'static str) -> Result<K::ViewMut<'a>> {
        K::view_mut(self, op)
    }
}

impl<'a, K: Kernels> Argument<K> for &'a [&Tensor] {
    type Taken = Vec<K::View<'a>>;

    fn take(self, _op: &'static str) -> Result<Vec<K::View<'a>>> {
        Ok(self.iter().map(|tensor| K::view(tensor)).collect())
    }
}

impl<'a, K: Kernels> Argument<K> for &'a [Tensor] {
    type Taken = Vec<K::View<'a>>;

    fn take(self, _op: &'static str) -> Result<Vec<K::View<'a>>> {
        Ok(self.iter().map(K::view).collect())
    }
}

/// Lists are slices.
impl<'a, K: Kernels, T> Argument<K> for &'a Vec<T>
where
    &'a [T]: Argument<K>,
{
    type Taken = <&'a [T] as Argument<K>>::Taken;

    fn take(self, op: &'static str) -> Result<Self::Taken> {
        self.as_slice().take(op)
    }
}

impl<'a, K: Kernels, T, const N: usize> Argument<K> for &'a [T; N]
where
    &'a [T]: Argument<K>,
{
    type Taken = <&'a [T] as Argument<K>>::Taken;

    fn take(self, op: &'static str) -> Result<Self::Taken> {
        self.as_slice().take(op)
    }
}

impl<'a, K: Kernels> Argument<K> for Sequences<'a, &'a Tensor> {
    type Taken = Sequences<'a, K::View<'a>>;

    fn take(self, _op: &'static str) -> Result<Self::Taken> {
        let Sequences { q, k, v, bias, offsets, bounds } = self;
        let [q, k, v, offsets] = [q, k, v, offsets].map(K::view);
        Ok(Sequences { q, k, v, bias: bias.map(K::view), offsets, bounds })
    }
}

impl<'a, K: Kernels> Argument<K> for Logits<&'a Tensor> {
    type Taken = Logits<K::View<'a>>;

    fn take(self, _op: &'static str) -> Result<Self::Taken> {
        let Logits { x, targets, weight, options } = self;
        let (x, targets, weight) = (K::view(x), K::view(targets), weight.map(K::view));
        Ok(Logits { x, targets, weight, options })
    }
}

impl<'a, K: Kernels> Argument<K> for Operands<&'a Tensor> {
    type Taken = Operands<K::View<'a>>;

    fn take(self, _op: &'static str) -> Result<Self::Taken> {
        let Operands { x, weight, bias, eps, rms } = self;
        let (x, weight, bias) = (K::view(x), K::view(weight), bias.map(K::view));
        Ok(Operands { x, weight, bias, eps, rms })
    }
}

impl<'a, K: Kernels> Argument<K> for Saved<&'a Tensor> {
    type Taken = Saved<K::View<'a>>;

    fn take(self, _op: &'static str) -> Result<Self::Taken> {
        let Saved { x, weight, mean, rstd, rms } = self;
        let [x, weight, mean, rstd] = [x, weight, mean, rstd].map(K::view);
        Ok(Saved { x, weight, mean, rstd, rms })
    }
}

impl<'a, K: Kernels> Argument<K> for Residual<&'a Tensor> {
    type Taken = Residual<K::View<'a>>;

    fn take(self, _op: &'static str) -> Result<Self::Taken> {
        let Residual { tensor, dropout, keep } = self;
        Ok(Residual { tensor: K::view(tensor), dropout, keep })
    }
}

impl<K: Kernels, T: Argument<K>> Argument<K> for Option<T> {
    type Taken = Option<T::Taken>;

    fn take(self, op: &'static str) -> Result<Option<T::Taken>> {
        self.map(|x| x.take(op)).transpose()
    }
}

/// Settings go to the kernels as they are.
macro_rules! settings {
    ($($setting:ty),* $(,)?) => {$(
        impl<K: Kernels> Argument<K> for $setting {
            type Taken = Self;

            fn take(self, _op: &'static str) -> Result<Self> {
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
    Glu,
    GradientLayout,
    ReduceOp,
    Rotary,
    UnaryOp,
    &AdamWStep,
    &Attention,
    &LossScale,
    &SgdStep,
);

/// What kernels return, as tensors.
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

impl IntoTensors for cpu::Array {
    type Tensors = Tensor;

    fn into_tensors(self) -> Tensor {
        Tensor::from_array(self)
    }
}

impl IntoTensors for gpu::Array {
    type Tensors = Tensor;

    fn into_tensors(self) -> Tensor {
        Tensor::from_gpu(self)
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

impl<A: IntoTensors> IntoTensors for LayerNormOutput<A> {
    type Tensors = LayerNormOutput<A::Tensors>;

    fn into_tensors(self) -> Self::Tensors {
        let LayerNormOutput { output, mean, rstd, sum } = self;
        LayerNormOutput {
            output: output.into_tensors(),
            mean: mean.into_tensors(),
            rstd: rstd.into_tensors(),
            sum: sum.into_tensors(),
        }
    }
}

/// The tensors that a kernel returns.
pub(crate) fn tensors_of<R: IntoTensors>(kernel: impl FnOnce() -> Result<R>) -> Result<R::Tensors> {
    kernel().map(R::into_tensors)
}
