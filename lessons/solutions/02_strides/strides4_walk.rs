// Chapter 2, strides. Exercise 4: a walk through a view.
//
// Whoever reads a view must visit its elements in order: [0, 0], [0, 1], …, [1, 0], [1, 1], … It is
// the odometer of a car: the last wheel turns; when it has gone round, it goes back to 0, and the
// wheel before it moves by one.
//
//     shape [2, 3]:  00 01 02 10 11 12
//
// For each index the position is offset + Σ index[d] · strides[d]. The number of dimensions is not
// known when you write the code, so there can be no nested loops, one a dimension.
//
// A tensor without dimensions has one element, and a tensor with a size of 0 has none.
//
// In the engine: `Positions` in tensor/base/src/layout.rs, which does not compute the sum again at
// every element, but adds and subtracts strides as the wheels turn.

struct Layout {
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

/// The positions of all elements, in the order of their indices.
fn positions(layout: &Layout) -> Vec<usize> {
    let rank = layout.shape.len();
    let count = layout.shape.iter().product();
    let mut index = vec![0; rank];
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let steps: usize = index.iter().zip(&layout.strides).map(|(i, stride)| i * stride).sum();
        found.push(layout.offset + steps);
        for d in (0..rank).rev() {
            index[d] += 1;
            if index[d] < layout.shape[d] {
                break;
            }
            index[d] = 0;
        }
    }
    found
}

fn main() {
    let turned = Layout { shape: vec![3, 2], strides: vec![1, 3], offset: 0 };
    println!("a transposed matrix of 2 rows and 3 columns reads {:?}", positions(&turned));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::{DType, Result, Tensor};

    /// The numbers 0, 1, 2, …: each lies at the position that it says.
    fn count(shape: &[usize]) -> Result<Tensor> {
        let n: usize = shape.iter().product();
        Tensor::arange(0.0, n as f64, 1.0, DType::F64)?.reshape(shape)
    }

    /// Compares your walk with the numbers that the engine reads through the view.
    fn marks(view: &Tensor) {
        let layout = Layout {
            shape: view.shape().to_vec(),
            strides: view.layout().strides().to_vec(),
            offset: view.layout().offset(),
        };
        let expected: Vec<usize> = view.to_f64_vec().iter().map(|&x| x as usize).collect();
        let (shape, strides, offset) = (&layout.shape, &layout.strides, layout.offset);
        let input = format!("shape {shape:?}, strides {strides:?}, offset {offset}");
        check::same("the positions", input, &positions(&layout), &expected);
    }

    #[test]
    fn in_a_row() -> Result<()> {
        marks(&count(&[5])?);
        marks(&count(&[2, 3])?);
        marks(&count(&[2, 3, 4])?);
        Ok(())
    }

    #[test]
    fn turned_and_narrowed() -> Result<()> {
        marks(&count(&[2, 3])?.t()?);
        marks(&count(&[4, 5])?.narrow(0, 1, 2)?.narrow(1, 2, 3)?);
        marks(&count(&[4, 3, 5])?.permute(&[2, 0, 1])?.narrow(0, 1, 3)?);
        Ok(())
    }

    #[test]
    fn one_element_and_none() -> Result<()> {
        marks(&Tensor::scalar(0.0));
        marks(&count(&[1, 1, 1])?);
        marks(&count(&[4, 3])?.narrow(1, 1, 0)?);
        Ok(())
    }

    #[test]
    fn an_element_that_repeats() -> Result<()> {
        marks(&count(&[3])?.broadcast_to(&[2, 3])?);
        marks(&count(&[3, 1])?.broadcast_to(&[3, 4])?);
        Ok(())
    }
}
