//! Attention over packed sequences.

use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{Result, Tensor};
use serde_json::{Value, json};

use crate::context::Context;
use crate::mode;
use crate::op::Op;
use crate::trace::{SavedTensor, Told, numbers};
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
/// let y = attention_composed([&zeros, &zeros, &x], None, &offsets, &Attention::default())?;
/// assert_eq!(y.to_string(), "[[1.5]\n [1.5]\n [3. ]]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn attention_composed(
    [q, k, v]: [&Var; 3],
    bias: Option<&Var>,
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
        let mut p = attention_probabilities(&split(q)?, &split(k)?, bias, options)?;
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

/// How much each query of one sequence attends to each key: `q` and `k` `[heads, n, size]` →
/// `[heads, n, n]`, whose rows sum to 1. For inspection: [`Var::attention`] never stores them.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_autograd::ops::attention::attention_probabilities;
/// # use gradus_tensor::ops::attention::Attention;
/// # use gradus_tensor::{DType, Tensor};
/// let x = Var::constant(Tensor::ones(&[1, 2, 4], DType::F32)?); // two equal tokens
/// let options = Attention { causal: true, ..Default::default() };
/// let p = attention_probabilities(&x, &x, None, &options)?;
/// assert_eq!(p.i(0)?.to_string(), "[[1.  0. ]\n [0.5 0.5]]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// If the shapes do not fit.
pub fn attention_probabilities(
    q: &Var,
    k: &Var,
    bias: Option<&Var>,
    options: &Attention,
) -> Result<Var> {
    let n = q.size(1)?;
    let mut scores = q.matmul(&k.t()?)?.mul_scalar(options.scale)?;
    if let Some(bias) = bias {
        scores = scores.add(&bias_of_pairs(bias, n)?)?;
    }
    let seen = seen(options, n)?.to_device(q.device())?;
    let never = Tensor::full(&[], f64::NEG_INFINITY, q.dtype())?.to_device(q.device())?;
    scores.where_(&seen, &Var::constant(never))?.softmax(-1)
}

/// Which keys each query of a sequence of `n` tokens sees: `[n, n]`, 1 where it does (u8).
fn seen(options: &Attention, n: usize) -> Result<Tensor> {
    let sees = |i: usize, j: usize| {
        let near = options.window.is_none_or(|window| i.abs_diff(j) <= window);
        near && (j <= i || !options.causal)
    };
    let mask: Vec<u8> = (0..n * n).map(|at| sees(at / n, at % n) as u8).collect();
    Tensor::from_slice(&mask, &[n, n])
}

/// The bias `[heads, 2·m + 1]` of each pair of a sequence of `n` tokens: `[heads, n, n]`.
fn bias_of_pairs(bias: &Var, n: usize) -> Result<Var> {
    let reach = bias.size(1)? / 2;
    let place = |i: usize, j: usize| (reach + j).saturating_sub(i).min(2 * reach) as u32;
    let places: Vec<u32> = (0..n * n).map(|at| place(at / n, at % n)).collect();
    let places = Tensor::from_slice(&places, &[n * n])?.to_device(bias.device())?;
    bias.index_select(1, &places)?.reshape(&[bias.size(0)?, n, n])
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
/// let y = attention_qkvpacked_composed(&qkv, None, &offsets, &Attention::default())?;
/// assert_eq!(y.to_string(), "[[1.5]\n [1.5]]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn attention_qkvpacked_composed(
    qkv: &Var,
    bias: Option<&Var>,
    offsets: &Tensor,
    options: &Attention,
) -> Result<Var> {
    let parts = qkv.chunk(3, -1)?;
    attention_composed([&parts[0], &parts[1], &parts[2]], bias, offsets, options)
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
    /// let y = zeros.attention(&zeros, &x, None, &offsets, &Attention::default())?;
    /// assert_eq!(y.to_string(), "[[1.5]\n [1.5]\n [3. ]]");
    /// let grads = y.i(0)?.sum_all()?.backward()?; // token 0 sees the tokens of its sequence
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [0.5, 0.5, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention(
        &self,
        key: &Var,
        value: &Var,
        bias: Option<&Var>,
        offsets: &Tensor,
        options: &Attention,
    ) -> Result<Var> {
        let wide = self.computable()?;
        if wide.dtype() != self.dtype() {
            let (k, v) = (key.computable()?, value.computable()?);
            let bias = bias.map(Var::computable).transpose()?;
            return wide.attention(&k, &v, bias.as_ref(), offsets, options)?.to_dtype(self.dtype());
        }
        let (q, k, v) = (&self.lowered()?, &key.lowered()?, &value.lowered()?);
        let inputs: Vec<&Var> = [q, k, v].into_iter().chain(bias).collect();
        let options = in_mode(options);
        let table = bias.map(Var::tensor);
        let (y, lse) = q.tensor().attention(k.tensor(), v.tensor(), table, offsets, &options)?;
        let offsets = offsets.clone();
        let told = told(&offsets, &options).holds(SavedTensor::LogSum, [&lse]);
        Var::record_told(Op::Attention, y, &inputs, told, move |c| {
            if c.create_graph() {
                return c.composed(|x| {
                    attention_composed([x[0], x[1], x[2]], x.get(3).copied(), &offsets, &options)
                });
            }
            let [k, v] = [1, 2].map(|i| c.input(i).tensor());
            let q = c.input(0).tensor();
            let grads = q.attention_backward(
                [k, v],
                bias_of(c, 3),
                &offsets,
                [&lse, c.grad().tensor()],
                &options,
            )?;
            let grads = [Some(grads.query), Some(grads.key), Some(grads.value), grads.bias];
            Ok(grads.into_iter().take(c.inputs()).map(|t| t.map(Var::constant)).collect())
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
    /// let y = qkv.attention_qkvpacked(None, &offsets, &Attention::default())?;
    /// assert_eq!(y.to_string(), "[[1.5]\n [1.5]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn attention_qkvpacked(
        &self,
        bias: Option<&Var>,
        offsets: &Tensor,
        options: &Attention,
    ) -> Result<Var> {
        let wide = self.computable()?;
        if wide.dtype() != self.dtype() {
            let bias = bias.map(Var::computable).transpose()?;
            let y = wide.attention_qkvpacked(bias.as_ref(), offsets, options)?;
            return y.to_dtype(self.dtype());
        }
        let qkv = &self.lowered()?;
        let inputs: Vec<&Var> = [qkv].into_iter().chain(bias).collect();
        let options = in_mode(options);
        let (y, lse) =
            qkv.tensor().attention_qkvpacked(bias.map(Var::tensor), offsets, &options)?;
        let offsets = offsets.clone();
        let told = told(&offsets, &options).holds(SavedTensor::LogSum, [&lse]);
        Var::record_told(Op::AttentionQkvPacked, y, &inputs, told, move |c| {
            if c.create_graph() {
                return c.composed(|x| {
                    attention_qkvpacked_composed(x[0], x.get(1).copied(), &offsets, &options)
                });
            }
            let (qkv, saved) = (c.input(0).tensor(), [&lse, c.grad().tensor()]);
            let (grad, bias) =
                qkv.attention_qkvpacked_backward(bias_of(c, 1), &offsets, saved, &options)?;
            let grads = [Some(grad), bias];
            Ok(grads.into_iter().take(c.inputs()).map(|t| t.map(Var::constant)).collect())
        })
    }
}

/// With products in bf16 where [`low_precision`](crate::low_precision) asks for 8 or 16 bits within
/// [`no_grad`](crate::no_grad). The inputs do not decide: a checkpoint reads its function's without
/// their graph in forward and with it in backward, and must compute the same.
fn in_mode(options: &Attention) -> Attention {
    let low = mode::low().is_some() && !mode::is_grad_enabled();
    Attention { bf16: options.bf16 || low, ..*options }
}

/// What attention tells a trace: how it attends.
fn told(offsets: &Tensor, options: &Attention) -> Told {
    let told = Told::new()
        .set("offsets", || numbers(offsets))
        .set("heads", || json!(options.heads))
        .set("scale", || json!(options.scale))
        .set("causal", || json!(options.causal))
        .set("window", || json!(options.window))
        .set("p", || json!(options.dropout.map_or(0.0, |(p, _)| p)));
    let Some((p, key)) = options.dropout else { return told };
    // 1 for each probability of the first sequence that dropout keeps.
    told.set("mask", || {
        let bounds = offsets.to_f64_vec();
        let tokens = bounds.get(1).map_or(0, |end| *end as usize);
        let mask = Tensor::attention_dropout_mask(0, tokens, options.heads, p, key);
        mask.map_or(Value::Null, |mask| numbers(&mask))
    })
}

/// The bias, which is input `i` if there is one, and whether its gradient is wanted.
fn bias_of<'a>(c: &'a Context, i: usize) -> Option<(&'a Tensor, bool)> {
    (c.inputs() > i).then(|| (c.input(i).tensor(), c.wants(i)))
}
