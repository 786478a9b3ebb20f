//! Shared by the tests of every operation: the seeds, and the views of inputs.
#![allow(dead_code)] // each test program uses a part

pub mod conditioning;
pub mod parity;

use gradus::autograd::Var;
use gradus::tensor::{Result, Tensor};

/// The views through which an operation sees its inputs.
#[derive(Clone, Copy, Debug)]
pub enum View {
    /// No view.
    Plain,
    /// Leaves that are themselves transposed views.
    Leaf,
    /// The transpose of a leaf.
    Transposed,
    /// A part of a larger leaf.
    Narrowed,
    /// Every second element of a leaf.
    Strided,
    /// A smaller leaf, broadcast.
    Broadcast,
}

pub const VIEWS: [View; 6] =
    [View::Plain, View::Leaf, View::Transposed, View::Narrowed, View::Strided, View::Broadcast];

type Opened = Box<dyn Fn(&Var) -> Result<Var>>;

/// A leaf, and the function from it to an input of `x`'s shape.
pub fn seen_through(view: View, x: &Tensor) -> Result<(Tensor, Opened)> {
    let shape = x.shape().to_vec();
    let n = shape.last().copied().unwrap_or(0);
    let rank = shape.len();
    let repeated = (0..rank).find(|&d| shape[d] > 1);
    Ok(match view {
        View::Leaf if rank > 1 => {
            let leaf = x.transpose(0, -1)?.copy()?.transpose(0, -1)?;
            (leaf, Box::new(|v| Ok(v.clone())))
        }
        View::Transposed if rank > 1 => {
            (x.transpose(0, -1)?.copy()?, Box::new(|v| v.transpose(0, -1)))
        }
        View::Narrowed if rank > 0 => {
            (x.pad_zeros(-1, 1, 2)?, Box::new(move |v| v.narrow(-1, 1, n)))
        }
        View::Strided => {
            let other = x.mul_scalar(-3.0)?;
            (Tensor::stack(&[&other, x], -1)?, Box::new(|v| v.select(-1, 1)))
        }
        View::Broadcast if repeated.is_some() => {
            let d = repeated.expect("just found") as isize;
            (x.narrow(d, 0, 1)?.copy()?, Box::new(move |v| v.broadcast_to(&shape)))
        }
        _ => (x.clone(), Box::new(|v| Ok(v.clone()))),
    })
}
