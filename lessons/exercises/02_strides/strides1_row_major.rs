// Chapter 2, strides. Exercise 1: numbers in a row.
//
// Memory is one long row of numbers. A matrix of 2 rows and 3 columns lies there row after row:
//
//     [[a, b, c],          a b c d e f
//      [d, e, f]]
//
// To go one column to the right is 1 place further in memory; to go one row down is 3 places. These
// distances are the strides, [3, 1]. A tensor of shape [2, 3, 4] has the strides [12, 4, 1]: each
// stride is the product of all sizes to its right.
//
//     strides[last] = 1          strides[d] = strides[d + 1] · shape[d + 1]
//
// A size may be 0: then there are no elements. The engine counts a 0 as 1 here, so that no stride
// becomes 0, for a stride of 0 will get a meaning of its own.
//
// In the engine: `row_major` in tensor/base/src/sizes.rs.

/// The strides of a tensor whose elements lie row after row.
fn row_major(shape: &[usize]) -> Vec<usize> {
    // TODO: from the last dimension to the first, as above.
    todo!("the strides of {shape:?}")
}

fn main() {
    println!(
        "a batch of 8 images of 3 colours and 32 × 32 points: {:?}",
        row_major(&[8, 3, 32, 32])
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;

    fn marks(shape: &[usize], expected: &[usize]) {
        check::same("the strides", format!("shape {shape:?}"), &row_major(shape), expected);
    }

    #[test]
    fn a_matrix() {
        marks(&[2, 3], &[3, 1]);
    }

    #[test]
    fn more_dimensions() {
        marks(&[2, 3, 4], &[12, 4, 1]);
        marks(&[5, 1, 1, 7], &[7, 7, 7, 1]);
    }

    #[test]
    fn few_dimensions() {
        marks(&[6], &[1]);
        marks(&[], &[]); // a single number
    }

    #[test]
    fn a_size_of_0_counts_as_1() {
        marks(&[2, 0, 3], &[3, 3, 1]);
    }

    #[test]
    fn as_the_engine_lays_out_tensors() {
        for inputs in check::inputs_of(Op::Reshape) {
            marks(inputs[0].shape(), inputs[0].layout().strides());
        }
    }
}
