//! Reading and adding by index: each is the other's transpose.

use gradus_tensor::{Result, Tensor};

use crate::context::Context;
use crate::op::Op;
use crate::var::Var;

/// Zeros of input `i`'s shape and the gradient's dtype.
fn zeros(c: &Context, i: usize) -> Result<Var> {
    let (dtype, device) = (c.grad().dtype(), c.grad().device());
    Ok(Var::constant(Tensor::zeros_on(c.input_shape(i), dtype, device)?))
}

impl Var {
    /// See [`Tensor::index_select`].
    pub fn index_select(&self, dim: isize, ids: &Tensor) -> Result<Var> {
        let (y, ids) = (self.tensor().index_select(dim, ids)?, ids.clone());
        Var::record(Op::IndexSelect, y, &[self], move |c| {
            Ok(vec![Some(zeros(c, 0)?.index_add(dim, &ids, c.grad())?)])
        })
    }

    /// See [`Tensor::index_add`].
    pub fn index_add(&self, dim: isize, ids: &Tensor, source: &Var) -> Result<Var> {
        let (base, source) = (self.raised()?, source.raised()?);
        let dtype = base.dtype();
        let (base, source) = (&base.computable()?, &source.computable()?);
        let y = base.tensor().index_add(dim, ids, source.tensor())?;
        let ids = ids.clone();
        let y = Var::record(Op::IndexAdd, y, &[base, source], move |c| {
            c.each(&[&|| Ok(c.grad().clone()), &|| c.grad().index_select(dim, &ids)])
        })?;
        y.in_dtype(dtype)
    }

    /// See [`Tensor::gather`].
    pub fn gather(&self, dim: isize, index: &Tensor) -> Result<Var> {
        let (y, index) = (self.tensor().gather(dim, index)?, index.clone());
        Var::record(Op::Gather, y, &[self], move |c| {
            Ok(vec![Some(zeros(c, 0)?.scatter_add(dim, &index, c.grad())?)])
        })
    }

    /// See [`Tensor::scatter_add`].
    pub fn scatter_add(&self, dim: isize, index: &Tensor, source: &Var) -> Result<Var> {
        // What the index does not reach has no part in the result.
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
    pub fn embedding(&self, ids: &Tensor) -> Result<Var> {
        let (y, ids) = (self.tensor().embedding(ids)?, ids.clone());
        Var::record(Op::Embedding, y, &[self], move |c| {
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
