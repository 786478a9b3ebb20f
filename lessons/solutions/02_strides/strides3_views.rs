// Chapter 2, strides. Exercise 3: views, which move nothing.
//
// A tensor is a row of numbers, and a layout that says how to look at it: a shape, strides, and an
// offset, where the first element lies. Other layouts of the same numbers are other tensors, and
// making one costs nothing, however many numbers there are:
//
//     transpose   exchanges two dimensions: their sizes and their strides
//     narrow      keeps `length` places of one dimension, from `start` on: the first element moves,
//                 one size changes, the strides stay
//
//     memory  a b c d e f
//     [2, 3] with strides [3, 1], offset 0:     [[a, b, c], [d, e, f]]
//     transposed: [3, 2] with [1, 3]:           [[a, d], [b, e], [c, f]]
//     columns 1 and 2: [2, 2] with [3, 1], offset 1:  [[b, c], [e, f]]
//
// In the engine: `Layout` in tensor/base/src/layout.rs.

#[derive(Clone, Debug, PartialEq)]
struct Layout {
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl Layout {
    /// The layout with dimensions `a` and `b` exchanged.
    fn transpose(&self, a: usize, b: usize) -> Layout {
        let mut turned = self.clone();
        turned.shape.swap(a, b);
        turned.strides.swap(a, b);
        turned
    }

    /// The layout of `length` places along `dim`, from `start` on.
    fn narrow(&self, dim: usize, start: usize, length: usize) -> Layout {
        let mut part = self.clone();
        part.offset += start * self.strides[dim];
        part.shape[dim] = length;
        part
    }
}

fn main() {
    let matrix = Layout { shape: vec![2, 3], strides: vec![3, 1], offset: 0 };
    println!("{matrix:?}\n  transposed: {:?}", matrix.transpose(0, 1));
    println!("  columns 1 and 2: {:?}", matrix.narrow(1, 1, 2));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::{DType, Result, Tensor};

    fn of(tensor: &Tensor) -> Layout {
        let layout = tensor.layout();
        Layout {
            shape: layout.shape().to_vec(),
            strides: layout.strides().to_vec(),
            offset: layout.offset(),
        }
    }

    #[test]
    fn exchanged_dimensions() -> Result<()> {
        let x = Tensor::zeros(&[2, 3, 4], DType::F32)?;
        for (a, b) in [(0, 1), (1, 2), (0, 2), (1, 1)] {
            let expected = of(&x.transpose(a as isize, b as isize)?);
            let input = format!("{:?}, transpose({a}, {b})", of(&x));
            check::same("the layout", input, &[of(&x).transpose(a, b)], &[expected]);
        }
        Ok(())
    }

    #[test]
    fn a_part() -> Result<()> {
        let x = Tensor::zeros(&[4, 5, 6], DType::F32)?;
        for (dim, start, length) in [(0, 1, 2), (1, 0, 5), (1, 2, 3), (2, 5, 1), (2, 0, 0)] {
            let expected = of(&x.narrow(dim as isize, start, length)?);
            let input = format!("{:?}, narrow({dim}, {start}, {length})", of(&x));
            check::same("the layout", input, &[of(&x).narrow(dim, start, length)], &[expected]);
        }
        Ok(())
    }

    #[test]
    fn views_of_views() -> Result<()> {
        let x = Tensor::zeros(&[4, 5, 6], DType::F32)?;
        let expected = of(&x.narrow(0, 1, 3)?.transpose(0, 2)?.narrow(2, 1, 2)?.narrow(0, 2, 2)?);
        let yours = of(&x).narrow(0, 1, 3).transpose(0, 2).narrow(2, 1, 2).narrow(0, 2, 2);
        let input = format!("{:?}, narrowed, turned, and narrowed twice", of(&x));
        check::same("the layout", input, &[yours], &[expected]);
        Ok(())
    }
}
