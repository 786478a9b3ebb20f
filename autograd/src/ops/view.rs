//! Shape operations: the gradient gets the input's shape back.

use gradus_tensor::layout::resolve_dim;
use gradus_tensor::{DType, Result, bail};
use serde_json::json;

use crate::op::Op;
use crate::trace::Told;
use crate::var::Var;

impl Var {
    /// The same value at another place in the graph.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let y = x.alias()?;
    /// assert_eq!(y.item()?, 3.0);
    /// assert_ne!(y.id(), x.id());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn alias(&self) -> Result<Var> {
        Var::record(Op::Alias, self.tensor().clone(), &[self], |c| Ok(vec![Some(c.grad().clone())]))
    }

    /// The same value in another float dtype; the gradient is cast back.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let y = x.to_dtype(DType::F64)?.square()?;
    /// assert_eq!(y.dtype(), DType::F64);
    /// assert_eq!(y.backward()?.get(&x).unwrap().dtype(), DType::F32);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_dtype(&self, dtype: DType) -> Result<Var> {
        let from = self.dtype();
        if !dtype.is_float() && self.requires_grad() {
            bail!("to_dtype", DType, "{dtype} has no gradient; detach first");
        }
        Var::record(Op::Cast, self.tensor().to_dtype(dtype)?, &[self], move |c| {
            Ok(vec![Some(c.grad().to_dtype(from)?)])
        })
    }

    /// See [`Tensor::reshape`](gradus_tensor::Tensor::reshape).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[4])?);
    /// let y = x.reshape(&[2, 2])?;
    /// assert_eq!(y.to_string(), "[[1. 2.]\n [3. 4.]]");
    /// let grads = y.i(1)?.sum_all()?.backward()?; // of the second row
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [0.0, 0.0, 1.0, 1.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn reshape(&self, shape: &[usize]) -> Result<Var> {
        Var::record(Op::Reshape, self.tensor().reshape(shape)?, &[self], |c| {
            Ok(vec![Some(c.grad().reshape(c.input_shape(0))?)])
        })
    }

    /// See [`Tensor::permute`](gradus_tensor::Tensor::permute).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::zeros(&[2, 3, 4], DType::F32)?);
    /// let y = x.permute(&[2, 0, 1])?; // y[k, i, j] = x[i, j, k]
    /// assert_eq!(y.shape(), [4, 2, 3]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn permute(&self, dims: &[isize]) -> Result<Var> {
        let y = self.tensor().permute(dims)?;
        let rank = self.rank();
        let mut inverse = vec![0isize; rank];
        for (i, &d) in dims.iter().enumerate() {
            inverse[resolve_dim("permute", d, rank)?] = i as isize;
        }
        let told = Told::new().set("dims", || json!(dims));
        Var::record_told(Op::Permute, y, &[self], told, move |c| {
            Ok(vec![Some(c.grad().permute(&inverse)?)])
        })
    }

    /// Two dimensions exchanged.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::zeros(&[2, 3, 4], DType::F32)?);
    /// assert_eq!(x.transpose(0, -1)?.shape(), [4, 3, 2]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn transpose(&self, dim0: isize, dim1: isize) -> Result<Var> {
        let rank = self.rank();
        let mut dims: Vec<isize> = (0..rank as isize).collect();
        dims.swap(resolve_dim("transpose", dim0, rank)?, resolve_dim("transpose", dim1, rank)?);
        self.permute(&dims)
    }

    /// The last two dimensions exchanged.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// assert_eq!(x.to_string(), "[[1. 2.]\n [3. 4.]]");
    /// assert_eq!(x.t()?.to_string(), "[[1. 3.]\n [2. 4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn t(&self) -> Result<Var> {
        if self.rank() < 2 {
            bail!("t", Shape, "needs at least 2 dimensions, the shape is {:?}", self.shape());
        }
        self.transpose(-2, -1)
    }

    /// See [`Tensor::narrow`](gradus_tensor::Tensor::narrow).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[4])?);
    /// let y = x.narrow(0, 1, 2)?; // two entries from entry 1 on
    /// assert_eq!(y.tensor().to_vec::<f32>()?, [2.0, 3.0]);
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [0.0, 1.0, 1.0, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn narrow(&self, dim: isize, start: usize, length: usize) -> Result<Var> {
        let y = self.tensor().narrow(dim, start, length)?;
        let after = self.size(dim)? - start - length;
        let told = Told::new().set("dim", || json!(dim)).set("start", || json!(start));
        Var::record_told(Op::Narrow, y, &[self], told, move |c| {
            Ok(vec![Some(c.grad().pad_zeros(dim, start, after)?)])
        })
    }

    /// See [`Tensor::select`](gradus_tensor::Tensor::select).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// assert_eq!(x.select(0, 1)?.tensor().to_vec::<f32>()?, [3.0, 4.0]); // row 1
    /// assert_eq!(x.select(1, 1)?.tensor().to_vec::<f32>()?, [2.0, 4.0]); // column 1
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn select(&self, dim: isize, index: usize) -> Result<Var> {
        let d = resolve_dim("select", dim, self.rank())? as isize;
        if index >= self.size(d)? {
            bail!("select", Shape, "entry {index} of dimension {d}, which has {}", self.size(d)?);
        }
        self.narrow(d, index, 1)?.squeeze(d)
    }

    /// A new dimension of size 1 at `dim`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::zeros(&[2, 3], DType::F32)?);
    /// assert_eq!(x.unsqueeze(1)?.shape(), [2, 1, 3]);
    /// assert_eq!(x.unsqueeze(-1)?.shape(), [2, 3, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn unsqueeze(&self, dim: isize) -> Result<Var> {
        let shape = self.tensor().unsqueeze(dim)?;
        self.reshape(shape.shape())
    }

    /// Without dimension `dim`, which must have size 1.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::zeros(&[2, 1, 3], DType::F32)?);
    /// assert_eq!(x.squeeze(1)?.shape(), [2, 3]);
    /// assert!(x.squeeze(0).is_err()); // its size is 2
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn squeeze(&self, dim: isize) -> Result<Var> {
        let shape = self.tensor().squeeze(dim)?;
        self.reshape(shape.shape())
    }

    /// Dimensions `start..=end` merged into one.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::zeros(&[2, 3, 4], DType::F32)?);
    /// assert_eq!(x.flatten(0, 1)?.shape(), [6, 4]);
    /// assert_eq!(x.flatten(0, -1)?.shape(), [24]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn flatten(&self, start: isize, end: isize) -> Result<Var> {
        let shape = self.tensor().flatten(start, end)?;
        self.reshape(shape.shape())
    }

    /// See [`Tensor::broadcast_to`](gradus_tensor::Tensor::broadcast_to).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// let y = x.broadcast_to(&[3, 2])?;
    /// assert_eq!(y.to_string(), "[[1. 2.]\n [1. 2.]\n [1. 2.]]");
    /// let grads = y.sum_all()?.backward()?; // each element is used three times
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [3.0, 3.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Var> {
        Var::record(Op::BroadcastTo, self.tensor().broadcast_to(shape)?, &[self], |c| {
            Ok(vec![Some(c.grad().sum_to(c.input_shape(0))?)])
        })
    }
}
