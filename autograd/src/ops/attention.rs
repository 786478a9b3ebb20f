//! Attention over packed sequences.

use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{Result, Tensor};

use crate::op::Op;
use crate::var::Var;

/// The composed reference of [`Var::attention`]: sequence by sequence, with all scores stored.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_tensor::ops::attention::Attention;
/// # use gradus_tensor::Tensor;
/// # use gradus_autograd::ops::attention::attention_composed;
/// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3, 1])?);
/// let zeros = Var::constant(x.tensor().zeros_like()?); // equal scores: the mean of the values
/// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?; // sequences of two tokens and of one
/// let options = Attention { heads: 1, scale: 1.0, dropout: None };
/// let y = attention_composed(&zeros, &zeros, &x, &offsets, &options)?;
/// assert_eq!(y.to_string(), "[[1.5]\n [1.5]\n [3. ]]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
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
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_tensor::ops::attention::Attention;
/// # use gradus_tensor::Tensor;
/// # use gradus_autograd::ops::attention::attention_qkvpacked_composed;
/// let qkv = Var::constant(Tensor::from_slice(&[0f32, 0.0, 1.0, 0.0, 0.0, 2.0], &[2, 3])?);
/// let offsets = Tensor::from_slice(&[0u32, 2], &[2])?;
/// let options = Attention { heads: 1, scale: 1.0, dropout: None };
/// let y = attention_qkvpacked_composed(&qkv, &offsets, &options)?;
/// assert_eq!(y.to_string(), "[[1.5]\n [1.5]]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::ops::attention::Attention;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3, 1])?);
    /// let zeros = Var::constant(x.tensor().zeros_like()?); // equal scores: the mean of the values
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?; // two tokens, then one
    /// let options = Attention { heads: 1, scale: 1.0, dropout: None };
    /// let y = zeros.attention(&zeros, &x, &offsets, &options)?;
    /// assert_eq!(y.to_string(), "[[1.5]\n [1.5]\n [3. ]]");
    /// let grads = y.i(0)?.sum_all()?.backward()?; // token 0 sees the tokens of its sequence
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [0.5, 0.5, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention(
        &self,
        key: &Var,
        value: &Var,
        offsets: &Tensor,
        options: &Attention,
    ) -> Result<Var> {
        let wide = self.computable()?;
        if wide.dtype() != self.dtype() {
            let (k, v) = (key.computable()?, value.computable()?);
            return wide.attention(&k, &v, offsets, options)?.to_dtype(self.dtype());
        }
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::ops::attention::Attention;
    /// # use gradus_tensor::Tensor;
    /// // Each row: a query, a key and a value of one number.
    /// let qkv = Var::constant(Tensor::from_slice(&[0f32, 0.0, 1.0, 0.0, 0.0, 2.0], &[2, 3])?);
    /// let offsets = Tensor::from_slice(&[0u32, 2], &[2])?;
    /// let options = Attention { heads: 1, scale: 1.0, dropout: None };
    /// let y = qkv.attention_qkvpacked(&offsets, &options)?;
    /// assert_eq!(y.to_string(), "[[1.5]\n [1.5]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention_qkvpacked(&self, offsets: &Tensor, options: &Attention) -> Result<Var> {
        let wide = self.computable()?;
        if wide.dtype() != self.dtype() {
            return wide.attention_qkvpacked(offsets, options)?.to_dtype(self.dtype());
        }
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
