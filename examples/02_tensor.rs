//! Tensors: shapes, views, broadcasting.
//!
//! A tensor is a shared storage seen through a layout (shape, strides, offset). Transposing,
//! slicing and broadcasting change the layout and copy nothing.
//!
//! `cargo run --release --example 02_tensor`

use gradus::prelude::*;

fn main() -> Result<()> {
    let a = Tensor::arange(0.0, 12.0, 1.0, DType::F32)?.reshape(&[3, 4])?;
    println!("a, shape {:?}, strides {:?}:\n{a}\n", a.shape(), a.layout().strides());

    let t = a.t()?;
    println!(
        "transposed, strides {:?}, the same storage: {}",
        t.layout().strides(),
        t.shares_storage(&a)
    );
    println!("{t}\n");

    let middle = a.narrow(1, 1, 2)?;
    println!("columns 1 and 2, offset {}:\n{middle}\n", middle.layout().offset());

    // A row is added to every row: its stride along the first dimension is 0.
    let row = Tensor::from_slice(&[10f32, 20.0, 30.0, 40.0], &[4])?;
    println!("a + row:\n{}\n", a.add(&row)?);

    // Products accept any strides; nothing is copied.
    println!("a · aᵀ:\n{}\n", a.matmul(&t)?);
    println!("mean of each column: {}", a.mean(&[0], false)?);
    println!("softmax of each row:\n{}\n", a.softmax(-1)?);

    // Shapes that do not fit are errors that say what to do.
    println!("{}", a.matmul(&a).expect_err("4 is not 3"));

    // A random number depends on (seed, place) only: any machine and thread count gives the same.
    println!("\nrandom:\n{}", Tensor::randn(&[2, 3], DType::F32, RngKey::new(0).place("example"))?);
    Ok(())
}
