// Chapter 8, optimisers. Exercise 3: clipping by the global norm.
//
// Now and then a batch has a gradient a hundred times as long as usual, and one step along it undoes
// an hour of training. Clipping limits the length of the step and keeps its direction. All gradients
// of a model together are one long vector; its length is the global norm:
//
//     ‖g‖ = √(Σ g²) over all numbers of all gradients
//     factor = min(1, max_norm / (‖g‖ + 1e-6))
//
// Every gradient is multiplied by the same factor. Clipping each tensor by itself would change the
// direction.
//
// Paper: Pascanu et al., arXiv:1211.5063. Read: nn/src/optim/clip.rs; the engine does not multiply
// the gradients, it gives the factor to the optimiser's kernel.

/// The global norm of the gradients, and the factor that brings it down to `max_norm`.
fn clip(grads: &[Vec<f64>], max_norm: f64) -> (f64, f64) {
    // TODO: one norm over all lists together, then the factor.
    todo!("the norm of all numbers together, and the factor")
}

fn main() {
    let (norm, factor) = clip(&[vec![3.0, 0.0], vec![4.0]], 1.0);
    println!("the gradients (3, 0) and (4) together have norm {norm}; factor {factor:.4}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::*;

    /// Gives the engine the same gradients: those of Σ p·g.
    fn beside_the_engine(grads: &[Vec<f64>], max_norm: f64) {
        let parameters: Vec<Parameter> = (grads.iter().enumerate())
            .map(|(i, g)| {
                let zeros = Tensor::zeros(&[g.len()], DType::F64).unwrap();
                Parameter::new(format!("p{i}"), zeros).unwrap()
            })
            .collect();
        let mut sum = Var::constant(Tensor::scalar(0f64));
        for (p, g) in parameters.iter().zip(grads) {
            let g = Var::constant(Tensor::from_slice(g, &[g.len()]).unwrap());
            sum = sum.add(&p.var().mul(&g).unwrap().sum_all().unwrap()).unwrap();
        }
        let engine = clip_grad_norm(&sum.backward().unwrap(), &parameters, max_norm).unwrap();
        let expected = [engine.norm.item().unwrap(), engine.scale.item().unwrap()];
        let (norm, factor) = clip(grads, max_norm);
        let input = format!("gradients {grads:?}, max_norm {max_norm}");
        check::near("[norm, factor]", input, &[norm, factor][..], &expected[..], 1e-9);
    }

    #[test]
    fn long_gradients_become_shorter() {
        beside_the_engine(&[vec![3.0, 0.0], vec![4.0]], 1.0);
        beside_the_engine(&[vec![1.0, -2.0, 3.0], vec![-100.0], vec![0.5; 7]], 2.5);
    }

    #[test]
    fn short_gradients_stay() {
        beside_the_engine(&[vec![0.1, 0.2], vec![-0.3]], 1.0);
    }

    #[test]
    fn no_gradient_at_all() {
        beside_the_engine(&[vec![0.0; 3], vec![0.0]], 1.0);
    }
}
