//! PyTorch's values (`golden/golden.json`, made by `golden/make.py`), and comparisons with them.

use std::collections::HashMap;
use std::sync::LazyLock;

use gradus_autograd::{BackwardOptions, Gradients, Var};
use gradus_nn::Source;
use gradus_tensor::{Result, Tensor};
use gradus_testing::{assert_near, largest};

#[derive(serde::Deserialize)]
struct Value {
    shape: Vec<usize>,
    data: Vec<f64>,
}

static GOLDEN: LazyLock<HashMap<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../golden/golden.json")).expect("golden.json is valid")
});

fn value(name: &str) -> &'static Value {
    GOLDEN.get(name).unwrap_or_else(|| panic!("golden.json has no {name}"))
}

pub fn has(name: &str) -> bool {
    GOLDEN.contains_key(name)
}

pub fn numbers(name: &str) -> &'static [f64] {
    &value(name).data
}

pub fn tensor(name: &str) -> Tensor {
    let data: Vec<f32> = value(name).data.iter().map(|&x| x as f32).collect();
    Tensor::from_slice(&data, &value(name).shape).unwrap()
}

pub fn ids(name: &str) -> Tensor {
    let data: Vec<u32> = value(name).data.iter().map(|&x| x as u32).collect();
    Tensor::from_slice(&data, &value(name).shape).unwrap()
}

pub fn leaf(name: &str) -> Var {
    Var::leaf(tensor(name))
}

/// Asserts that a tensor has the shape of PyTorch's and, within `tolerance` of the largest, its
/// values.
pub fn assert_close(actual: &Tensor, name: &str, tolerance: f64) {
    let expected = value(name);
    assert_eq!(actual.shape(), expected.shape, "shape of {name}");
    let within = tolerance * largest(&expected.data, 1e-3);
    assert_near(name, actual, &expected.data, |_| within);
}

/// Runs backward from `output` with the case's seed; checks the output and the gradients given.
pub fn check(case: &str, output: &Var, inputs: &[(&str, &Var)], tolerance: f64) -> Gradients {
    assert_close(output.tensor(), &format!("{case}.output"), tolerance);
    let seed = tensor(&format!("{case}.seed"));
    let grads = output.backward_with(Some(seed), BackwardOptions::default()).unwrap();
    for (name, var) in inputs {
        let grad = grads.get(var).unwrap_or_else(|| panic!("{case}: no gradient for {name}"));
        assert_close(grad, &format!("{case}.grad.{name}"), tolerance);
    }
    grads
}

/// The golden values whose names begin with a prefix, as a checkpoint.
pub struct GoldenSource(pub &'static str);

impl Source for GoldenSource {
    fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let name = format!("{}{name}", self.0);
        Ok(has(&name).then(|| tensor(&name)))
    }
}

/// Runs `body` in a pool of `threads` threads.
pub fn with_threads<R: Send>(threads: usize, body: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(body)
}
