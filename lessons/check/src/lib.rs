//! What marks the exercises of the lessons: comparisons that say what came in, what came out, what
//! was expected and where the two part; and gradients checked by the engine's own means.
//!
//! | function | for |
//! | --- | --- |
//! | [`same`] | whole numbers, shapes, words: equal or not |
//! | [`near`] | numbers and tensors, up to an allowed difference |
//! | [`slopes`] | gradients of a function of a few numbers, against finite differences |
//! | [`gradient`], [`second_gradient`] | gradients of a function of tensors, by the engine's gradcheck |
//! | [`agrees`] | your operation and the engine's: values and gradients at the same inputs |
//! | [`inputs_of`] | the registry's random inputs of an operation |
//! | [`product`] | matrix products of chapter 6: results, speed, and use of the cache |
//! | [`scalar`] | the tape of chapter 1, finished, for its last exercises |
//! | [`strides`] | what chapter 2 builds, finished, for its last exercises |
//! | [`shader`] | kernels in WGSL: naga, then a run on a GPU beside the CPU's numbers |
//! | [`optim`] | an optimiser's steps beside the engine's |
//! | [`models`] | a tiny BERT and a real one, to compare with |
//! | [`training`] | a small network and its data |

mod compare;
mod gradients;
pub mod models;
pub mod optim;
pub mod product;
pub mod scalar;
pub mod shader;
pub mod strides;
pub mod training;

pub use compare::{near, same};
pub use gradients::{agrees, gradient, inputs_of, second_gradient, slopes};
