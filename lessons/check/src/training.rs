//! A small network and its data, for the exercises about training.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gradus_autograd::{Var, is_grad_enabled};
use gradus_nn::{Dropout, Forward, Init, Linear, Store};
use gradus_tensor::{DType, Result, RngKey, Tensor};

use crate::near;

/// Examples: two numbers each, `[n, 2]`, and a label each, 0 or 1.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The numbers.
    pub x: Var,
    /// The labels, u32 `[n]`.
    pub labels: Tensor,
}

/// How [`Network::forward`] was called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call {
    /// What it was told.
    pub forward: Forward,
    /// Whether a graph was recorded.
    pub recorded: bool,
}

/// Two linear layers with dropout between them: two numbers to the logits of two labels.
pub struct Network {
    /// Its parameters.
    pub store: Store,
    first: Linear,
    second: Linear,
    dropout: Dropout,
    calls: Mutex<Vec<Call>>,
}

impl Network {
    /// With weights that depend on `seed`.
    ///
    /// # Errors
    /// If memory is short.
    pub fn new(seed: u64) -> Result<Network> {
        let store = Store::new(seed);
        let root = store.root();
        Ok(Network {
            first: Linear::new(&root.join("first"), 2, 24, Init::Normal { std: 0.7 })?,
            second: Linear::new(&root.join("second"), 24, 2, Init::Normal { std: 0.3 })?,
            dropout: Dropout::new(&root.join("dropout"), 0.2)?,
            calls: Mutex::default(),
            store,
        })
    }

    /// The logits `[n, 2]` of `x` `[n, 2]`. `forward` says whether dropout is on, and from which random
    /// numbers it draws.
    ///
    /// # Errors
    /// If the shape does not fit.
    pub fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        self.noted().push(Call { forward: *forward, recorded: is_grad_enabled() });
        self.second.forward(&self.dropout.forward(&self.first.forward(x)?.tanh()?, forward)?)
    }

    /// The calls of [`forward`](Network::forward) since the last time this was asked.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.noted())
    }

    /// The bits of all weights, in the order of their names.
    fn bits(&self) -> Vec<u32> {
        let mut parameters = self.store.parameters();
        parameters.sort_by(|a, b| a.name().cmp(b.name()));
        let numbers = parameters.iter().flat_map(|p| p.tensor().to_f64_vec());
        numbers.map(|x| (x as f32).to_bits()).collect()
    }

    fn noted(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `batches` batches of `size` points. A point's label is 1 if both of its numbers have one sign.
///
/// # Errors
/// If memory is short.
pub fn points(batches: u64, size: usize) -> Result<Vec<Batch>> {
    let batch = |number: u64| -> Result<Batch> {
        let key = RngKey::new(3).place("points").step(number);
        let x = Tensor::randn(&[size, 2], DType::F32, key)?;
        let label = |p: &[f32]| u32::from(p[0] * p[1] > 0.0);
        let labels: Vec<u32> = x.to_vec::<f32>()?.chunks(2).map(label).collect();
        Ok(Batch { x: Var::constant(x), labels: Tensor::from_slice(&labels, &[size])? })
    };
    (0..batches).map(batch).collect()
}

/// Asserts that two networks have the same weights, bit for bit.
///
/// # Panics
/// If they differ, with the parameter and the first number that is wrong.
#[track_caller]
pub fn same_weights(input: &str, yours: &Network, expected: &Network) {
    for parameter in expected.store.parameters() {
        let name = parameter.name();
        let mine = yours.store.get(name).expect("both are networks").tensor();
        near(&format!("the weights `{name}`"), input, &mine, &parameter.tensor(), 0.0);
    }
    assert!(yours.bits() == expected.bits(), "{input}: a weight is 0 with another sign");
}

/// A folder that is gone when the value is.
///
/// # Panics
/// If it cannot be made.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}
