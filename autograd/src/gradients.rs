//! The gradients that a backward pass returns.

use std::collections::HashMap;

use gradus_tensor::{Result, Tensor};

use crate::var::{Var, VarId};
use crate::walk::add_grads;

/// The gradients of one backward, by variable.
#[derive(Default, Clone)]
pub struct Gradients {
    pub(crate) by_id: HashMap<u64, Var>,
}

impl Gradients {
    /// The gradient of a leaf (or of an intermediate value with
    /// [`retain_grad`](Var::retain_grad)); `None` if none reached it.
    pub fn get(&self, var: &Var) -> Option<&Tensor> {
        self.get_var(var).map(Var::tensor)
    }

    /// The gradient as a variable: differentiable if backward ran with `create_graph`.
    pub fn get_var(&self, var: &Var) -> Option<&Var> {
        self.by_id.get(&var.id()?.0)
    }

    /// The gradient by the variable's identity.
    pub fn get_id(&self, id: VarId) -> Option<&Tensor> {
        self.by_id.get(&id.0).map(Var::tensor)
    }

    /// Takes a gradient out.
    pub fn remove(&mut self, var: &Var) -> Option<Tensor> {
        self.by_id.remove(&var.id()?.0).map(Var::into_tensor)
    }

    /// Adds another backward's gradients to these: gradient accumulation over several batches.
    pub fn accumulate(&mut self, other: Gradients) -> Result<()> {
        for (id, grad) in other.by_id {
            match self.by_id.remove(&id) {
                None => {
                    self.by_id.insert(id, grad);
                }
                Some(mine) => {
                    self.by_id.insert(id, add_grads(mine, grad, false)?);
                }
            }
        }
        Ok(())
    }

    /// Multiplies every gradient by `factor`.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for grad in self.by_id.values_mut() {
            let mut tensor =
                std::mem::replace(grad, Var::constant(Tensor::scalar(0f32))).into_tensor();
            let scaled = tensor.mul_scalar_(factor);
            *grad = Var::constant(tensor);
            scaled?;
        }
        Ok(())
    }

    /// Number of variables with a gradient.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no variable has a gradient.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
