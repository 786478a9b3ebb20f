//! Activation checkpointing (Chen et al., arXiv:1604.06174): compute again instead of keeping.

use std::collections::HashSet;

use gradus_tensor::{Result, bail};

use crate::mode;
use crate::op::Op;
use crate::trace::Told;
use crate::var::Var;
use crate::walk::{BackwardOptions, Targets, walk};

/// Runs `f` without keeping what its operations save; backward runs it again and differentiates
/// that run. This costs one more forward and saves the memory of what lies between the inputs of
/// `f` and its output.
///
/// `f` may use any variable it captures (parameters, other activations): each that it reads gets
/// its gradient. It must compute the same result in both runs; random numbers from an
/// [`RngKey`](gradus_tensor::RngKey) are the same in both.
///
/// ```
/// # use gradus_autograd::{Var, checkpoint};
/// # use gradus_tensor::Tensor;
/// let x = Var::leaf(Tensor::scalar(2f32));
/// let captured = x.clone();
/// let y = checkpoint(move || captured.square()?.square())?; // x² is not kept
/// assert_eq!(y.item()?, 16.0);
/// assert_eq!(y.backward()?.get(&x).unwrap().item()?, 32.0); // 4x³
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn checkpoint(f: impl Fn() -> Result<Var> + Send + Sync + 'static) -> Result<Var> {
    if !mode::is_grad_enabled() {
        return f();
    }
    let (output, nodes) = mode::watching(&f);
    let output = output?.into_tensor();
    // Stand-ins that carry the graph nodes which `f` reads; no operation looks at their value.
    let edges: Vec<Var> =
        nodes.iter().map(|n| Var::with_node(output.clone(), Some(n.clone()))).collect();
    let shapes: Vec<_> = nodes.iter().map(|n| n.shape.clone()).collect();
    let ids: Vec<u64> = nodes.iter().map(|n| n.id).collect();
    let (autocast, low) = (mode::autocast_dtype(), mode::low());
    Var::record_edges(
        Op::Checkpoint,
        output,
        &edges.iter().collect::<Vec<_>>(),
        (Some(shapes), Told::new()),
        move |c| {
            let run = || mode::low_precision(low, || mode::recording(&f));
            let again = mode::autocast(autocast, run)?;
            if again.shape() != c.grad().shape() {
                bail!(
                    "checkpoint",
                    "the function gave {:?} in forward and {:?} when run again in backward; it \
                     must compute the same both times",
                    c.grad().shape(),
                    again.shape()
                );
            }
            let targets: HashSet<u64> = ids.iter().copied().collect();
            let options = BackwardOptions { create_graph: c.create_graph(), retain_graph: false };
            // Stop at what `f` read: the outer backward differentiates the rest.
            let mut grads = walk(
                vec![(again, c.grad().clone())],
                Some(Targets { ids: &targets, stop: true }),
                options,
                &mut |_, _| Ok(()),
            )?;
            (0..ids.len())
                .map(|i| match grads.remove(&ids[i]) {
                    _ if !c.wants(i) => Ok(None),
                    Some(grad) => Ok(Some(grad)),
                    // `f` read it, but it has no influence on the result (through a detach, say).
                    None => Ok(Some(Var::constant(gradus_tensor::Tensor::zeros_on(
                        c.input_shape(i),
                        c.input_dtype(i),
                        c.grad().device(),
                    )?))),
                })
                .collect()
        },
    )
}
