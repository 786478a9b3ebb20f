//! Attention over packed sequences, step by step and fused.
//!
//! Two sequences lie end to end, without padding; offsets say where each begins. Every token
//! attends to the tokens of its own sequence.
//!
//! `cargo run --release --example 06_attention`

use gradus::autograd::ops::attention::attention_composed;
use gradus::prelude::*;
use gradus::tensor::ops::attention::Attention;

fn main() -> Result<()> {
    let (heads, hidden) = (2, 8);
    let offsets = Tensor::from_slice(&[0u32, 3, 7], &[3])?; // 3 tokens, then 4
    let random = |name| Tensor::randn(&[7, hidden], DType::F32, RngKey::new(0).place(name));
    let (q, k, v) = (random("q")?, random("k")?, random("v")?);
    let scale = 1.0 / ((hidden / heads) as f64).sqrt();

    // By hand, for the second sequence and the first head: softmax(Q·Kᵀ/√d)·V.
    let part = |x: &Tensor| x.narrow(0, 3, 4)?.narrow(1, 0, hidden / heads);
    let weights = part(&q)?.matmul(&part(&k)?.t()?)?.mul_scalar(scale)?.softmax(-1)?;
    println!("who looks at whom (rows sum to 1):\n{weights}\n");
    let by_hand = weights.matmul(&part(&v)?)?;

    // Fused, for all sequences and heads at once; the weights are never stored.
    let options = Attention { heads, scale, ..Default::default() };
    let (q, k, v) = (Var::leaf(q), Var::leaf(k), Var::leaf(v));
    let fused = q.attention(&k, &v, None, &offsets, &options)?;
    let difference = part(fused.tensor())?.sub(&by_hand)?.abs()?.max(&[], false)?.item()?;
    println!("fused and by hand differ by at most {difference:.1e}");
    assert!(difference < 1e-6);

    // The fused and the composed form have the same gradients.
    let composed = attention_composed([&q, &k, &v], None, &offsets, &options)?;
    let (a, b) =
        (fused.square()?.sum_all()?.backward()?, composed.square()?.sum_all()?.backward()?);
    for (name, var) in [("q", &q), ("k", &k), ("v", &v)] {
        let (a, b) = (a.get(var).expect("used"), b.get(var).expect("used"));
        let difference = a.sub(b)?.abs()?.max(&[], false)?.item()?;
        println!("gradients of {name} differ by at most {difference:.1e}");
        assert!(difference < 1e-4);
    }
    Ok(())
}
