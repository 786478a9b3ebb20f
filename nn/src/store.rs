//! The named parameters of a model, and paths into them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gradus_tensor::{DType, Device, Result, RngKey, Tensor, bail};

use crate::{Init, Lora, Parameter};

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
    /// The adaptation of the layers below a path.
    adaptation: Option<(String, Lora)>,
}

impl Store {
    fn make(seed: u64, dtype: DType, source: Option<Box<dyn Source>>) -> Self {
        let key = RngKey::new(seed);
        Store(Arc::new(Inner { key, dtype, source, state: Mutex::default() }))
    }

    /// A store whose parameters (f32) are initialised at random.
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Store};
    /// let layer = |seed| Linear::no_bias(&Store::new(seed).root(), 2, 2, Init::XavierUniform);
    /// let weight = layer(1)?.weight.tensor().to_f64_vec();
    /// assert_eq!(weight, layer(1)?.weight.tensor().to_f64_vec()); // the same seed
    /// assert_ne!(weight, layer(2)?.weight.tensor().to_f64_vec());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn new(seed: u64) -> Self {
        Self::make(seed, DType::F32, None)
    }

    /// A store whose parameters come from `source`, converted to f32; those that it lacks are
    /// initialised at random and reported by [`missing`](Store::missing).
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Source, Store};
    /// # use gradus_tensor::Tensor;
    /// # use gradus_tensor::Result;
    /// struct Checkpoint;
    /// impl Source for Checkpoint {
    ///     fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
    ///         (name == "weight").then(|| Tensor::from_slice(&[7f32], &[1, 1])).transpose()
    ///     }
    /// }
    /// let store = Store::with_source(0, Checkpoint);
    /// let layer = Linear::new(&store.root(), 1, 1, Init::XavierUniform)?;
    /// assert_eq!(layer.weight.tensor().item()?, 7.0);
    /// assert_eq!(store.missing(), ["bias"]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn with_source(seed: u64, source: impl Source + 'static) -> Self {
        Self::make(seed, DType::F32, Some(Box::new(source)))
    }

    /// [`new`](Store::new) in another dtype (f64 for a gradient check of a whole model).
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Store};
    /// # use gradus_tensor::DType;
    /// let store = Store::in_dtype(0, DType::F64);
    /// let layer = Linear::new(&store.root(), 2, 2, Init::XavierUniform)?;
    /// assert_eq!(layer.weight.dtype(), DType::F64);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn in_dtype(seed: u64, dtype: DType) -> Self {
        Self::make(seed, dtype, None)
    }

    /// The path from which a model is built.
    ///
    /// ```
    /// # use gradus_nn::Store;
    /// let store = Store::new(0);
    /// assert_eq!(store.root().name(), "");
    /// assert_eq!(store.root().join("encoder").name(), "encoder");
    /// ```
    pub fn root(&self) -> Path {
        Path { store: self.clone(), name: String::new() }
    }

    /// All parameters, in the order in which they were first asked for.
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Store};
    /// let store = Store::new(0);
    /// Linear::new(&store.root().join("layer"), 2, 1, Init::XavierUniform)?;
    /// let mut names: Vec<String> = store.parameters().iter().map(|p| p.name().into()).collect();
    /// names.sort();
    /// assert_eq!(names, ["layer.bias", "layer.weight"]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn parameters(&self) -> Vec<Parameter> {
        self.state().parameters.clone()
    }

    /// The parameter of this full name, if a model has asked for it.
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Store};
    /// let store = Store::new(0);
    /// Linear::new(&store.root().join("layer"), 2, 1, Init::XavierUniform)?;
    /// assert_eq!(store.get("layer.weight").unwrap().shape(), [1, 2]);
    /// assert!(store.get("layer.gamma").is_none());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn get(&self, name: &str) -> Option<Parameter> {
        let state = self.state();
        state.by_name.get(name).map(|&i| state.parameters[i].clone())
    }

    /// Names that the source did not have: these parameters were initialised at random. Empty if
    /// there is no source.
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Source, Store};
    /// # use gradus_tensor::Tensor;
    /// # use gradus_tensor::Result;
    /// struct Empty;
    /// impl Source for Empty {
    ///     fn tensor(&self, _name: &str) -> Result<Option<Tensor>> {
    ///         Ok(None)
    ///     }
    /// }
    /// let store = Store::with_source(0, Empty);
    /// Linear::no_bias(&store.root().join("head"), 2, 1, Init::XavierUniform)?;
    /// assert_eq!(store.missing(), ["head.weight"]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn missing(&self) -> Vec<String> {
        self.state().missing.clone()
    }

    /// The adaptation of its layers; see [`Path::adapt`].
    ///
    /// ```
    /// # use gradus_nn::{Lora, Store};
    /// let store = Store::new(0);
    /// assert_eq!(store.lora(), None);
    /// store.root().adapt(Lora::default())?;
    /// assert_eq!(store.lora().unwrap().rank, 8);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn lora(&self) -> Option<Lora> {
        self.state().adaptation.as_ref().map(|(_, lora)| lora.clone())
    }

    /// Where the parameters lie: the CPU, unless they were moved.
    pub fn device(&self) -> Device {
        self.state().device
    }

    /// Moves all parameters to `device`, and makes later ones there: so it may be called before or
    /// after the model is built.
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Store};
    /// # use gradus_tensor::Device;
    /// let store = Store::new(0);
    /// store.to_device(Device::Cpu)?;
    /// let layer = Linear::no_bias(&store.root(), 2, 1, Init::XavierUniform)?;
    /// assert_eq!(layer.weight.device(), Device::Cpu);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_nn::Store;
    /// let root = Store::new(0).root();
    /// let path = root.join("encoder").join("layer").join(3);
    /// assert_eq!(path.name(), "encoder.layer.3");
    /// assert_eq!((&root / "encoder" / "layer" / 3).name(), path.name());
    /// ```
    pub fn join(&self, name: impl fmt::Display) -> Path {
        Path { store: self.store.clone(), name: self.full(name) }
    }

    /// The full name of this place; empty at the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store.
    ///
    /// ```
    /// # use gradus_nn::{Init, Store};
    /// let store = Store::new(0);
    /// let path = store.root().join("head");
    /// path.parameter("weight", &[2], Init::Ones)?;
    /// assert_eq!(path.store().parameters().len(), 1);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The parameter `name` at this place: from the store's source if that has it, else
    /// initialised.
    ///
    /// The initial value depends on the store's seed and the full name alone, not on the order in
    /// which a model is built. A second call with the same name gives the same parameter: this is
    /// how weights are tied.
    ///
    /// ```
    /// # use gradus_nn::{Init, Store};
    /// let path = Store::new(0).root().join("layer");
    /// let weight = path.parameter("weight", &[2], Init::Ones)?;
    /// assert_eq!(weight.name(), "layer.weight");
    /// let tied = path.parameter("weight", &[2], Init::Zeros)?; // the same parameter
    /// assert_eq!(tied.id(), weight.id());
    /// assert_eq!(tied.tensor().to_string(), "[1. 1.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the source's tensor, or the parameter that exists already, has another shape.
    pub fn parameter(&self, name: &str, shape: &[usize], init: Init) -> Result<Parameter> {
        self.store.parameter(&self.full(name), shape, init)
    }

    /// Adapts the linear layers that are built below this path from now on: each that
    /// [`Lora::adapts`] gets a low-rank part, and its weight and bias are frozen.
    ///
    /// ```
    /// # use gradus_nn::{Init, Linear, Lora, Store};
    /// let path = Store::new(0).root().join("bert");
    /// path.adapt(Lora { rank: 2, ..Lora::default() })?;
    /// let query = Linear::no_bias(&path.join("query"), 8, 8, Init::XavierUniform)?;
    /// assert!(!query.weight.trainable());
    /// assert_eq!(path.store().get("bert.query.lora_B.weight").unwrap().shape(), [8, 2]);
    /// assert!(path.adapt(Lora::default()).is_err()); // too late
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Lora::check`]; if a parameter below this path exists already, or the store's layers are
    /// adapted already.
    pub fn adapt(&self, lora: Lora) -> Result<()> {
        lora.check()?;
        let mut state = self.store.state();
        if let Some(parameter) = state.parameters.iter().find(|p| is_below(&self.name, p.name())) {
            let name = parameter.name();
            bail!("lora", "{name} exists already; adapt a path before its model is built");
        }
        if state.adaptation.is_some() {
            bail!("lora", "the store's layers are adapted already; a store takes one adaptation");
        }
        state.adaptation = Some((self.name.clone(), lora));
        Ok(())
    }

    /// The adaptation of a linear layer at this place.
    pub(crate) fn adaptation(&self) -> Option<Lora> {
        let state = self.store.state();
        let (within, lora) = state.adaptation.as_ref()?;
        (is_below(within, &self.name) && lora.adapts(&self.name)).then(|| lora.clone())
    }

    fn full(&self, name: impl fmt::Display) -> String {
        if self.name.is_empty() { name.to_string() } else { format!("{}.{name}", self.name) }
    }
}

/// Whether the name of a place or a parameter is below `path`.
fn is_below(path: &str, name: &str) -> bool {
    path.is_empty() || name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
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
