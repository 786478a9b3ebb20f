//! Reverse-mode differentiation: gradients flow from the outputs to the leaves. The walk itself is
//! in `walk.rs`.

use std::collections::HashSet;

use gradus_tensor::{ErrorKind, Result, Tensor, bail};

use crate::gradients::Gradients;
use crate::var::{Var, VarId};
use crate::walk::{BackwardOptions, Targets, walk};

impl Var {
    /// The gradients of this scalar with respect to every leaf it depends on.
    ///
    /// Frees what the operations saved, each as soon as its rule has run; a second backward over
    /// the same graph is an error (see [`BackwardOptions::retain_graph`]).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// let w = Var::leaf(Tensor::from_slice(&[3f32, 4.0], &[2])?);
    /// let grads = x.mul(&w)?.sum_all()?.backward()?; // Σxw
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [3.0, 4.0]);
    /// assert_eq!(grads.get(&w).unwrap().to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If this is not a scalar, or depends on no leaf.
    pub fn backward(&self) -> Result<Gradients> {
        self.backward_with(None, BackwardOptions::default())
    }

    /// [`backward`](Var::backward) from a given gradient of this variable (ones for a scalar if
    /// `None`), with options.
    ///
    /// ```
    /// # use gradus_autograd::{BackwardOptions, Var};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// let grad = Tensor::from_slice(&[1f32, 10.0], &[2])?;
    /// let grads = x.square()?.backward_with(Some(grad), BackwardOptions::default())?;
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [2.0, 40.0]); // 2x times the gradient
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn backward_with(
        &self,
        grad: Option<Tensor>,
        options: BackwardOptions,
    ) -> Result<Gradients> {
        self.backward_with_hook(grad, options, |_, _| Ok(()))
    }

    /// [`backward_with`](Var::backward_with) that calls `hook` with each gradient that it returns:
    /// those of leaves, and those of values with [`retain_grad`](Var::retain_grad). The call comes
    /// as soon as all operations that used the value have sent their part; other operations may
    /// still be ahead. Training on several machines can send this gradient in the meantime.
    ///
    /// ```
    /// use gradus_autograd::{BackwardOptions, Var};
    /// use gradus_tensor::Tensor;
    ///
    /// let x = Var::leaf(Tensor::from_slice(&[3f32], &[1])?);
    /// let w = Var::leaf(Tensor::from_slice(&[2f32], &[1])?);
    /// let y = x.square()?.mul(&w)?; // w is used last, so its gradient is complete first
    /// let mut order = Vec::new();
    /// y.backward_with_hook(None, BackwardOptions::default(), |leaf, _| {
    ///     order.push(leaf);
    ///     Ok(())
    /// })?;
    /// assert_eq!(order, [w.id().unwrap(), x.id().unwrap()]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`backward`](Var::backward), and an error of `hook`, which ends the walk.
    pub fn backward_with_hook(
        &self,
        grad: Option<Tensor>,
        options: BackwardOptions,
        mut hook: impl FnMut(VarId, &Tensor) -> Result<()>,
    ) -> Result<Gradients> {
        if self.node.is_none() {
            bail!(
                "backward",
                "the value (shape {:?}) depends on no variable that needs a gradient; make leaves \
                 with Var::leaf and compute outside no_grad",
                self.shape()
            );
        }
        let seed = seed_grad(self, grad.map(Var::constant))?;
        let by_id = walk(vec![(self.clone(), seed)], None, options, &mut |id, grad| {
            hook(id, grad.tensor())
        })?;
        Ok(Gradients { by_id })
    }
}

fn seed_grad(output: &Var, grad: Option<Var>) -> Result<Var> {
    match grad {
        Some(grad) if grad.shape() == output.shape() && grad.dtype() == output.dtype() => Ok(grad),
        Some(grad) => bail!(
            "backward",
            kind = ErrorKind::shape_or_dtype(grad.shape() != output.shape()),
            "the gradient given is {:?} {}, the value {:?} {}; both must match",
            grad.shape(),
            grad.dtype(),
            output.shape(),
            output.dtype()
        ),
        None if output.numel() == 1 => Ok(Var::constant(output.tensor().ones_like()?)),
        None => bail!(
            "backward",
            Shape,
            "starts from one number, the value has shape {:?}; reduce it or give its gradient",
            output.shape()
        ),
    }
}

/// The gradients of `outputs` with respect to `inputs` (leaves or intermediate values), as
/// `torch.autograd.grad`: only what lies between them is computed. `None` for an input that the
/// outputs do not depend on. `grad_outputs` defaults to ones for scalars.
///
/// ```
/// # use gradus_autograd::{BackwardOptions, Var, grad};
/// # use gradus_tensor::Tensor;
/// let x = Var::leaf(Tensor::scalar(3f64));
/// let y = x.powf(3.0)?;
/// let recorded = BackwardOptions { create_graph: true, ..Default::default() };
/// let first = grad(&[y], &[x.clone()], None, recorded)?[0].clone().unwrap();
/// assert_eq!(first.item()?, 27.0); // 3x²
/// let second = grad(&[first], &[x], None, BackwardOptions::default())?;
/// assert_eq!(second[0].as_ref().unwrap().item()?, 18.0); // 6x
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn grad(
    outputs: &[Var],
    inputs: &[Var],
    grad_outputs: Option<&[Var]>,
    options: BackwardOptions,
) -> Result<Vec<Option<Var>>> {
    if grad_outputs.is_some_and(|g| g.len() != outputs.len()) {
        bail!("grad", "{} outputs need as many gradients", outputs.len());
    }
    let mut seeds = Vec::new();
    for (i, output) in outputs.iter().enumerate() {
        let seed = seed_grad(output, grad_outputs.map(|g| g[i].clone()))?;
        if output.node.is_some() {
            seeds.push((output.clone(), seed));
        }
    }
    let targets: HashSet<u64> = inputs.iter().filter_map(|v| v.id()).map(|id| id.0).collect();
    let by_id =
        walk(seeds, Some(Targets { ids: &targets, stop: false }), options, &mut |_, _| Ok(()))?;
    Ok(inputs.iter().map(|v| by_id.get(&v.id()?.0).cloned()).collect())
}
