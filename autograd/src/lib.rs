//! Reverse-mode automatic differentiation over Gradus tensors.
//!
//! ```
//! use gradus_autograd::Var;
//! use gradus_tensor::Tensor;
//!
//! let x = Var::leaf(Tensor::from_slice(&[3f32], &[1])?);
//! let y = x.square()?.sum_all()?; // y = x²
//! let grads = y.backward()?;
//! assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [6.0]); // dy/dx = 2x
//! # Ok::<(), gradus_tensor::Error>(())
//! ```

mod backward;
mod checkpoint;
mod composed;
mod context;
mod gradcheck;
mod gradients;
mod mode;
mod node;
mod op;
pub mod ops;
pub mod registry;
pub mod trace;
mod var;
mod walk;

pub use backward::grad;
pub use checkpoint::checkpoint;
pub use context::Context;
pub use gradcheck::{GradCheck, gradcheck, gradgradcheck, largest_difference};
pub use gradients::Gradients;
pub use mode::{autocast, detect_anomaly, enable_grad, is_grad_enabled, low_precision, no_grad};
pub use op::{Op, Saves};
pub use ops::binary::where_;
pub use trace::{Trace, named, trace, within};
pub use var::{GraphNode, Var, VarId};
pub use walk::BackwardOptions;
