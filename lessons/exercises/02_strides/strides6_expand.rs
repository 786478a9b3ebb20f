// Chapter 2, strides. Exercise 6: stretching with a stride of 0.
//
// How do you stretch a row of 3 numbers to a matrix [3, 3], without copying it three times? Let the
// step from one row to the next be 0 places in memory:
//
//     memory a b c,  shape [3, 3] with strides [0, 1]:  [[a, b, c], [a, b, c], [a, b, c]]
//
// So a dimension that is new, or stretched from 1, gets the stride 0. The others keep theirs. An
// addition with broadcasting is then: find the shape of the result, expand both layouts to it, and
// walk through both at the same time.
//
// A kernel reads through such a view without knowing it. But nobody may write through it: one place
// in memory is many elements. And when a gradient flows back into a stretched tensor, the gradients
// of all these elements must be added up; see chapter 3.
//
// In the engine: `broadcast_to` in tensor/base/src/layout.rs.

use check::strides::{broadcast_shapes, positions, row_major};

struct Layout {
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// `layout` seen as `shape`, to which it can be stretched.
fn expand(layout: &Layout, shape: &[usize]) -> Layout {
    let mut strides = vec![0; shape.len()];
    // TODO: which dimensions keep their strides?
    todo!("expand");
    Layout { shape: shape.to_vec(), strides }
}

/// A tensor: numbers, row after row, and their shape.
type Tensor<'a> = (&'a [f64], &'a [usize]);

/// a + b with broadcasting: the numbers of the result, and its shape.
fn add((a, a_shape): Tensor, (b, b_shape): Tensor) -> Option<(Vec<f64>, Vec<usize>)> {
    let shape = broadcast_shapes(a_shape, b_shape)?;
    let layout = |shape: &[usize]| Layout { shape: shape.to_vec(), strides: row_major(shape) };
    let (left, right) = (expand(&layout(a_shape), &shape), expand(&layout(b_shape), &shape));
    let (left, right) = (positions(&shape, &left.strides), positions(&shape, &right.strides));
    // TODO: the sums; left and right are the positions of the elements in a and in b.
    let sums = todo!("add");
    Some((sums, shape))
}

fn main() {
    let sum = add((&[0.0, 10.0, 20.0], &[3, 1]), (&[1.0, 2.0], &[2]));
    println!("a column of 3 plus a row of 2: {sum:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;
    use gradus::prelude::Result;
    use gradus::tensor::ops::binary::BinaryOp;

    fn marks(from: &[usize], to: &[usize], expected: &[usize]) {
        let layout = Layout { shape: from.to_vec(), strides: row_major(from) };
        let input = format!("shape {from:?}, strides {:?}, expanded to {to:?}", layout.strides);
        let yours = expand(&layout, to);
        check::same("the strides", &input, &yours.strides, expected);
        check::same("the shape", &input, &yours.shape, to);
    }

    #[test]
    fn a_row_becomes_a_matrix() {
        marks(&[3], &[4, 3], &[0, 1]);
    }

    #[test]
    fn a_column_becomes_a_matrix() {
        marks(&[4, 1], &[4, 3], &[1, 0]);
    }

    #[test]
    fn others() {
        marks(&[2, 3], &[2, 3], &[3, 1]);
        marks(&[], &[2, 3], &[0, 0]);
        marks(&[2, 1, 3], &[5, 2, 4, 3], &[0, 3, 0, 1]);
    }

    #[test]
    fn sums_are_those_of_the_engine() -> Result<()> {
        for inputs in check::inputs_of(Op::Binary(BinaryOp::Add)) {
            let (a, b) = (&inputs[0], &inputs[1]);
            let expected = a.add(b)?;
            let (x, y) = (a.to_f64_vec(), b.to_f64_vec());
            let (sums, shape) = add((&x, a.shape()), (&y, b.shape())).expect("they go together");
            let input = format!("{a:?}\n{b:?}");
            check::same("the shape of the sum", &input, &shape, expected.shape());
            check::near("the sum", &input, &sums, &expected.to_f64_vec(), 0.0);
        }
        Ok(())
    }
}
