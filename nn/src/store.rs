//! The named parameters of a model, and paths into them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gradus_tensor::{DType, Device, Result, RngKey, Tensor, bail};

use crate::{Init, Parameter};

/// Where parameters come from: a checkpoint.
pub trait Source: Send + Sync {
    /// The tensor of this name; `None` if there is none.
    fn tensor(&self, name: &str) -> Result<Option<Tensor>>;
}

/// The parameters of a model, by name. Cloning copies nothing.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    key: RngKey,
    dtype: DType,
    source: Option<Box<dyn Source>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    device: Device,
    parameters: Vec<Parameter>,
    by_name: HashMap<String, usize>,
    missing: Vec<String>,
}

impl Store {
    fn make(seed: u64, dtype: DType, source: Option<Box<dyn Source>>) -> Self {
        let key = RngKey::new(seed);
        Store(Arc::new(Inner { key, dtype, source, state: Mutex::default() }))
    }

    /// A store whose parameters (f32) are initialised at random.
    pub fn new(seed: u64) -> Self {
        Self::make(seed, DType::F32, None)
    }

    /// A store whose parameters come from `source`, converted to f32; those that it lacks are
    /// initialised at random and reported by [`missing`](Store::missing).
    pub fn with_source(seed: u64, source: impl Source + 'static) -> Self {
        Self::make(seed, DType::F32, Some(Box::new(source)))
    }

    /// [`new`](Store::new) in another dtype (f64 for a gradient check of a whole model).
    pub fn in_dtype(seed: u64, dtype: DType) -> Self {
        Self::make(seed, dtype, None)
    }

    /// The path from which a model is built.
    pub fn root(&self) -> Path {
        Path { store: self.clone(), name: String::new() }
    }

    /// All parameters, in the order in which they were first asked for.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.state().parameters.clone()
    }

    /// The parameter of this full name, if a model has asked for it.
    pub fn get(&self, name: &str) -> Option<Parameter> {
        let state = self.state();
        state.by_name.get(name).map(|&i| state.parameters[i].clone())
    }

    /// Names that the source did not have: these parameters were initialised at random. Empty if
    /// there is no source.
    pub fn missing(&self) -> Vec<String> {
        self.state().missing.clone()
    }

    /// Where the parameters lie: the CPU, unless they were moved.
    pub fn device(&self) -> Device {
        self.state().device
    }

    /// Moves all parameters to `device`, and makes there those that are still to come: so it may be
    /// called before or after the model is built.
    ///
    /// # Errors
    /// If the device cannot hold them; the message names the parameter.
    pub fn to_device(&self, device: Device) -> Result<()> {
        let mut state = self.state();
        state.device = device;
        state.parameters.iter().try_for_each(|parameter| parameter.to_device(device))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is changed only after everything that can fail.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parameter(&self, name: &str, shape: &[usize], init: Init) -> Result<Parameter> {
        let mut state = self.state();
        if let Some(&i) = state.by_name.get(name) {
            let parameter = &state.parameters[i];
            if parameter.shape() != shape {
                bail!(
                    "parameter",
                    Shape,
                    "{name} is asked for as {shape:?}, but exists as {:?}; a shared parameter has \
                     one shape",
                    parameter.shape()
                );
            }
            return Ok(parameter.clone());
        }
        let given = match &self.0.source {
            Some(source) => source.tensor(name)?,
            None => None,
        };
        let found = given.is_some();
        let tensor = match given {
            Some(tensor) if tensor.shape() != shape => bail!(
                "parameter",
                Shape,
                "{name} is {:?} in the checkpoint, but {shape:?} in the model; does config.json \
                 belong to these weights?",
                tensor.shape()
            ),
            Some(tensor) if !tensor.dtype().is_float() => bail!(
                "parameter",
                DType,
                "{name} is {} in the checkpoint; a parameter is a float",
                tensor.dtype()
            ),
            Some(tensor) => tensor.to_dtype(self.0.dtype)?,
            None => {
                init.tensor(shape, self.0.dtype, self.0.key.place(name)).map_err(|e| e.at(name))?
            }
        };
        let tensor = tensor.to_device(state.device).map_err(|e| e.at(name))?;
        let parameter = Parameter::new(name, tensor)?;
        if !found && self.0.source.is_some() {
            state.missing.push(name.to_string());
        }
        let index = state.parameters.len();
        state.by_name.insert(name.to_string(), index);
        state.parameters.push(parameter.clone());
        Ok(parameter)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.state().parameters.iter()).finish()
    }
}

/// A place in a [`Store`], from which a module takes its parameters: `encoder.layer.3.attention`.
///
/// `&path / "attention" / 3` is `path.join("attention").join(3)`.
#[derive(Clone)]
pub struct Path {
    store: Store,
    name: String,
}

impl Path {
    /// The place `name` below this one.
    pub fn join(&self, name: impl fmt::Display) -> Path {
        Path { store: self.store.clone(), name: self.full(name) }
    }

    /// The full name of this place; empty at the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The parameter `name` at this place: from the store's source if that has it, else
    /// initialised.
    ///
    /// The initial value depends on the store's seed and the full name alone, not on the order in
    /// which a model is built. Asking twice gives the same parameter: so weights are tied.
    ///
    /// # Errors
    /// If the source's tensor, or the parameter that exists already, has another shape.
    pub fn parameter(&self, name: &str, shape: &[usize], init: Init) -> Result<Parameter> {
        self.store.parameter(&self.full(name), shape, init)
    }

    fn full(&self, name: impl fmt::Display) -> String {
        if self.name.is_empty() { name.to_string() } else { format!("{}.{name}", self.name) }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({})", self.name)
    }
}

impl<T: fmt::Display> std::ops::Div<T> for &Path {
    type Output = Path;
    fn div(self, name: T) -> Path {
        self.join(name)
    }
}

impl<T: fmt::Display> std::ops::Div<T> for Path {
    type Output = Path;
    fn div(self, name: T) -> Path {
        self.join(name)
    }
}
