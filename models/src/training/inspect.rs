//! The weights and gradients of a run, looked at from outside.

use gradus_autograd::Gradients;
use gradus_nn::Parameter;
use gradus_tensor::{DType, Tensor};

use crate::Result;
use crate::family::layer_of;

/// The weights, and the gradients of the last step.
pub struct Inspection<'a> {
    /// Optimiser steps done.
    pub step: u64,
    /// The parameters, after the step.
    pub parameters: &'a [Parameter],
    pub(super) gradients: &'a Gradients,
    pub(super) loss_scale: f64,
}

/// The Euclidean norms of a part of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Norms {
    /// `embeddings`, `layer 0`, …, or the first part of the parameters' names, such as
    /// `classifier`.
    pub part: String,
    /// The norm of its weights.
    pub weights: f64,
    /// The norm of its gradients before clipping; `None` where it has none.
    pub gradients: Option<f64>,
}

impl Inspection<'_> {
    /// The gradient of a parameter before clipping, in f32; `None` where it has none.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn gradient(&self, parameter: &Parameter) -> Result<Option<Tensor>> {
        let Some(gradient) = parameter.grad(self.gradients) else { return Ok(None) };
        Ok(Some(gradient.to_dtype(DType::F32)?.mul_scalar(1.0 / self.loss_scale)?))
    }

    /// The norms of every part of the model, in the order of its parameters.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn norms(&self) -> Result<Vec<Norms>> {
        let mut parts: Vec<(String, Vec<&Parameter>)> = Vec::new();
        for parameter in self.parameters {
            let name = part(parameter.name());
            match parts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, parameters)) => parameters.push(parameter),
                None => parts.push((name, vec![parameter])),
            }
        }
        parts.into_iter().map(|(part, parameters)| self.norms_of(part, &parameters)).collect()
    }

    fn norms_of(&self, part: String, parameters: &[&Parameter]) -> Result<Norms> {
        let weights: Vec<Tensor> = parameters.iter().map(|p| p.tensor()).collect();
        let gradients: Vec<&Tensor> =
            parameters.iter().filter_map(|p| p.grad(self.gradients)).collect();
        let norm = |tensors: &[&Tensor]| Tensor::global_norm(tensors)?.item();
        Ok(Norms {
            part,
            weights: norm(&weights.iter().collect::<Vec<_>>())?,
            gradients: match gradients.is_empty() {
                true => None,
                false => Some(norm(&gradients)? / self.loss_scale),
            },
        })
    }
}

/// The part of the model that a parameter belongs to.
fn part(name: &str) -> String {
    if let Some((layer, _)) = layer_of(name) {
        return format!("layer {layer}");
    }
    let words: Vec<&str> = name.split('.').collect();
    let known = ["embeddings", "pooler"].into_iter().find(|known| words.contains(known));
    known.unwrap_or(words[0]).to_string()
}

#[cfg(test)]
mod tests {
    use gradus_nn::{Init, Store};

    use super::*;

    #[test]
    fn parts_of_the_model() {
        for (name, expected) in [
            ("bert.embeddings.word_embeddings.weight", "embeddings"),
            ("bert.encoder.layer.11.output.dense.bias", "layer 11"),
            ("bert.pooler.dense.weight", "pooler"),
            ("classifier.weight", "classifier"),
        ] {
            assert_eq!(part(name), expected);
        }
    }

    #[test]
    fn norms_are_those_of_all_parameters_of_a_part() {
        let store = Store::new(0);
        for name in ["encoder.layer.0.a", "encoder.layer.0.b", "head.w"] {
            store.root().parameter(name, &[4], Init::Ones).unwrap();
        }
        let parameters = store.parameters();
        let loss = parameters[0].var().mul_scalar(3.0).unwrap().sum_all().unwrap();
        let loss = loss.add(&parameters[1].var().mul_scalar(4.0).unwrap().sum_all().unwrap());
        let gradients = loss.unwrap().backward().unwrap();
        let inspection =
            Inspection { step: 1, parameters: &parameters, gradients: &gradients, loss_scale: 2.0 };
        let norms = inspection.norms().unwrap();
        let rounded: Vec<(&str, f64, Option<f64>)> = norms
            .iter()
            .map(|norms| (norms.part.as_str(), norms.weights.powi(2), norms.gradients))
            .map(|(part, weights, gradients)| (part, weights.round(), gradients))
            .collect();
        // √(4·3² + 4·4²) = 10, of a loss times 2.
        assert_eq!(rounded, [("layer 0", 8.0, Some(5.0)), ("head", 4.0, None)]);
        let gradient = inspection.gradient(&parameters[0]).unwrap().unwrap();
        assert_eq!(gradient.to_vec::<f32>().unwrap(), [1.5; 4]);
    }
}
