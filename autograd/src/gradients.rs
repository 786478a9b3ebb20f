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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let (x, unused) = (Var::leaf(Tensor::scalar(3f32)), Var::leaf(Tensor::scalar(1f32)));
    /// let grads = x.square()?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().item()?, 6.0);
    /// assert!(grads.get(&unused).is_none());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn get(&self, var: &Var) -> Option<&Tensor> {
        self.get_var(var).map(Var::tensor)
    }

    /// The gradient as a variable: differentiable if backward ran with `create_graph`.
    ///
    /// ```
    /// # use gradus_autograd::{BackwardOptions, Var};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f64));
    /// let recorded = BackwardOptions { create_graph: true, ..Default::default() };
    /// let grads = x.powf(3.0)?.backward_with(None, recorded)?;
    /// let slope = grads.get_var(&x).unwrap(); // 3x²
    /// assert_eq!(slope.backward()?.get(&x).unwrap().item()?, 18.0); // 6x
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn get_var(&self, var: &Var) -> Option<&Var> {
        self.by_id.get(&var.id()?.0)
    }

    /// The gradient by the variable's identity.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let grads = x.square()?.backward()?;
    /// assert_eq!(grads.get_id(x.id().unwrap()).unwrap().item()?, 6.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn get_id(&self, id: VarId) -> Option<&Tensor> {
        self.by_id.get(&id.0).map(Var::tensor)
    }

    /// Takes a gradient out.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let mut grads = x.square()?.backward()?;
    /// assert_eq!(grads.remove(&x).unwrap().item()?, 6.0);
    /// assert!(grads.is_empty());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn remove(&mut self, var: &Var) -> Option<Tensor> {
        self.by_id.remove(&var.id()?.0).map(Var::into_tensor)
    }

    /// Puts a gradient in, such as one that another process computed, in the place of the one that
    /// is there.
    ///
    /// ```
    /// # use gradus_autograd::{Gradients, Var};
    /// # use gradus_tensor::Tensor;
    /// let w = Var::leaf(Tensor::scalar(2f32));
    /// let mut grads = Gradients::default();
    /// grads.insert(w.id().unwrap(), Tensor::scalar(5f32));
    /// assert_eq!(grads.get(&w).unwrap().item()?, 5.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn insert(&mut self, id: VarId, grad: Tensor) {
        self.by_id.insert(id.0, Var::constant(grad));
    }

    /// Adds another backward's gradients to these: gradient accumulation over several batches.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let w = Var::leaf(Tensor::scalar(2f32));
    /// let mut grads = w.square()?.backward()?; // 2w = 4
    /// grads.accumulate(w.mul_scalar(3.0)?.backward()?)?; // 3
    /// assert_eq!(grads.get(&w).unwrap().item()?, 7.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let w = Var::leaf(Tensor::scalar(2f32));
    /// let mut grads = w.square()?.backward()?;
    /// grads.scale(0.5)?;
    /// assert_eq!(grads.get(&w).unwrap().item()?, 2.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
