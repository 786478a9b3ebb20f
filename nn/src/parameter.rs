//! A named value that training changes.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use gradus_autograd::{Gradients, Var, VarId};
use gradus_tensor::{DType, Device, Result, Tensor, bail};

/// A named trainable tensor, shared by the model, the optimiser and the checkpoint. Cloning copies
/// nothing: all clones are one parameter.
#[derive(Clone)]
pub struct Parameter(Arc<Inner>);

struct Inner {
    id: VarId,
    name: String,
    shape: Vec<usize>,
    dtype: DType,
    var: RwLock<Var>,
    trainable: AtomicBool,
}

impl Parameter {
    /// A parameter of its own, outside any [`Store`](crate::Store).
    ///
    /// # Errors
    /// If the tensor is neither f32 nor f64.
    pub fn new(name: impl Into<String>, tensor: Tensor) -> Result<Self> {
        let name = name.into();
        if !matches!(tensor.dtype(), DType::F32 | DType::F64) {
            bail!("parameter", "{name} is {}; parameters are f32 or f64", tensor.dtype());
        }
        let (shape, dtype) = (tensor.shape().to_vec(), tensor.dtype());
        let var = Var::leaf(tensor);
        Ok(Parameter(Arc::new(Inner {
            id: var.id().expect("a leaf of floats has a place in the graph"),
            name,
            shape,
            dtype,
            var: RwLock::new(var),
            trainable: AtomicBool::new(true),
        })))
    }

    /// Identity of the parameter: that of its leaf in the graph. It does not depend on the name.
    pub fn id(&self) -> VarId {
        self.0.id
    }

    /// The full name, as in the checkpoint.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Sizes of the dimensions; they never change.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.0.shape.iter().product()
    }

    /// Element type; it never changes.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// The current value as a leaf of the graph: the same leaf before and after every update, so
    /// that gradients find their parameter. A constant if the parameter is not
    /// [`trainable`](Parameter::trainable).
    ///
    /// Whoever keeps the variable keeps the value: the next update then has to copy. A training
    /// step drops its graph before it updates.
    pub fn var(&self) -> Var {
        let var = self.0.var.read().unwrap_or_else(PoisonError::into_inner);
        if self.trainable() { var.clone() } else { var.detach() }
    }

    /// The current value.
    pub fn tensor(&self) -> Tensor {
        self.0.var.read().unwrap_or_else(PoisonError::into_inner).tensor().clone()
    }

    /// This parameter's gradient; `None` if none reached it or it is not trainable.
    pub fn grad<'a>(&self, grads: &'a Gradients) -> Option<&'a Tensor> {
        grads.get(&self.var())
    }

    /// Gives the parameter a new value, which is moved to the parameter's device.
    ///
    /// # Errors
    /// As [`check`](Parameter::check).
    pub fn set(&self, tensor: Tensor) -> Result<()> {
        self.check(&tensor)?;
        let mut var = self.write();
        let device = var.tensor().device();
        *var.tensor_mut() = tensor.to_device(device).map_err(|e| e.at(self.name()))?;
        Ok(())
    }

    /// Where the value lies.
    pub fn device(&self) -> Device {
        self.0.var.read().unwrap_or_else(PoisonError::into_inner).tensor().device()
    }

    /// Moves the value to `device`; the parameter stays the same leaf of the graph. An optimiser
    /// that has state for it needs its state again
    /// ([`load_state`](crate::Optimizer::load_state)).
    ///
    /// # Errors
    /// If the device cannot hold it; the message names the parameter.
    pub fn to_device(&self, device: Device) -> Result<()> {
        let mut var = self.write();
        let moved = var.tensor().to_device(device).map_err(|e| e.at(self.name()))?;
        *var.tensor_mut() = moved;
        Ok(())
    }

    /// Changes the value in place (an optimiser step). Nothing is copied if nobody else holds the
    /// value; whoever does keeps the old one.
    ///
    /// # Errors
    /// Those of `change`; and if it leaves a value of another shape or dtype.
    pub fn update<T>(&self, change: impl FnOnce(&mut Tensor) -> Result<T>) -> Result<T> {
        let mut var = self.write();
        let result = change(var.tensor_mut()).map_err(|e| e.at(self.name()))?;
        self.check(var.tensor())?;
        Ok(result)
    }

    /// Whether the parameter takes part in training (at first it does).
    pub fn trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// Freezes or thaws the parameter.
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable, Ordering::Relaxed);
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Var> {
        self.0.var.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that a tensor may be the parameter's value.
    ///
    /// # Errors
    /// If shape or dtype differ; the message names the parameter.
    pub fn check(&self, tensor: &Tensor) -> Result<()> {
        if tensor.shape() != self.shape() || tensor.dtype() != self.dtype() {
            bail!(
                "parameter",
                "{} is {:?} {}, the new value {:?} {}; both must match",
                self.name(),
                self.shape(),
                self.dtype(),
                tensor.shape(),
                tensor.dtype()
            );
        }
        Ok(())
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({} {:?} {})", self.name(), self.shape(), self.dtype())
    }
}
