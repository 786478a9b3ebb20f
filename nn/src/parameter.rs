//! A named value that training changes.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use gradus_autograd::{Gradients, Var, VarId};
use gradus_tensor::{DType, Device, ErrorKind, Result, Tensor, bail};

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
    /// A parameter outside any [`Store`](crate::Store).
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::from_slice(&[1f32, 2.0], &[2])?)?;
    /// assert_eq!((w.name(), w.shape()), ("w", &[2][..]));
    /// assert!(Parameter::new("ids", Tensor::scalar(1u32)).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the tensor is neither f32 nor f64.
    pub fn new(name: impl Into<String>, tensor: Tensor) -> Result<Self> {
        let name = name.into();
        if !matches!(tensor.dtype(), DType::F32 | DType::F64) {
            bail!("parameter", DType, "{name} is {}; parameters are f32 or f64", tensor.dtype());
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
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// assert_eq!(w.clone().id(), w.id());
    /// assert_ne!(Parameter::new("w", Tensor::scalar(1f32))?.id(), w.id());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    /// While somebody keeps the variable, the value stays: the next update must then copy. A
    /// training step drops its graph before it updates.
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(3f32))?;
    /// let grads = w.var().square()?.backward()?;
    /// assert_eq!(w.grad(&grads).unwrap().item()?, 6.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn var(&self) -> Var {
        let var = self.0.var.read().unwrap_or_else(PoisonError::into_inner);
        gradus_autograd::named(&var, self.name());
        if self.trainable() { var.clone() } else { var.detach() }
    }

    /// The current value.
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(3f32))?;
    /// assert_eq!(w.tensor().item()?, 3.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn tensor(&self) -> Tensor {
        self.0.var.read().unwrap_or_else(PoisonError::into_inner).tensor().clone()
    }

    /// This parameter's gradient; `None` if none reached it or it is not trainable.
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(3f32))?;
    /// let unused = Parameter::new("unused", Tensor::scalar(3f32))?;
    /// let grads = w.var().square()?.backward()?;
    /// assert_eq!(w.grad(&grads).unwrap().item()?, 6.0);
    /// assert!(unused.grad(&grads).is_none());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn grad<'a>(&self, grads: &'a Gradients) -> Option<&'a Tensor> {
        grads.get(&self.var())
    }

    /// Gives the parameter a new value, which is moved to the parameter's device.
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::{DType, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(3f32))?;
    /// w.set(Tensor::scalar(4f32))?;
    /// assert_eq!(w.tensor().item()?, 4.0);
    /// assert!(w.set(Tensor::zeros(&[2], DType::F32)?).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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

    /// The device of the value.
    pub fn device(&self) -> Device {
        self.0.var.read().unwrap_or_else(PoisonError::into_inner).tensor().device()
    }

    /// Moves the value to `device`; the parameter stays the same leaf of the graph. An optimiser
    /// that has state for it needs its state again
    /// ([`load_state`](crate::Optimizer::load_state)).
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::{Device, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(3f32))?;
    /// w.to_device(Device::Cpu)?;
    /// assert_eq!(w.device(), Device::Cpu);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    /// value; if somebody does, that holder keeps the old one.
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(3f32))?;
    /// w.update(|value| value.mul_scalar_(2.0))?;
    /// assert_eq!(w.tensor().item()?, 6.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As `change`; and if it leaves a value of another shape or dtype.
    pub fn update<T>(&self, change: impl FnOnce(&mut Tensor) -> Result<T>) -> Result<T> {
        let mut var = self.write();
        let result = change(var.tensor_mut()).map_err(|e| e.at(self.name()))?;
        self.check(var.tensor())?;
        Ok(result)
    }

    /// Whether the parameter takes part in training (at first it does).
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(3f32))?;
    /// assert!(w.trainable());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// Freezes or thaws the parameter.
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(3f32))?;
    /// w.set_trainable(false);
    /// assert!(!w.var().square()?.requires_grad());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable, Ordering::Relaxed);
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Var> {
        self.0.var.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that a tensor may be the parameter's value.
    ///
    /// ```
    /// # use gradus_nn::Parameter;
    /// # use gradus_tensor::{DType, Tensor};
    /// let w = Parameter::new("w", Tensor::scalar(3f32))?;
    /// assert!(w.check(&Tensor::scalar(4f32)).is_ok());
    /// assert!(w.check(&Tensor::zeros(&[2], DType::F32)?).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If shape or dtype differ; the message names the parameter.
    pub fn check(&self, tensor: &Tensor) -> Result<()> {
        if tensor.shape() != self.shape() || tensor.dtype() != self.dtype() {
            bail!(
                "parameter",
                kind = ErrorKind::shape_or_dtype(tensor.shape() != self.shape()),
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
