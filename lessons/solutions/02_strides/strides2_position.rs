// Chapter 2, strides. Exercise 2: from an index to a place in memory, and back.
//
// The element [i, j, …] of a tensor lies at
//
//     position = i · strides[0] + j · strides[1] + …
//
// For the other way round, think of hours, minutes and seconds: 7,384 seconds are 7384 / 3600 = 2
// hours, and the rest of the division, 184, is 3 minutes and 4 seconds. The strides of a day are
// [3600, 60, 1]. So divide by one stride after the other: the quotient is the index, and the rest
// goes on to the next dimension.
//
// This second function works for row-major strides only. With others, two indices can even have the
// same position.

/// Where the element `index` lies.
fn position(strides: &[usize], index: &[usize]) -> usize {
    index.iter().zip(strides).map(|(i, stride)| i * stride).sum()
}

/// The index of the element at a position; `strides` are row-major.
fn index_of(strides: &[usize], position: usize) -> Vec<usize> {
    let mut rest = position;
    let mut index = Vec::new();
    for stride in strides {
        index.push(rest / stride);
        rest %= stride;
    }
    index
}

fn main() {
    println!("7384 seconds are {:?} in hours, minutes and seconds", index_of(&[3600, 60, 1], 7384));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::{DType, Result, Tensor};

    #[test]
    fn positions_in_a_matrix() {
        for (index, expected) in [([0, 0], 0), ([0, 2], 2), ([1, 0], 3), ([1, 2], 5)] {
            let yours = position(&[3, 1], &index);
            let input = format!("index {index:?}, strides [3, 1]");
            check::same("the position", input, &[yours], &[expected]);
        }
    }

    #[test]
    fn any_strides_will_do() {
        // Columns that lie one after another, and one element in all places.
        check::same("the position", "[1, 2], strides [1, 4]", &[position(&[1, 4], &[1, 2])], &[9]);
        check::same("the position", "[1, 2], strides [0, 0]", &[position(&[0, 0], &[1, 2])], &[0]);
        check::same("the position", "[] of a single number", &[position(&[], &[])], &[0]);
    }

    #[test]
    fn an_index_has_its_position_and_back() {
        let strides = [12, 4, 1];
        for at in 0..24 {
            let index = index_of(&strides, at);
            let input = format!("position {at}, strides {strides:?}");
            let expected = [at / 12, at / 4 % 3, at % 4];
            check::same("the index", &input, &index, &expected);
            check::same("there and back", &input, &[position(&strides, &index)], &[at]);
        }
    }

    #[test]
    fn the_engine_has_its_numbers_there() -> Result<()> {
        let x = Tensor::arange(0.0, 24.0, 1.0, DType::F64)?.reshape(&[2, 3, 4])?;
        let at = position(x.layout().strides(), &[1, 2, 3]);
        let element = x.narrow(0, 1, 1)?.narrow(1, 2, 1)?.narrow(2, 3, 1)?.item()?;
        check::same("element [1, 2, 3]", "0, 1, …, 23 as [2, 3, 4]", &[at as f64], &[element]);
        Ok(())
    }
}
