//! Products of batches.

use gradus_tensor::{DType, RngKey, Tensor};

/// A batch of any rank is multiplied matrix by matrix, also where the batch is a view.
#[test]
fn batches_of_any_rank() {
    let batches: [&[usize]; 6] = [&[], &[3], &[2, 3], &[2, 1, 3], &[3, 2, 2], &[2, 3, 1, 2]];
    for (seed, batch) in batches.into_iter().enumerate() {
        // The dimensions of the batch lie in reverse order in memory.
        let random = |rows, columns, seed| {
            let shape = [&batch.iter().rev().copied().collect::<Vec<_>>()[..], &[rows, columns]];
            let order: Vec<isize> = (0..batch.len()).rev().map(|d| d as isize).collect();
            let order = [&order[..], &[batch.len() as isize, batch.len() as isize + 1]].concat();
            let x = Tensor::randn(&shape.concat(), DType::F64, RngKey::new(seed)).unwrap();
            x.permute(&order).unwrap()
        };
        let (a, b) = (random(2, 3, seed as u64), random(3, 4, 10 + seed as u64));
        let product = a.matmul(&b).unwrap();
        assert_eq!(product.shape(), [batch, &[2, 4]].concat());
        let count = batch.iter().product::<usize>();
        let flat = |x: &Tensor, rows, columns| x.reshape(&[count, rows, columns]).unwrap();
        let (a, b, product) = (flat(&a, 2, 3), flat(&b, 3, 4), flat(&product, 2, 4));
        for i in 0..count {
            let want = a.select(0, i).unwrap().matmul(&b.select(0, i).unwrap()).unwrap();
            let got = product.select(0, i).unwrap();
            assert_eq!(got.to_f64_vec(), want.to_f64_vec(), "{batch:?}, matrix {i}");
        }
    }
}
