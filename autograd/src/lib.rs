//! Reverse-mode automatic differentiation over Gradus tensors.
//!
//! ```
//! # fn main() -> gradus_tensor::Result<()> {
//! use gradus_autograd::Var;
//! use gradus_tensor::Tensor;
//!
//! let x = Var::leaf(Tensor::from_slice(&[3f32], &[1])?);
//! let y = x.square()?.sum_all()?; // y = x²
//! let grads = y.backward()?;
//! assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [6.0]); // dy/dx = 2x
//! # Ok(())
//! # }
//! ```

mod backward;
mod checkpoint;
mod gradcheck;
mod mode;
mod node;
mod op;
pub mod ops;
pub mod registry;
mod var;

pub use backward::{BackwardOptions, Context, Gradients, grad};
pub use checkpoint::checkpoint;
pub use gradcheck::{GradCheck, gradcheck, gradgradcheck};
pub use mode::{autocast, detect_anomaly, enable_grad, is_grad_enabled, low_precision, no_grad};
pub use op::{Op, Saves};
pub use var::{Var, VarId};
