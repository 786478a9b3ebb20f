//! Attention over packed sequences.

use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{Result, Tensor};

use crate::op::Op;
use crate::var::Var;

/// The composed reference of [`Var::attention`]: sequence by sequence, with all scores stored.
pub fn attention_composed(
    q: &Var,
    k: &Var,
    v: &Var,
    offsets: &Tensor,
    options: &Attention,
) -> Result<Var> {
    let hidden = q.size(-1)?;
    let (heads, d) = (options.heads, hidden / options.heads);
    let bounds = offsets.to_vec::<u32>()?;
    let mut outputs = Vec::new();
    for w in bounds.windows(2) {
        let (start, n) = (w[0] as usize, (w[1] - w[0]) as usize);
        // [n, hidden] → [heads, n, d]
        let split = |x: &Var| x.narrow(0, start, n)?.reshape(&[n, heads, d])?.permute(&[1, 0, 2]);
        let scores = split(q)?.matmul(&split(k)?.t()?)?.mul_scalar(options.scale)?;
        let mut p = scores.softmax(-1)?;
        if let Some((drop, key)) = options.dropout {
            let mask = Tensor::attention_dropout_mask(start, n, heads, drop, key)?;
            let mask = mask.to_device(q.device())?;
            let keep = if drop < 1.0 { 1.0 / (1.0 - drop) } else { 0.0 };
            p = p.mul(&Var::constant(mask.to_dtype(q.dtype())?.mul_scalar(keep)?))?;
        }
        outputs.push(p.matmul(&split(v)?)?.permute(&[1, 0, 2])?.reshape(&[n, hidden])?);
    }
    if outputs.is_empty() {
        return q.add(k)?.add(v)?.mul_scalar(0.0); // no sequences: an empty result
    }
    Var::cat(&outputs.iter().collect::<Vec<_>>(), 0)
}

/// The composed reference of [`Var::attention_qkvpacked`].
pub fn attention_qkvpacked_composed(
    qkv: &Var,
    offsets: &Tensor,
    options: &Attention,
) -> Result<Var> {
    let parts = qkv.chunk(3, -1)?;
    attention_composed(&parts[0], &parts[1], &parts[2], offsets, options)
}

impl Var {
    /// See [`Tensor::attention`]. Fused: neither direction stores the probabilities.
    pub fn attention(
        &self,
        key: &Var,
        value: &Var,
        offsets: &Tensor,
        options: &Attention,
    ) -> Result<Var> {
        let (q, k, v) = (&self.lowered()?, &key.lowered()?, &value.lowered()?);
        let (y, lse) = q.tensor().attention(k.tensor(), v.tensor(), offsets, options)?;
        let (offsets, options) = (offsets.clone(), *options);
        Var::record(Op::Attention, y, &[q, k, v], move |c| {
            if c.create_graph() {
                return c.composed(|x| attention_composed(x[0], x[1], x[2], &offsets, &options));
            }
            let (dq, dk, dv) = c.input(0).tensor().attention_backward(
                c.input(1).tensor(),
                c.input(2).tensor(),
                &offsets,
                &lse,
                c.grad().tensor(),
                &options,
            )?;
            Ok([dq, dk, dv].into_iter().map(|t| Some(Var::constant(t))).collect())
        })
    }

    /// See [`Tensor::attention_qkvpacked`]. The gradients of query, key and value are written side
    /// by side into one.
    pub fn attention_qkvpacked(&self, offsets: &Tensor, options: &Attention) -> Result<Var> {
        let qkv = &self.lowered()?;
        let (y, lse) = qkv.tensor().attention_qkvpacked(offsets, options)?;
        let (offsets, options) = (offsets.clone(), *options);
        Var::record(Op::AttentionQkvPacked, y, &[qkv], move |c| {
            if c.create_graph() {
                return c.composed(|x| attention_qkvpacked_composed(x[0], &offsets, &options));
            }
            let (qkv, g) = (c.input(0).tensor(), c.grad().tensor());
            let grad = qkv.attention_qkvpacked_backward(&offsets, &lse, g, &options)?;
            Ok(vec![Some(Var::constant(grad))])
        })
    }
}
