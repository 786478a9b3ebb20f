//! Matrix products.

use crate::cpu;
use crate::device::{begin, on_device};
use crate::layout::broadcast_shapes;
use crate::{DType, Device, Result, Tensor, bail};

impl Tensor {
    /// The matrix product over the last two dimensions: `[…, m, k] × […, k, n] → […, m, n]`.
    ///
    /// The leading dimensions broadcast. Any strides are taken as they are, so transposed and
    /// broadcast operands cost no copy. `k = 0` gives zeros.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        self.matmul_out_dtype(other, self.dtype())
    }

    /// [`matmul`](Tensor::matmul) with a result in `dtype`: of f16 operands, whose product a GPU sums in
    /// f32, the sums themselves (`torch.mm(…, out_dtype=torch.float32)`).
    ///
    /// # Errors
    /// If `dtype` is neither the operands' nor f32 for operands in f16.
    pub fn matmul_out_dtype(&self, other: &Tensor, dtype: DType) -> Result<Tensor> {
        if dtype != self.dtype() && (self.dtype(), dtype) != (DType::F16, DType::F32) {
            bail!("matmul", "a product of {} has that dtype, not {dtype}", self.dtype());
        }
        let (a, b) = (self.shape(), other.shape());
        if a.len() < 2 || b.len() < 2 {
            bail!("matmul", "needs two dimensions or more: {a:?} and {b:?}; unsqueeze a vector");
        }
        if self.dtype() != other.dtype() {
            bail!("matmul", "dtypes differ: {} and {}", self.dtype(), other.dtype());
        }
        let (batch_a, batch_b) = (&a[..a.len() - 2], &b[..b.len() - 2]);
        let (m, k, n) = (a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]);
        if b[b.len() - 2] != k {
            bail!("matmul", "inner sizes differ: {a:?} and {b:?} ({k} and {})", b[b.len() - 2]);
        }
        let batch = broadcast_shapes("matmul", batch_a, batch_b)?;
        let full = |m: usize, n: usize| batch.iter().copied().chain([m, n]).collect::<Vec<_>>();
        let (x, y) = (self.broadcast_to(&full(m, k))?, other.broadcast_to(&full(k, n))?);
        on_device!("matmul", [self, other], matmul::matmul(&x, &y, &full(m, n), dtype))
    }

    /// The linear layer in one pass: `x·Wᵀ + b` for `x […, in]`, `W [out, in]` as checkpoints store
    /// it, `b [out]`; beside f16 the bias may be f32. Composed reference:
    /// `x.matmul(&w.t()?)?.add(&b)`.
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (flat, shape) = check_linear("linear", self, weight, bias)?;
        let operands: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        on_device!("linear", &operands; matmul::linear(&flat, weight, bias))?.reshape(&shape)
    }

    /// GELU of the linear layer, `GELU(x·Wᵀ + b)`, in the same pass; shapes as for
    /// [`linear`](Tensor::linear). With `keep` also returns `x·Wᵀ + b`, which the derivative needs.
    /// Composed reference: `x.linear(&w, b)?.gelu()`.
    pub fn linear_gelu(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        keep: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (flat, shape) = check_linear("linear_gelu", self, weight, bias)?;
        let operands: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        let (y, before) = on_device!(
            "linear_gelu", &operands; matmul::linear_gelu(&flat, weight, bias, keep)
        )?;
        Ok((y.reshape(&shape)?, before.map(|z| z.reshape(&shape)).transpose()?))
    }
}

impl Tensor {
    /// The linear layer with its weight in 8 bits (one scale an output channel, made on first use and kept
    /// until the weight changes) and its input in up to 16 (one scale a row); with `gelu`, GELU of it. For
    /// inference on the CPU: there is no derivative. Shapes as for [`linear`](Tensor::linear), f32 only.
    ///
    /// What is lost is the rounding of the weights: at most 1/254 of the largest of a channel for each. A
    /// row or channel with an infinity or a NaN results in NaN. Quantisation after Jacob et al.,
    /// arXiv:1712.05877, symmetric. Composed reference: `linear` of the rounded weight.
    pub fn linear_int8(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        gelu: bool,
    ) -> Result<Tensor> {
        let op = "linear_int8";
        let (flat, shape) = check_linear(op, self, weight, bias)?;
        let operands: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        for operand in &operands {
            if operand.dtype() != DType::F32 || operand.device() != Device::Cpu {
                let (dtype, device) = (operand.dtype(), operand.device());
                bail!(op, "computes on f32 on the CPU, got {dtype} on {device}; use linear");
            }
        }
        let bias = bias.map(Tensor::contiguous).transpose()?;
        let (_, span) = begin(op, &operands)?;
        let result = cpu::int8::linear(&flat.contiguous()?, weight, bias.as_ref(), gelu);
        span.end(&result);
        result?.reshape(&shape)
    }
}

/// Checks a linear layer's operands; returns the input as `[rows, in]` and the result's shape.
fn check_linear(
    op: &'static str,
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<(Tensor, Vec<usize>)> {
    let (x, w) = (input.shape(), weight.shape());
    if w.len() != 2 || x.is_empty() || x[x.len() - 1] != w[1] {
        bail!(op, "input {x:?} does not fit the weight {w:?} ([out, in])");
    }
    if bias.is_some_and(|b| b.shape() != [w[0]]) {
        bail!(
            op,
            "bias {:?} does not fit the weight {w:?}; it needs [{}]",
            bias.map(Tensor::shape).unwrap_or_default(),
            w[0]
        );
    }
    let dtype = input.dtype();
    if dtype != weight.dtype() {
        bail!(op, "input {dtype}, weight {}: dtypes differ", weight.dtype());
    }
    let fits = |b: DType| b == dtype || (dtype, b) == (DType::F16, DType::F32);
    if let Some(bias) = bias.filter(|b| !fits(b.dtype())) {
        bail!(op, "input {dtype}, bias {}: dtypes differ", bias.dtype());
    }
    let rows: usize = x[..x.len() - 1].iter().product();
    let mut shape = x.to_vec();
    *shape.last_mut().expect("checked above") = w[0];
    Ok((input.reshape(&[rows, w[1]])?, shape))
}
