// Chapter 2, strides. Exercise 5: which shapes go together.
//
// A matrix [4, 3] plus a row [3] should add the row to each row of the matrix. The rule for this is
// NumPy's, and every library has taken it over. It is called broadcasting:
//
//     1. Write the shapes one below the other, aligned at the right. Missing sizes count as 1.
//     2. In each column the sizes must be equal, or one of them must be 1: it stretches.
//
//          4  3          8  1  6  5          4  3
//             3             7  1  5             4
//         -----          ----------          ----
//          4  3          8  7  6  5          3 and 4 do not go together
//
// In the engine: `broadcast_shapes` in tensor/base/src/layout.rs.

/// The shape of the result, or `None` if the shapes do not go together.
fn broadcast_shapes(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    // TODO: the rule above. Mind that a size of 1 also stretches to 0.
    todo!("the shape of {a:?} and {b:?}")
}

fn main() {
    println!("[8, 1, 6, 5] and [7, 1, 5] give {:?}", broadcast_shapes(&[8, 1, 6, 5], &[7, 1, 5]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;
    use gradus::prelude::{DType, Result, Tensor};
    use gradus::tensor::ops::binary::BinaryOp;

    fn marks(a: &[usize], b: &[usize], expected: Option<Vec<usize>>) {
        check::same(
            "the shape",
            format!("{a:?} and {b:?}"),
            &[broadcast_shapes(a, b)],
            &[expected],
        );
    }

    #[test]
    fn a_row_for_every_row() {
        marks(&[4, 3], &[3], Some(vec![4, 3]));
        marks(&[3], &[4, 3], Some(vec![4, 3]));
    }

    #[test]
    fn ones_stretch() {
        marks(&[4, 1], &[1, 3], Some(vec![4, 3]));
        marks(&[8, 1, 6, 5], &[7, 1, 5], Some(vec![8, 7, 6, 5]));
        marks(&[], &[2, 2], Some(vec![2, 2]));
        marks(&[1, 2], &[0, 2], Some(vec![0, 2]));
    }

    #[test]
    fn others_do_not_go_together() {
        marks(&[4, 3], &[4], None);
        marks(&[2], &[3], None);
        marks(&[0], &[2], None);
    }

    #[test]
    fn as_the_engine_adds() -> Result<()> {
        // The registry's random pairs of shapes, among them sizes 0 and 1.
        for inputs in check::inputs_of(Op::Binary(BinaryOp::Add)) {
            let sum = inputs[0].add(&inputs[1])?;
            marks(inputs[0].shape(), inputs[1].shape(), Some(sum.shape().to_vec()));
        }
        let (a, b) = (Tensor::zeros(&[2, 3], DType::F64)?, Tensor::zeros(&[2], DType::F64)?);
        assert!(a.add(&b).is_err());
        marks(a.shape(), b.shape(), None);
        Ok(())
    }
}
