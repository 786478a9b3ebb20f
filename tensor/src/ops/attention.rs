//! Scaled dot-product attention over packed sequences.

use gradus_base::RngKey;
use gradus_base::op::attention::{GradientLayout, Sequences};
use gradus_cpu as cpu;

use super::dropout::check_probability;
use super::on_device;
use crate::{DType, ErrorKind, Result, Tensor, bail};
pub use gradus_base::op::attention::Attention;

/// Checks everything about the operands and returns the sequences' bounds.
fn check(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    offsets: &Tensor,
    options: &Attention,
) -> Result<Vec<usize>> {
    let shape = q.shape();
    if shape.len() != 2 || k.shape() != shape || v.shape() != shape {
        bail!(
            "attention",
            Shape,
            "query {shape:?}, key {:?} and value {:?} must be one shape [tokens, hidden]",
            k.shape(),
            v.shape()
        );
    }
    if k.dtype() != q.dtype() || v.dtype() != q.dtype() {
        bail!("attention", DType, "dtypes differ: {}, {}, {}", q.dtype(), k.dtype(), v.dtype());
    }
    if options.heads == 0 || !shape[1].is_multiple_of(options.heads) || shape[1] == 0 {
        bail!(
            "attention",
            Shape,
            "{} heads do not divide the hidden size {}",
            options.heads,
            shape[1]
        );
    }
    options.dropout.map_or(Ok(()), |(p, _)| check_probability("attention", p))?;
    if offsets.dtype() != DType::U32 || offsets.rank() != 1 || offsets.numel() == 0 {
        bail!(
            "attention",
            kind = ErrorKind::shape_or_dtype(offsets.dtype() == DType::U32),
            "offsets are u32 [sequences + 1], got {:?} {}",
            offsets.shape(),
            offsets.dtype()
        );
    }
    let bounds: Vec<usize> = offsets.to_vec::<u32>()?.into_iter().map(|o| o as usize).collect();
    if bounds[0] != 0
        || bounds[bounds.len() - 1] != shape[0]
        || bounds.windows(2).any(|w| w[0] > w[1])
    {
        bail!(
            "attention",
            "offsets must ascend from 0 to the number of tokens, {}; they begin {:?}",
            shape[0],
            &bounds[..bounds.len().min(8)]
        );
    }
    Ok(bounds)
}

/// The gradients of query, key and value in one tensor of `3·tokens·hidden` elements.
fn backward(
    [q, k, v]: [&Tensor; 3],
    offsets: &Tensor,
    lse: &Tensor,
    grad: &Tensor,
    options: &Attention,
    layout: GradientLayout,
) -> Result<Tensor> {
    let bounds = check(q, k, v, offsets, options)?;
    if grad.shape() != q.shape() || lse.shape() != [options.heads, q.shape()[0]] {
        bail!(
            "attention",
            Shape,
            "gradient {:?} and denominators {:?} do not fit the query {:?}",
            grad.shape(),
            lse.shape(),
            q.shape()
        );
    }
    let sequences = Sequences { q, k, v, offsets, bounds: &bounds };
    on_device!(
        "attention_backward",
        [q, k, v, offsets, lse, grad],
        attention::backward(sequences, lse, grad, options, layout)
    )
}

impl Tensor {
    /// Attention of every token to the tokens of its own sequence (Vaswani et al.,
    /// arXiv:1706.03762): per sequence and head, `softmax(Q·Kᵀ·scale)·V`.
    ///
    /// `self` (queries), `key` and `value` are `[tokens, hidden]`, sequences end to end; `offsets`
    /// (u32, `[sequences + 1]`) says where each begins. Returns the output `[tokens, hidden]` and
    /// the logarithms of the softmax's denominators `[heads, tokens]`, which backward needs. No
    /// tensor of size tokens × tokens is stored.
    ///
    /// ```
    /// # use gradus_tensor::ops::attention::Attention;
    /// # use gradus_tensor::Tensor;
    /// let values = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3, 1])?;
    /// let zeros = values.zeros_like()?; // equal scores: the mean of the values
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?; // two tokens, then one
    /// let options = Attention { heads: 1, scale: 1.0, dropout: None };
    /// let (y, lse) = zeros.attention(&zeros, &values, &offsets, &options)?;
    /// assert_eq!(y.to_string(), "[[1.5]\n [1.5]\n [3. ]]");
    /// assert_eq!(lse.to_string(), "[[0.6931 0.6931 0.    ]]"); // ln 2, ln 2, ln 1
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention(
        &self,
        key: &Tensor,
        value: &Tensor,
        offsets: &Tensor,
        options: &Attention,
    ) -> Result<(Tensor, Tensor)> {
        let bounds = check(self, key, value, offsets, options)?;
        let sequences = Sequences { q: self, k: key, v: value, offsets, bounds: &bounds };
        on_device!("attention", [self, key, value, offsets], attention::forward(sequences, options))
    }

    /// The gradients of [`attention`](Tensor::attention) with respect to query, key and value.
    ///
    /// ```
    /// # use gradus_tensor::ops::attention::Attention;
    /// # use gradus_tensor::Tensor;
    /// let values = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3, 1])?;
    /// let q = values.zeros_like()?;
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?;
    /// let options = Attention { heads: 1, scale: 1.0, dropout: None };
    /// let (_, lse) = q.attention(&q, &values, &offsets, &options)?;
    /// let grad = Tensor::from_slice(&[1f32, 0.0, 0.0], &[3, 1])?; // of token 0, a mean of two
    /// let (_, _, dv) = q.attention_backward(&q, &values, &offsets, &lse, &grad, &options)?;
    /// assert_eq!(dv.to_vec::<f32>()?, [0.5, 0.5, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention_backward(
        &self,
        key: &Tensor,
        value: &Tensor,
        offsets: &Tensor,
        lse: &Tensor,
        grad: &Tensor,
        options: &Attention,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let part = self.numel();
        let row = self.shape().last().copied().unwrap_or(0);
        let layout = GradientLayout { row, part };
        let all = backward([self, key, value], offsets, lse, grad, options, layout)?;
        let of = |i: usize| all.narrow(0, i * part, part)?.reshape(self.shape());
        Ok((of(0)?, of(1)?, of(2)?))
    }

    /// [`attention`](Tensor::attention) of query, key and value side by side: `self` is
    /// `[tokens, 3·hidden]`, as [`linear_cat`](Tensor::linear_cat) makes it.
    ///
    /// ```
    /// # use gradus_tensor::ops::attention::Attention;
    /// # use gradus_tensor::Tensor;
    /// // A row for each token: query, key and value of one number each.
    /// let qkv = Tensor::from_slice(&[0f32, 0.0, 1.0, 0.0, 0.0, 2.0], &[2, 3])?;
    /// let offsets = Tensor::from_slice(&[0u32, 2], &[2])?;
    /// let options = Attention { heads: 1, scale: 1.0, dropout: None };
    /// let (y, _) = qkv.attention_qkvpacked(&offsets, &options)?;
    /// assert_eq!(y.to_string(), "[[1.5]\n [1.5]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention_qkvpacked(
        &self,
        offsets: &Tensor,
        options: &Attention,
    ) -> Result<(Tensor, Tensor)> {
        let [q, k, v] = self.unpacked()?;
        q.attention(&k, &v, offsets, options)
    }

    /// The gradient of [`attention_qkvpacked`](Tensor::attention_qkvpacked), of the shape of
    /// `self`.
    ///
    /// ```
    /// # use gradus_tensor::ops::attention::Attention;
    /// # use gradus_tensor::Tensor;
    /// // A row for each token: query, key and value of one number each.
    /// let qkv = Tensor::from_slice(&[0f32, 0.0, 1.0, 0.0, 0.0, 2.0], &[2, 3])?;
    /// let offsets = Tensor::from_slice(&[0u32, 2], &[2])?;
    /// let options = Attention { heads: 1, scale: 1.0, dropout: None };
    /// let (_, lse) = qkv.attention_qkvpacked(&offsets, &options)?;
    /// let grad = Tensor::from_slice(&[1f32, 0.0], &[2, 1])?; // of token 0, a mean of two values
    /// let dqkv = qkv.attention_qkvpacked_backward(&offsets, &lse, &grad, &options)?;
    /// assert_eq!(dqkv.i((.., 2))?.to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention_qkvpacked_backward(
        &self,
        offsets: &Tensor,
        lse: &Tensor,
        grad: &Tensor,
        options: &Attention,
    ) -> Result<Tensor> {
        let [q, k, v] = self.unpacked()?;
        let hidden = q.shape()[1];
        let layout = GradientLayout { row: 3 * hidden, part: hidden };
        backward([&q, &k, &v], offsets, lse, grad, options, layout)?.reshape(self.shape())
    }

    /// Query, key and value of `[tokens, 3·hidden]`.
    fn unpacked(&self) -> Result<[Tensor; 3]> {
        let shape = self.shape();
        if shape.len() != 2 || !shape[1].is_multiple_of(3) {
            bail!(
                "attention_qkvpacked",
                Shape,
                "query, key and value lie side by side in [tokens, 3·hidden], got {shape:?}"
            );
        }
        let hidden = shape[1] / 3;
        let part = |i: usize| self.narrow(1, i * hidden, hidden);
        Ok([part(0)?, part(1)?, part(2)?])
    }

    /// The mask of attention's dropout for one sequence of `length` tokens that begins at token
    /// `start`: `[heads, length, length]`, 1 where the probability is kept (u8).
    ///
    /// ```
    /// # use gradus_tensor::{RngKey, Tensor};
    /// let mask = Tensor::attention_dropout_mask(0, 3, 2, 0.0, RngKey::new(0))?;
    /// assert_eq!(mask.shape(), [2, 3, 3]);
    /// assert_eq!(mask.sum_all()?.item()?, 18.0); // p = 0 keeps all
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention_dropout_mask(
        start: usize,
        length: usize,
        heads: usize,
        p: f64,
        key: RngKey,
    ) -> Result<Tensor> {
        let op = "attention_dropout_mask";
        check_probability(op, p)?;
        if u32::try_from(start.saturating_add(length)).is_err() || u32::try_from(heads).is_err() {
            bail!(op, "{length} tokens from {start} on, {heads} heads: each must be below 2³²");
        }
        Ok(Tensor::from_array(cpu::attention::dropout_mask(op, start, [heads, length], p, key)?))
    }
}
