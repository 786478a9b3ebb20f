//! Gradus: a tensor and reverse-mode autodiff engine built by hand, with neural-network layers and
//! BERT.
//!
//! ```
//! use gradus::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
//! let y = x.square()?.sum_all()?; // y = Σx²
//! let grads = y.backward()?;
//! assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [2.0, 4.0, 6.0]); // 2x
//! # Ok(())
//! # }
//! ```
//!
//! | module | contents |
//! | --- | --- |
//! | [`tensor`] | dtypes, shapes, strides, storage, devices; every kernel |
//! | [`autograd`] | [`Var`](autograd::Var), the graph, backward rules, gradient checking |
//! | [`nn`] | named parameters, layers, losses, optimisers, schedules |
//! | [`models`] | BERT, checkpoints, tokenizer, packed batches, training, pipelines |

pub use gradus_autograd as autograd;
pub use gradus_models as models;
pub use gradus_nn as nn;
pub use gradus_tensor as tensor;

/// The names that most programs need.
pub mod prelude {
    pub use gradus_autograd::{Gradients, Var, checkpoint, grad, no_grad, trace, where_};
    pub use gradus_nn::{
        Activation, Adam, AdamW, CrossEntropy, Dropout, Ema, Embedding, Forward, Init, LayerNorm,
        Linear, Optimizer, ParamGroup, Parameter, Path, Reduction, Schedule, Sgd, Store,
        clip_grad_norm, losses,
    };
    pub use gradus_tensor::{DType, Device, Error, INFER, Result, RngKey, Tensor};
}
