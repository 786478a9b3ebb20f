//! Clipping by the global norm.

use gradus_autograd::Gradients;
use gradus_tensor::{Result, Tensor, bail};

use crate::Parameter;

/// What [`clip_grad_norm`] found. Both are scalars that stay on the device until somebody reads
/// them.
#[derive(Clone)]
pub struct Clip {
    /// The Euclidean norm of all gradients together, before clipping.
    pub norm: Tensor,
    /// The factor of every gradient, at most 1: for [`Optimizer::step`](crate::Optimizer::step). A
    /// [`GradScaler`](crate::GradScaler) gives its verdict here, whose first number is the factor.
    pub scale: Tensor,
}

/// The factor that brings the global norm of the parameters' gradients down to `max_norm`, as
/// `torch.nn.utils.clip_grad_norm_` (Pascanu et al., arXiv:1211.5063): `min(1, max_norm/(norm +
/// 1e-6))`. The gradients themselves do not change: the optimiser multiplies as it reads them.
///
/// Parameters without a gradient do not count; an infinite `max_norm` only measures. If the norm is
/// NaN, so is the factor.
///
/// ```
/// # use gradus_nn::{Parameter, clip_grad_norm};
/// # use gradus_tensor::Tensor;
/// let a = Parameter::new("a", Tensor::scalar(1f32))?;
/// let b = Parameter::new("b", Tensor::scalar(1f32))?;
/// let loss = a.var().mul_scalar(3.0)?.add(&b.var().mul_scalar(4.0)?)?; // gradients 3 and 4
/// let clip = clip_grad_norm(&loss.backward()?, &[a, b], 1.0)?;
/// assert_eq!(clip.norm.item()?, 5.0);
/// assert!((clip.scale.item()? - 0.2).abs() < 1e-6);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// If `max_norm` is NaN or below 0; if gradients differ in dtype.
pub fn clip_grad_norm(grads: &Gradients, params: &[Parameter], max_norm: f64) -> Result<Clip> {
    if max_norm.is_nan() || max_norm < 0.0 {
        bail!("clip_grad_norm", "the largest norm is {max_norm}; it must be 0 or more");
    }
    let norm = total_norm(grads, params)?;
    let limit = norm.scalar_like(max_norm)?;
    let scale = limit.div(&norm.add_scalar(1e-6)?)?.clamp(f64::NEG_INFINITY, 1.0)?;
    Ok(Clip { norm, scale })
}

/// The Euclidean norm of all gradients of the parameters together, a scalar, as
/// `torch.nn.utils.get_total_norm`. Parameters without a gradient do not count.
///
/// ```
/// # use gradus_nn::{Parameter, total_norm};
/// # use gradus_tensor::Tensor;
/// let w = Parameter::new("w", Tensor::from_slice(&[1f32, 2.0], &[2])?)?;
/// let grads = w.var().mul_scalar(3.0)?.sum_all()?.backward()?; // 3 and 3
/// assert!((total_norm(&grads, &[w])?.item()? - 18f64.sqrt()).abs() < 1e-6);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// If gradients differ in dtype.
pub fn total_norm(grads: &Gradients, params: &[Parameter]) -> Result<Tensor> {
    let all: Vec<&Tensor> = params.iter().filter_map(|p| p.grad(grads)).collect();
    Tensor::global_norm(&all)
}
