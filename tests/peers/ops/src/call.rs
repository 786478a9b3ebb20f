//! The arguments of an operation: variables and attributes. An unused one is an error.

use std::cell::RefCell;
use std::collections::BTreeSet;

use gradus_autograd::Var;
use gradus_nn::losses::Reduction;
use gradus_tensor::{DType, Device, Result, RngKey, Tensor, bail};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::array::dtype_named;

/// The name of this program in its own errors.
const OPS: &str = "ops";

/// One call of an operation.
pub struct Call<'a> {
    inputs: &'a [Var],
    attributes: &'a Map<String, Value>,
    device: Device,
    /// The arguments that the operation has read so far: numbers of inputs, names of attributes.
    read: RefCell<(BTreeSet<usize>, BTreeSet<&'static str>)>,
}

impl<'a> Call<'a> {
    /// A call with these inputs and attributes, on the device of the inputs.
    pub fn new(inputs: &'a [Var], attributes: &'a Map<String, Value>, device: Device) -> Self {
        Call { inputs, attributes, device, read: RefCell::default() }
    }

    /// The device of operations without inputs.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The first input.
    pub fn x(&self) -> Result<&'a Var> {
        self.var(0)
    }

    /// Input `i`.
    pub fn var(&self, i: usize) -> Result<&'a Var> {
        match self.maybe(i) {
            Some(var) => Ok(var),
            None => bail!(OPS, "there are {} inputs, input {i} is wanted", self.inputs.len()),
        }
    }

    /// Input `i`, if there is one.
    pub fn maybe(&self, i: usize) -> Option<&'a Var> {
        self.read.borrow_mut().0.insert(i);
        self.inputs.get(i)
    }

    /// The value of input `i`.
    pub fn tensor(&self, i: usize) -> Result<&'a Tensor> {
        Ok(self.var(i)?.tensor())
    }

    /// The inputs from `i` on.
    pub fn rest(&self, i: usize) -> Vec<&'a Var> {
        (i..self.inputs.len()).filter_map(|i| self.maybe(i)).collect()
    }

    /// An attribute, if it is given.
    pub fn option<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>> {
        self.read.borrow_mut().1.insert(name);
        let Some(value) = self.attributes.get(name) else { return Ok(None) };
        match serde_json::from_value(value.clone()) {
            Ok(value) => Ok(Some(value)),
            Err(error) => bail!(OPS, "the attribute {name} is {value}: {error}"),
        }
    }

    /// An attribute, which must be given.
    pub fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        match self.option(name)? {
            Some(value) => Ok(value),
            None => bail!(OPS, "the attribute {name} is missing"),
        }
    }

    /// A number, `default` where it is not given. JSON has no infinities and NaN, so they are
    /// "inf", "-inf" and "nan".
    pub fn number_or(&self, name: &'static str, default: f64) -> Result<f64> {
        let Some(value) = self.option::<Value>(name)? else { return Ok(default) };
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        match number {
            Some(number) => Ok(number),
            None => bail!(OPS, "the attribute {name} is {value}, no number"),
        }
    }

    /// A number, which must be given.
    pub fn number(&self, name: &'static str) -> Result<f64> {
        if !self.attributes.contains_key(name) {
            bail!(OPS, "the attribute {name} is missing");
        }
        self.number_or(name, f64::NAN)
    }

    /// True or false; false where it is not given.
    pub fn flag(&self, name: &'static str) -> Result<bool> {
        Ok(self.option(name)?.unwrap_or(false))
    }

    /// The attribute `dim`.
    pub fn dim(&self) -> Result<isize> {
        self.get("dim")
    }

    /// The attribute `dims`; none where it is not given.
    pub fn dims(&self) -> Result<Vec<isize>> {
        Ok(self.option("dims")?.unwrap_or_default())
    }

    /// The attribute `dtype`.
    pub fn dtype(&self) -> Result<DType> {
        dtype_named(&self.get::<String>("dtype")?)
    }

    /// The stream of random numbers of the attribute `seed`.
    pub fn key(&self) -> Result<RngKey> {
        Ok(RngKey::new(self.get("seed")?))
    }

    /// Probability and key of dropout, where the attribute `p` is given.
    pub fn dropout(&self) -> Result<Option<(f64, RngKey)>> {
        match self.option("p")? {
            Some(p) => Ok(Some((p, self.key()?))),
            None => Ok(None),
        }
    }

    /// The attribute `reduction`; the mean where it is not given.
    pub fn reduction(&self) -> Result<Reduction> {
        match self.option::<String>("reduction")?.as_deref() {
            None | Some("mean") => Ok(Reduction::Mean),
            Some("sum") => Ok(Reduction::Sum),
            Some("none") => Ok(Reduction::None),
            Some(other) => bail!(OPS, "the reduction is {other}; there are mean, sum and none"),
        }
    }

    /// Returns an error if the operation has not read all its arguments.
    pub fn finish(self) -> Result<()> {
        let (inputs, attributes) = self.read.into_inner();
        if let Some(name) = self.attributes.keys().find(|name| !attributes.contains(name.as_str()))
        {
            bail!(OPS, "the operation has no attribute {name}; it has {attributes:?}");
        }
        if let Some(i) = (0..self.inputs.len()).find(|i| !inputs.contains(i)) {
            bail!(OPS, "the operation takes no input {i}");
        }
        Ok(())
    }
}
