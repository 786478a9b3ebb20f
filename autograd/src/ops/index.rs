//! Reading and adding by index: each is the other's transpose.

use gradus_tensor::{Result, Tensor};
use serde_json::json;

use crate::context::Context;
use crate::op::Op;
use crate::trace::{Told, numbers};
use crate::var::Var;

/// Zeros of input `i`'s shape and the gradient's dtype.
fn zeros(c: &Context, i: usize) -> Result<Var> {
    let (dtype, device) = (c.grad().dtype(), c.grad().device());
    Ok(Var::constant(Tensor::zeros_on(c.input_shape(i), dtype, device)?))
}

impl Var {
    /// See [`Tensor::index_select`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[10f32, 20.0, 30.0], &[3])?);
    /// let ids = Tensor::from_slice(&[2u32, 0, 2], &[3])?;
    /// let y = x.index_select(0, &ids)?;
    /// assert_eq!(y.to_string(), "[30. 10. 30.]");
    /// let grads = y.sum_all()?.backward()?; // entry 2 was taken twice
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [1.0, 0.0, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn index_select(&self, dim: isize, ids: &Tensor) -> Result<Var> {
        let (y, ids) = (self.tensor().index_select(dim, ids)?, ids.clone());
        let told = Told::new().set("dim", || json!(dim)).set("ids", || numbers(&ids));
        Var::record_told(Op::IndexSelect, y, &[self], told, move |c| {
            Ok(vec![Some(zeros(c, 0)?.index_add(dim, &ids, c.grad())?)])
        })
    }

    /// See [`Tensor::index_add`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[10f32, 20.0, 30.0], &[3])?);
    /// let ids = Tensor::from_slice(&[2u32, 0, 2], &[3])?;
    /// let source = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
    /// assert_eq!(x.index_add(0, &ids, &source)?.to_string(), "[12. 20. 34.]"); // 30 + 1 + 3
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn index_add(&self, dim: isize, ids: &Tensor, source: &Var) -> Result<Var> {
        let (base, source) = (self.raised()?, source.raised()?);
        let dtype = base.dtype();
        let (base, source) = (&base.computable()?, &source.computable()?);
        let y = base.tensor().index_add(dim, ids, source.tensor())?;
        let ids = ids.clone();
        let told = Told::new().set("dim", || json!(dim)).set("ids", || numbers(&ids));
        let y = Var::record_told(Op::IndexAdd, y, &[base, source], told, move |c| {
            c.each(&[&|| Ok(c.grad().clone()), &|| c.grad().index_select(dim, &ids)])
        })?;
        y.in_dtype(dtype)
    }

    /// See [`Tensor::gather`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// let index = Tensor::from_slice(&[1u32, 0], &[2, 1])?;
    /// let y = x.gather(1, &index)?; // y[i, j] = x[i, index[i, j]]
    /// assert_eq!(y.to_string(), "[[2.]\n [3.]]");
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_string(), "[[0. 1.]\n [1. 0.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn gather(&self, dim: isize, index: &Tensor) -> Result<Var> {
        let (y, index) = (self.tensor().gather(dim, index)?, index.clone());
        let told = Told::new().set("dim", || json!(dim)).set("ids", || numbers(&index));
        Var::record_told(Op::Gather, y, &[self], told, move |c| {
            Ok(vec![Some(zeros(c, 0)?.scatter_add(dim, &index, c.grad())?)])
        })
    }

    /// See [`Tensor::scatter_add`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::zeros(&[2, 3], DType::F32)?);
    /// let index = Tensor::from_slice(&[2u32, 2, 0, 1], &[2, 2])?;
    /// let source = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// let y = x.scatter_add(1, &index, &source)?; // y[i, index[i, j]] += source[i, j]
    /// assert_eq!(y.to_string(), "[[0. 0. 3.]\n [3. 4. 0.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn scatter_add(&self, dim: isize, index: &Tensor, source: &Var) -> Result<Var> {
        // Elements that the index does not reach are not in the result.
        let mut reached = source.clone();
        if index.rank() == source.rank() {
            for (d, &size) in index.shape().iter().enumerate() {
                if size < source.shape()[d] {
                    reached = reached.narrow(d as isize, 0, size)?;
                }
            }
        }
        let (base, source) = (self.raised()?, reached.raised()?);
        let dtype = base.dtype();
        let (base, source) = (&base.computable()?, &source.computable()?);
        let y = base.tensor().scatter_add(dim, index, source.tensor())?;
        let index = index.clone();
        let y = Var::record(Op::ScatterAdd, y, &[base, source], move |c| {
            c.each(&[&|| Ok(c.grad().clone()), &|| c.grad().gather(dim, &index)])
        })?;
        y.in_dtype(dtype)
    }

    /// Rows of this table `[v, h]` by id: `ids […] → […, h]`. See [`Tensor::embedding`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let table = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// let ids = Tensor::from_slice(&[1u32, 0, 1], &[3])?;
    /// let y = table.embedding(&ids)?;
    /// assert_eq!(y.to_string(), "[[3. 4.]\n [1. 2.]\n [3. 4.]]");
    /// let grads = y.sum_all()?.backward()?; // row 1 was read twice
    /// assert_eq!(grads.get(&table).unwrap().to_string(), "[[1. 1.]\n [2. 2.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn embedding(&self, ids: &Tensor) -> Result<Var> {
        let (y, ids) = (self.tensor().embedding(ids)?, ids.clone());
        let told = Told::new().set("ids", || numbers(&ids));
        Var::record_told(Op::Embedding, y, &[self], told, move |c| {
            let (rows, width) = (c.input_shape(0)[0], c.input_shape(0)[1]);
            Ok(vec![Some(if c.create_graph() {
                let flat = ids.reshape(&[ids.numel()])?;
                zeros(c, 0)?.index_add(0, &flat, &c.grad().reshape(&[ids.numel(), width])?)?
            } else {
                let g = c.grad().computable()?;
                let table = Tensor::embedding_backward(g.tensor(), &ids, rows)?;
                Var::constant(table).in_dtype(c.grad().dtype())?
            })])
        })
    }
}
