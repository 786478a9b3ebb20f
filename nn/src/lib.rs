//! Named parameters, layers, losses, optimisers and schedules.
//!
//! A model is built from a [`Path`] in a [`Store`], which reads like a path in a file system: the
//! parameters' names are those of the checkpoint, so loading and saving need no table of names.
//!
//! ```
//! use gradus_autograd::Var;
//! use gradus_nn::{AdamW, Init, Linear, Optimizer, Reduction, Store, losses};
//! use gradus_tensor::Tensor;
//!
//! let store = Store::new(0);
//! let layer = Linear::new(&store.root().join("layer"), 2, 1, Init::XavierUniform)?;
//! let mut optimizer = AdamW::new(store.parameters(), 0.1)?;
//! let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
//! let y = Var::constant(Tensor::from_slice(&[1f32, 0.0], &[2, 1])?);
//! for _ in 0..3 {
//!     let loss = losses::mse(&layer.forward(&x)?, &y, Reduction::Mean)?;
//!     optimizer.step(&loss.backward()?)?;
//! }
//! assert_eq!(store.get("layer.weight").unwrap().shape(), [1, 2]);
//! # Ok::<(), gradus_tensor::Error>(())
//! ```
//!
//! - [`Parameter`], [`Store`], [`Path`], [`Source`], [`Init`]: named parameters;
//! - [`Linear`], [`GatedLinear`], [`Embedding`], [`RotaryEmbedding`], [`LayerNorm`], [`RmsNorm`],
//!   [`Dropout`], [`Activation`], [`SelfAttention`], [`EncoderLayer`]: layers; [`Forward`] tells them whether they train, [`Lora`] adapts them;
//! - [`losses`];
//! - [`Sgd`], [`Adam`], [`AdamW`], [`clip_grad_norm`], [`Schedule`], [`Ema`]: optimisation.

mod ema;
mod forward;
mod init;
mod layers;
pub mod losses;
mod optim;
mod parameter;
mod precision;
mod store;

pub use ema::Ema;
pub use forward::Forward;
pub use init::Init;
pub use layers::activation::Activation;
pub use layers::attention::SelfAttention;
pub use layers::cache::KeyValues;
pub use layers::dropout::Dropout;
pub use layers::embedding::Embedding;
pub use layers::encoder::{Biases, EncoderLayer, LayerConfig};
pub use layers::gated::GatedLinear;
pub use layers::layer_norm::LayerNorm;
pub use layers::linear::Linear;
pub use layers::low_rank::Lora;
pub use layers::names::LayerNames;
pub use layers::pre_norm::PreNormLayer;
pub use layers::rms_norm::RmsNorm;
pub use layers::rotary::RotaryEmbedding;
pub use layers::sequences::Sequences;
pub use losses::{CrossEntropy, Reduction};
pub use optim::adam::{Adam, AdamW};
pub use optim::clip::{Clip, clip_grad_norm, total_norm};
pub use optim::group::{ParamGroup, decays, param_groups};
pub use optim::scaler::GradScaler;
pub use optim::schedule::{Schedule, ScheduleKind};
pub use optim::sgd::Sgd;
pub use optim::{Optimizer, OptimizerCore, Slot, Update};
pub use parameter::Parameter;
pub use precision::Precision;
pub use store::{Path, Source, Store};
