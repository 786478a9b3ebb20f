//! Scaled dot-product attention over packed sequences.

use gradus_base::RngKey;
use gradus_base::op::attention::{GradientLayout, Sequences};
use gradus_cpu as cpu;

use super::dropout::check_probability;
use super::on_device;
use crate::{DType, ErrorKind, Result, Tensor, bail};
pub use gradus_base::op::attention::Attention;

/// The gradients of [`Tensor::attention`].
pub struct AttentionGrads {
    /// Of the queries, `[tokens, hidden]`.
    pub query: Tensor,
    /// Of the keys.
    pub key: Tensor,
    /// Of the values.
    pub value: Tensor,
    /// Of the bias, if it was wanted.
    pub bias: Option<Tensor>,
}

/// What attention works on: query, key, value, the bias of the scores, and the offsets.
struct Operands<'a> {
    q: &'a Tensor,
    k: &'a Tensor,
    v: &'a Tensor,
    bias: Option<&'a Tensor>,
    offsets: &'a Tensor,
    options: &'a Attention,
}

impl<'a> Operands<'a> {
    /// Checks everything about them and returns the sequences' bounds.
    fn check(&self) -> Result<Vec<usize>> {
        let Operands { q, k, v, options, .. } = self;
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
        let heads = options.heads;
        if heads == 0 || !shape[1].is_multiple_of(heads) || shape[1] == 0 {
            let hidden = shape[1];
            bail!("attention", Shape, "{heads} heads do not divide the hidden size {hidden}");
        }
        options.dropout.map_or(Ok(()), |(p, _)| check_probability("attention", p))?;
        self.check_bias()?;
        self.bounds()
    }

    fn check_bias(&self) -> Result<()> {
        let (Some(bias), heads, dtype) = (self.bias, self.options.heads, self.q.dtype()) else {
            return Ok(());
        };
        let shaped = matches!(*bias.shape(), [h, width] if h == heads && width % 2 == 1);
        if !shaped || !(bias.dtype() == dtype || (dtype.is_half() && bias.dtype() == DType::F32)) {
            bail!(
                "attention",
                kind = ErrorKind::shape_or_dtype(!shaped),
                "the bias of the scores is {:?} {}; it must be {dtype} [{heads}, 2·m + 1], a \
                 number for each of the {heads} heads and distance from −m to m",
                bias.shape(),
                bias.dtype()
            );
        }
        Ok(())
    }

    fn bounds(&self) -> Result<Vec<usize>> {
        let (offsets, tokens) = (self.offsets, self.q.shape()[0]);
        if offsets.dtype() != DType::U32 || offsets.rank() != 1 || offsets.numel() == 0 {
            bail!(
                "attention",
                kind = ErrorKind::shape_or_dtype(offsets.dtype() == DType::U32),
                "offsets are u32 [sequences + 1], got {:?} {}",
                offsets.shape(),
                offsets.dtype()
            );
        }
        let bounds: Vec<usize> =
            offsets.to_vec::<u32>()?.into_iter().map(|offset| offset as usize).collect();
        let ascend = bounds[0] == 0 && bounds.is_sorted() && bounds[bounds.len() - 1] == tokens;
        if !ascend {
            bail!(
                "attention",
                "offsets must ascend from 0 to the number of tokens, {tokens}; they begin {:?}",
                &bounds[..bounds.len().min(8)]
            );
        }
        Ok(bounds)
    }

    fn sequences<'b>(&self, bounds: &'b [usize]) -> Sequences<'b, &'b Tensor>
    where
        'a: 'b,
    {
        let Operands { q, k, v, bias, offsets, .. } = *self;
        Sequences { q, k, v, bias, offsets, bounds }
    }

    /// All of them, and others.
    fn tensors(&self, more: &[&'a Tensor]) -> Vec<&'a Tensor> {
        [self.q, self.k, self.v, self.offsets]
            .into_iter()
            .chain(self.bias)
            .chain(more.iter().copied())
            .collect()
    }

    /// Floating-point operations of so many products of all queries and the keys that they see.
    fn flops(&self, bounds: &[usize], products: u64) -> u64 {
        let sight = self.options.sight();
        let pairs = bounds.windows(2).map(|w| sight.pairs(w[1] - w[0]));
        let pairs = pairs.fold(0, u64::saturating_add);
        pairs.saturating_mul(self.q.shape()[1] as u64).saturating_mul(2 * products)
    }

    /// The output, and the logarithms of the denominators.
    fn forward(&self) -> Result<(Tensor, Tensor)> {
        let bounds = self.check()?;
        let (sequences, options) = (self.sequences(&bounds), self.options);
        // Q·Kᵀ and P·V.
        let flops = || self.flops(&bounds, 2);
        on_device!(
            "attention", &self.tensors(&[]), flops: flops;
            attention::forward(sequences, options)
        )
    }

    /// The gradients of query, key and value in one tensor of `3·tokens·hidden` elements, and that
    /// of the bias if it is wanted.
    fn backward(
        &self,
        lse: &'a Tensor,
        grad: &'a Tensor,
        layout: GradientLayout,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let bounds = self.check()?;
        let (q, options) = (self.q, self.options);
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
        let sequences = self.sequences(&bounds);
        // P again, dV, dP, dQ, dK.
        let flops = || self.flops(&bounds, 5);
        on_device!(
            "attention_backward", &self.tensors(&[lse, grad]), flops: flops;
            attention::backward(sequences, lse, grad, options, layout)
        )
    }
}

impl Tensor {
    /// Attention of every token to the tokens of its own sequence (Vaswani et al.,
    /// arXiv:1706.03762): per sequence and head, `softmax(Q·Kᵀ·scale)·V`.
    ///
    /// `self` (queries), `key` and `value` are `[tokens, hidden]`, sequences end to end; `offsets`
    /// (u32, `[sequences + 1]`) says where each begins. [`Attention`] says which tokens of its
    /// sequence a token sees; the work is in proportion. Returns the output `[tokens, hidden]` and
    /// the logarithms of the softmax's denominators `[heads, tokens]`, which backward needs. No
    /// tensor of size tokens × tokens is stored.
    ///
    /// `bias` `[heads, 2·m + 1]` is added to the scaled scores: element `m + j − i` of the head's
    /// row to the score of query i and key j, for distances beyond m the first or the last element.
    /// T5's relative position bias is such a table, its buckets chosen by `index_select`; ALiBi's
    /// (Press et al., arXiv:2108.12409) is a constant one. It may be f32 where the others are f16.
    ///
    /// ```
    /// # use gradus_tensor::ops::attention::Attention;
    /// # use gradus_tensor::Tensor;
    /// let values = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3, 1])?;
    /// let zeros = values.zeros_like()?; // equal scores: the mean of the values
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?; // two tokens, then one
    /// let options = Attention::default();
    /// let (y, lse) = zeros.attention(&zeros, &values, None, &offsets, &options)?;
    /// assert_eq!(y.to_string(), "[[1.5]\n [1.5]\n [3. ]]");
    /// assert_eq!(lse.to_string(), "[[0.6931 0.6931 0.    ]]"); // ln 2, ln 2, ln 1
    ///
    /// let causal = Attention { causal: true, ..options };
    /// let (y, _) = zeros.attention(&zeros, &values, None, &offsets, &causal)?;
    /// assert_eq!(y.to_string(), "[[1. ]\n [1.5]\n [3. ]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention(
        &self,
        key: &Tensor,
        value: &Tensor,
        bias: Option<&Tensor>,
        offsets: &Tensor,
        options: &Attention,
    ) -> Result<(Tensor, Tensor)> {
        Operands { q: self, k: key, v: value, bias, offsets, options }.forward()
    }

    /// The gradients of [`attention`](Tensor::attention) with respect to query, key and value, and
    /// to the bias if there is one and its flag says that it is wanted. `lse` and `grad` are the
    /// denominators and the output's gradient. On the way to the bias's gradient there is one for
    /// each sequence on the CPU, for each 16 tokens on a GPU.
    ///
    /// ```
    /// # use gradus_tensor::ops::attention::Attention;
    /// # use gradus_tensor::Tensor;
    /// let values = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3, 1])?;
    /// let q = values.zeros_like()?;
    /// let offsets = Tensor::from_slice(&[0u32, 2, 3], &[3])?;
    /// let options = Attention::default();
    /// let (_, lse) = q.attention(&q, &values, None, &offsets, &options)?;
    /// let grad = Tensor::from_slice(&[1f32, 0.0, 0.0], &[3, 1])?; // of token 0, a mean of two
    /// let grads =
    ///     q.attention_backward([&q, &values], None, &offsets, [&lse, &grad], &options)?;
    /// assert_eq!(grads.value.to_vec::<f32>()?, [0.5, 0.5, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention_backward(
        &self,
        [key, value]: [&Tensor; 2],
        bias: Option<(&Tensor, bool)>,
        offsets: &Tensor,
        [lse, grad]: [&Tensor; 2],
        options: &Attention,
    ) -> Result<AttentionGrads> {
        let (row, part) = (self.shape().last().copied().unwrap_or(0), self.numel());
        let layout = GradientLayout { row, part, bias: bias.is_some_and(|(_, wanted)| wanted) };
        let bias = bias.map(|(bias, _)| bias);
        let operands = Operands { q: self, k: key, v: value, bias, offsets, options };
        let (all, bias) = operands.backward(lse, grad, layout)?;
        let of = |i: usize| all.narrow(0, i * part, part)?.reshape(self.shape());
        Ok(AttentionGrads { query: of(0)?, key: of(1)?, value: of(2)?, bias })
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
    /// let (y, _) = qkv.attention_qkvpacked(None, &offsets, &Attention::default())?;
    /// assert_eq!(y.to_string(), "[[1.5]\n [1.5]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention_qkvpacked(
        &self,
        bias: Option<&Tensor>,
        offsets: &Tensor,
        options: &Attention,
    ) -> Result<(Tensor, Tensor)> {
        let [q, k, v] = self.unpacked()?;
        q.attention(&k, &v, bias, offsets, options)
    }

    /// The gradient of [`attention_qkvpacked`](Tensor::attention_qkvpacked), of the shape of
    /// `self`, and that of the bias, as
    /// [`attention_backward`](Tensor::attention_backward).
    ///
    /// ```
    /// # use gradus_tensor::ops::attention::Attention;
    /// # use gradus_tensor::Tensor;
    /// // A row for each token: query, key and value of one number each.
    /// let qkv = Tensor::from_slice(&[0f32, 0.0, 1.0, 0.0, 0.0, 2.0], &[2, 3])?;
    /// let offsets = Tensor::from_slice(&[0u32, 2], &[2])?;
    /// let options = Attention::default();
    /// let (_, lse) = qkv.attention_qkvpacked(None, &offsets, &options)?;
    /// let grad = Tensor::from_slice(&[1f32, 0.0], &[2, 1])?; // of token 0, a mean of two values
    /// let (dqkv, _) =
    ///     qkv.attention_qkvpacked_backward(None, &offsets, [&lse, &grad], &options)?;
    /// assert_eq!(dqkv.i((.., 2))?.to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention_qkvpacked_backward(
        &self,
        bias: Option<(&Tensor, bool)>,
        offsets: &Tensor,
        [lse, grad]: [&Tensor; 2],
        options: &Attention,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let [q, k, v] = &self.unpacked()?;
        let (hidden, wanted) = (q.shape()[1], bias.is_some_and(|(_, wanted)| wanted));
        let layout = GradientLayout { row: 3 * hidden, part: hidden, bias: wanted };
        let bias = bias.map(|(bias, _)| bias);
        let operands = Operands { q, k, v, bias, offsets, options };
        let (all, bias) = operands.backward(lse, grad, layout)?;
        Ok((all.reshape(self.shape())?, bias))
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
