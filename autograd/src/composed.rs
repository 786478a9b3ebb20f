//! Gradients by differentiating a composed form: so a fused operation gets its second derivative.

use gradus_tensor::Result;

use crate::backward::grad;
use crate::context::Context;
use crate::mode;
use crate::var::Var;
use crate::walk::BackwardOptions;

impl Context<'_> {
    /// Computes the gradients by differentiating a composed form of the operation instead of using
    /// its fused kernel: so a fused operation gets its second derivative. The operation must save
    /// all its inputs.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let value = Tensor::scalar(8f64); // x³, from a kernel of its own
    /// let cube = Var::custom("cube", value, &[&x], |c| c.composed(|v| v[0].powf(3.0)))?;
    /// assert_eq!(cube.backward()?.get(&x).unwrap().item()?, 12.0); // 3x²
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn composed(
        &self,
        forward: impl FnOnce(&[&Var]) -> Result<Var>,
    ) -> Result<Vec<Option<Var>>> {
        let inputs: Vec<(Var, bool)> =
            (0..self.inputs()).map(|i| (self.input(i).clone(), self.wants(i))).collect();
        self.differentiated(inputs, forward)
    }

    /// [`composed`](Context::composed) of other inputs than the operation's own, each with whether
    /// its gradient is wanted.
    pub(crate) fn differentiated(
        &self,
        inputs: Vec<(Var, bool)>,
        forward: impl FnOnce(&[&Var]) -> Result<Var>,
    ) -> Result<Vec<Option<Var>>> {
        let wants: Vec<bool> = inputs.iter().map(|(_, wanted)| *wanted).collect();
        // Aliases give each input a place of its own: one variable may be several inputs, and one
        // input may depend on another.
        let (inputs, output) = mode::enable_grad(|| {
            let inputs =
                inputs.iter().map(|(input, _)| input.alias()).collect::<Result<Vec<Var>>>()?;
            let output = forward(&inputs.iter().collect::<Vec<_>>())?;
            Ok::<_, gradus_tensor::Error>((inputs, output))
        })?;
        let wanted: Vec<Var> =
            (0..inputs.len()).filter(|&i| wants[i]).map(|i| inputs[i].clone()).collect();
        let options = BackwardOptions { create_graph: self.create_graph, retain_graph: true };
        let mut grads =
            grad(&[output], &wanted, Some(std::slice::from_ref(self.grad())), options)?.into_iter();
        (0..inputs.len())
            .map(|i| match wants[i] {
                false => Ok(None),
                true => match grads.next().flatten() {
                    Some(grad) => Ok(Some(grad)),
                    None => Ok(Some(Var::constant(inputs[i].tensor().zeros_like()?))),
                },
            })
            .collect()
    }
}
