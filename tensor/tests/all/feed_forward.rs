//! Gated linear units and rotary position embedding: what the registry's comparisons with composed
//! forms do not show.

use gradus_tensor::ops::glu::{Gate, Glu};
use gradus_tensor::ops::rotary::Rotary;
use gradus_tensor::{DType, RngKey, Tensor};
use gradus_testing::assert_near;

fn randn(shape: &[usize], dtype: DType, seed: u64) -> Tensor {
    Tensor::randn(shape, dtype, RngKey::new(seed)).unwrap()
}

/// The product of a rotated query and key depends on the distance of their positions alone, and
/// their lengths stay.
#[test]
fn products_of_rotated_heads_depend_on_the_distance() {
    let (d, table) = (6, Tensor::rotary_table(20, 6, 50.0).unwrap());
    let (q, k) = (randn(&[1, d], DType::F64, 1), randn(&[1, d], DType::F64, 2));
    let at = |x: &Tensor, position: u32| {
        let positions = Tensor::from_slice(&[position], &[1]).unwrap();
        let options = Rotary { heads: 1, head_size: d, inverse: false };
        x.rotary_embedding(&table, &positions, options).unwrap()
    };
    let product =
        |i: u32, j: u32| at(&q, i).mul(&at(&k, j)).unwrap().sum_all().unwrap().item().unwrap();
    let length = |x: &Tensor| x.square().unwrap().sum_all().unwrap().item().unwrap();
    for shift in 1..10 {
        assert!((product(2, 7) - product(2 + shift, 7 + shift)).abs() < 1e-6);
        assert!((length(&at(&q, shift)) - length(&q)).abs() < 1e-6);
    }
    assert!((product(2, 7) - product(7, 2)).abs() > 1e-3, "the direction counts");
}

/// The inverse undoes the rotation of the heads' first elements, and nothing else changes.
#[test]
fn the_inverse_undoes_a_rotation() {
    let x = randn(&[5, 23], DType::F64, 3);
    let table = Tensor::rotary_table(9, 4, 10_000.0).unwrap();
    let positions = Tensor::from_slice(&[0u32, 8, 3, 3, 1], &[5]).unwrap();
    let there = Rotary { heads: 3, head_size: 7, inverse: false };
    let y = x.rotary_embedding(&table, &positions, there).unwrap();
    let back = Rotary { inverse: true, ..there };
    let again = y.rotary_embedding(&table, &positions, back).unwrap();
    assert_near("there and back", &again, &x.to_f64_vec(), |_| 1e-6);
    let (x, y) = (x.to_f64_vec(), y.to_f64_vec());
    for (i, (x, y)) in x.iter().zip(&y).enumerate() {
        let (row, column) = (i / 23, i % 23);
        let turns = row > 0 && column < 21 && column % 7 < 4;
        assert_eq!(x != y, turns, "row {row}, column {column}");
    }
}

/// `transformers` computes the angles in f32; these are its values.
#[test]
fn the_table_has_the_angles_of_transformers() {
    let table = Tensor::rotary_table(8192, 64, 10_000.0).unwrap();
    // cos and sin of 8191·10000^(−2·5/64), of the f32 angle.
    let frequency = 1.0f32 / 10_000f64.powf(10.0 / 64.0) as f32;
    let angle = (8191f32 * frequency) as f64;
    let row = table.select(0, 8191).unwrap().to_f64_vec();
    assert_eq!((row[5], row[32 + 5]), (angle.cos() as f32 as f64, angle.sin() as f32 as f64));
}

/// What does not fit is refused by name.
#[test]
fn refusals() {
    let x = randn(&[2, 6], DType::F32, 1);
    let says = |result: gradus_tensor::Result<Tensor>, what: &str| {
        let error = result.err().unwrap_or_else(|| panic!("no error: {what}")).to_string();
        assert!(error.contains(what), "{error}");
    };
    let odd = randn(&[2, 5], DType::F32, 1);
    says(odd.glu(Glu::default()), "[glu] the last dimension must have two halves");
    says(Tensor::scalar(1f32).glu(Glu::default()), "two halves");
    let relu = Glu { gate: Gate::Relu, gate_first: true };
    says(x.glu_backward(&x, relu), "[glu_backward] the gradient is [2, 6]");

    let table = Tensor::rotary_table(3, 2, 10.0).unwrap();
    let positions = Tensor::from_slice(&[0u32, 2], &[2]).unwrap();
    let turned = |table: &Tensor, positions: &Tensor, heads: usize, head_size: usize| {
        x.rotary_embedding(table, positions, Rotary { heads, head_size, inverse: false })
    };
    says(turned(&table, &positions, 4, 2), "4 heads of 2 elements do not lie in 6 columns");
    says(turned(&table, &positions, 4, 0), "4 heads of 0 elements");
    says(turned(&table, &positions, 3, 1), "the table is 3 × 2");
    says(turned(&table, &Tensor::from_slice(&[0u32], &[1]).unwrap(), 1, 2), "2 tokens");
    let far = Tensor::from_slice(&[0u32, 3], &[2]).unwrap();
    says(turned(&table, &far, 1, 2), "id 3 at position 1");
    says(turned(&positions, &positions, 1, 2), "a table [positions, dim]");
    says(Tensor::rotary_table(3, 3, 10.0), "the dimension 3 is odd");
    says(Tensor::rotary_table(3, 2, 0.0), "theta is 0");
}
