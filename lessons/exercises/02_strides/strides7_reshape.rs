// Chapter 2, strides. Exercise 7: to reshape, look, or else copy.
//
// A reshape keeps the order of the elements and cuts it into other rows: [2, 6] becomes [3, 4]. If
// the elements lie in memory in that order, without gaps, this is again only another layout. A
// tensor of which this is true is called contiguous. A transposed matrix is not: to reshape it, its
// elements must first be copied into their order.
//
//     contiguous: each stride is the row-major stride, except where the size is 1. Nobody ever
//     steps along a dimension of size 1, so its stride does not count. A tensor without elements is
//     contiguous.
//
// The test below asks that you copy when you must, and only then: with an `Rc`, two views can share
// their numbers.
//
// In the engine: `is_contiguous` and `reshape` in tensor/base/src/layout.rs. `reshape` there finds
// more cases that need no copy: it is enough that the dimensions that are merged fit together.

use std::rc::Rc;

use check::strides::{positions, row_major};

struct View {
    data: Rc<[f64]>,
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl View {
    fn is_contiguous(&self) -> bool {
        // TODO: the definition above.
        todo!("is_contiguous")
    }

    /// The elements in order.
    fn to_vec(&self) -> Vec<f64> {
        positions(&self.shape, &self.strides)
            .into_iter()
            .map(|at| self.data[self.offset + at])
            .collect()
    }

    /// The same elements, in the same order, in another shape of as many.
    fn reshape(&self, shape: &[usize]) -> View {
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        assert_eq!(count(shape), count(&self.shape), "a reshape keeps the number of elements");
        // TODO: share the numbers if this view is contiguous, else copy them in order.
        let (data, offset): (Rc<[f64]>, usize) = todo!("reshape");
        View { data, shape: shape.to_vec(), strides: row_major(shape), offset }
    }
}

fn main() {
    let data: Rc<[f64]> = (0..6).map(f64::from).collect();
    let turned = View { data, shape: vec![3, 2], strides: vec![1, 3], offset: 0 };
    let flat = turned.reshape(&[6]);
    println!("{:?}; copied: {}", flat.to_vec(), !Rc::ptr_eq(&turned.data, &flat.data));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::{DType, Result, Tensor};

    fn count(n: usize) -> Result<Tensor> {
        Tensor::arange(0.0, n as f64, 1.0, DType::F64)
    }

    /// The engine's view as one of yours, over the numbers 0, 1, …
    fn view(tensor: &Tensor) -> View {
        View {
            data: (0..200).map(f64::from).collect(),
            shape: tensor.shape().to_vec(),
            strides: tensor.layout().strides().to_vec(),
            offset: tensor.layout().offset(),
        }
    }

    fn views() -> Result<Vec<Tensor>> {
        let x = count(60)?.reshape(&[3, 4, 5])?;
        Ok(vec![
            x.clone(),
            x.transpose(0, 1)?,
            x.narrow(0, 1, 2)?,
            x.narrow(1, 1, 2)?,
            x.narrow(0, 1, 1)?.narrow(1, 1, 2)?,
            x.narrow(2, 3, 0)?,
            x.narrow(1, 2, 1)?.narrow(2, 4, 1)?,
            x.narrow(1, 2, 1)?.transpose(0, 1)?,
            count(1)?.reshape(&[])?,
        ])
    }

    #[test]
    fn which_views_are_contiguous() -> Result<()> {
        for tensor in views()? {
            let input = format!("{:?}", tensor.layout());
            let yours = view(&tensor).is_contiguous();
            check::same("is_contiguous", input, &[yours], &[tensor.is_contiguous()]);
        }
        Ok(())
    }

    #[test]
    fn the_elements_keep_their_order() -> Result<()> {
        for tensor in views()? {
            let shape = [1, tensor.numel(), 1];
            let (yours, input) = (view(&tensor).reshape(&shape), format!("{:?}", tensor.layout()));
            check::same("the elements", &input, &yours.to_vec(), &tensor.to_f64_vec());
            check::same("the shape", &input, &yours.shape, &shape);
        }
        Ok(())
    }

    #[test]
    fn it_copies_only_when_it_must() -> Result<()> {
        for tensor in views()? {
            let old = view(&tensor);
            let new = old.reshape(&[tensor.numel()]);
            let copied = !Rc::ptr_eq(&old.data, &new.data);
            let input = format!("{:?}", tensor.layout());
            check::same("copied", input, &[copied], &[!tensor.is_contiguous()]);
        }
        Ok(())
    }
}
