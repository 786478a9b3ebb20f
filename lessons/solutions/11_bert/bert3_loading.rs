// Chapter 11, BERT. Exercise 3: weights by name.
//
// A checkpoint is a file of tensors with names. No table says which tensor belongs where: the names
// do, so a model that asks for the right names loads. Two things differ from file to file:
//
// - A model with a head has `bert.` before the encoder's names, a bare encoder has not.
// - Old files call the weight of a layer norm `gamma` and its bias `beta`.
//
// Files may hold 16-bit floats; a model computes in f32.
//
// A parameter that is not in the file is an error that names it. Nothing is worse than a model that
// seems to be trained and has random weights: it runs, and its answers are a little wrong.
//
// Read: models/src/checkpoint.rs, `spellings` and `of_files`; nn/src/store.rs, where a module asks for
// its parameters by path.

use std::collections::HashMap;

use check::models::Model;
use gradus::prelude::*;
use gradus::tensor::io::safetensors::SafeTensors;

/// The names of all parameters of an encoder with so many layers, without a pooler.
pub fn names(layers: usize) -> Vec<String> {
    let mut parts: Vec<String> = ["word", "position", "token_type"]
        .map(|table| format!("embeddings.{table}_embeddings.weight"))
        .to_vec();
    let mut modules = vec!["embeddings.LayerNorm".to_string()];
    for layer in 0..layers {
        let within = [
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "attention.output.LayerNorm",
            "intermediate.dense",
            "output.dense",
            "output.LayerNorm",
        ];
        modules.extend(within.map(|module| format!("encoder.layer.{layer}.{module}")));
    }
    for module in modules {
        parts.extend([format!("{module}.weight"), format!("{module}.bias")]);
    }
    parts
}

/// The tensors of these names in f32; of the first that the file lacks, the error has the name.
pub fn load(file: &SafeTensors, names: &[String]) -> Result<HashMap<String, Tensor>, String> {
    let mut weights = HashMap::new();
    for name in names {
        let old = name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta");
        let spellings = [name.clone(), format!("bert.{name}"), old.clone(), format!("bert.{old}")];
        let found = spellings.iter().find(|name| file.contains(name));
        let found = found.ok_or(format!("the file has no {name}"))?;
        let tensor = file.tensor(found).and_then(|x| x.to_dtype(DType::F32));
        weights.insert(name.clone(), tensor.map_err(|error| error.to_string())?);
    }
    Ok(weights)
}

fn main() {
    let model = Model::tiny();
    let weights = load(&model.file(), &names(2)).expect("the file is whole");
    let numbers: usize = weights.values().map(Tensor::numel).sum();
    println!("{} parameters, {numbers} numbers", weights.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::models::renamed;

    /// Loads a file and compares every parameter with the engine's.
    fn beside_the_engine(model: &Model, file: &SafeTensors, allowed: f64) {
        let names = names(model.config.num_hidden_layers);
        let weights = load(file, &names).unwrap_or_else(|error| panic!("load: {error}"));
        for parameter in model.store.parameters() {
            let name = parameter.name().trim_start_matches("bert.");
            let yours = weights.get(name).unwrap_or_else(|| panic!("load left out {name}"));
            check::same("the dtype", name, &[yours.dtype()], &[DType::F32]);
            let input = format!("the file has {:?}", &file.names()[..4]);
            check::near(name, input, yours, &parameter.tensor(), allowed);
        }
    }

    #[test]
    fn the_names_are_those_of_the_engine() {
        let model = Model::tiny();
        let own = |p: &Parameter| p.name().trim_start_matches("bert.").to_string();
        let mut expected: Vec<String> = model.store.parameters().iter().map(own).collect();
        let mut yours = names(2);
        expected.sort();
        yours.sort();
        check::same("the names, sorted", "2 layers", &yours, &expected);
    }

    #[test]
    fn a_bare_encoder() {
        let model = Model::tiny();
        let file =
            renamed(&model, DType::F32, |name| Some(name.trim_start_matches("bert.").to_string()));
        beside_the_engine(&model, &file, 0.0);
    }

    #[test]
    fn the_encoder_of_a_model_with_a_head() {
        let model = Model::tiny();
        let file = renamed(&model, DType::F32, |name| {
            Some(format!("bert.{}", name.trim_start_matches("bert.")))
        });
        beside_the_engine(&model, &file, 0.0);
    }

    #[test]
    fn the_old_names_of_norms() {
        let model = Model::tiny();
        let file = renamed(&model, DType::F32, |name| {
            let gamma = name.replace("LayerNorm.weight", "LayerNorm.gamma");
            Some(gamma.replace("LayerNorm.bias", "LayerNorm.beta"))
        });
        beside_the_engine(&model, &file, 0.0);
    }

    #[test]
    fn sixteen_bits_become_32() {
        let model = Model::tiny();
        let file = renamed(&model, DType::BF16, |name| Some(name.to_string()));
        beside_the_engine(&model, &file, 1e-2);
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let model = Model::tiny();
        let missing = "encoder.layer.1.intermediate.dense.bias";
        let file = renamed(&model, DType::F32, |name| {
            (!name.ends_with(missing)).then(|| name.to_string())
        });
        let error = load(&file, &names(2)).err().unwrap_or_default();
        assert!(
            error.contains(missing),
            "the file has no {missing}, and the error must say so; yours says {error:?}"
        );
    }
}
