//! Matrix products.

use gradus_base::layout::broadcast_shapes;
use gradus_base::sizes;
use gradus_cpu as cpu;
use gradus_cpu::low::Gelu;

use super::half::{all_widened, in_f32, is_half, widened};
use super::{begin, end, on_device};
use crate::{DType, Device, ErrorKind, Result, Tensor, bail};
pub use gradus_base::op::matmul::LowPrecision;

impl Tensor {
    /// The matrix product over the last two dimensions: `[…, m, k] × […, k, n] → […, m, n]`.
    ///
    /// The leading dimensions broadcast. The product reads any strides, so transposed and broadcast
    /// operands cost no copy. `k = 0` gives zeros.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let a = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let b = Tensor::from_slice(&[10f32, 20.0], &[2, 1])?;
    /// let y = a.matmul(&b)?; // 1·10 + 2·20 and 3·10 + 4·20
    /// assert_eq!(y.to_string(), "[[ 50.]\n [110.]]");
    /// let batch = Tensor::zeros(&[7, 3, 2], DType::F32)?;
    /// assert_eq!(batch.matmul(&b)?.shape(), [7, 3, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        self.matmul_out_dtype(other, self.dtype())
    }

    /// [`matmul`](Tensor::matmul) with a result in `dtype`: a GPU sums products of f16 in f32, and
    /// for `dtype` f32 the result is these sums, not rounded (`torch.mm(…,
    /// out_dtype=torch.float32)`).
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let a = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// assert_eq!(a.matmul_out_dtype(&a.t()?, DType::F32)?.to_string(), "[[5.]]");
    /// assert!(a.matmul_out_dtype(&a.t()?, DType::F64).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `dtype` is neither the operands' nor f32 for operands in f16.
    pub fn matmul_out_dtype(&self, other: &Tensor, dtype: DType) -> Result<Tensor> {
        check_out_dtype("matmul", self.dtype(), dtype)?;
        let (a, b) = (self.shape(), other.shape());
        if a.len() < 2 || b.len() < 2 {
            bail!(
                "matmul",
                Shape,
                "needs two dimensions or more: {a:?} and {b:?}; unsqueeze a vector"
            );
        }
        if self.dtype() != other.dtype() {
            bail!("matmul", DType, "dtypes differ: {} and {}", self.dtype(), other.dtype());
        }
        let (batch_a, batch_b) = (&a[..a.len() - 2], &b[..b.len() - 2]);
        let (m, k, n) = (a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]);
        if b[b.len() - 2] != k {
            bail!(
                "matmul",
                Shape,
                "inner sizes differ: {a:?} and {b:?} ({k} and {})",
                b[b.len() - 2]
            );
        }
        let batch = broadcast_shapes("matmul", batch_a, batch_b)?;
        let full = |m: usize, n: usize| batch.iter().copied().chain([m, n]).collect::<Vec<_>>();
        for shape in [full(m, n), full(m, k), full(k, n)] {
            sizes::result("matmul", &shape, &[a, b])?;
        }
        if is_half(self) {
            return widened(self)?.matmul(&widened(other)?)?.to_dtype(dtype);
        }
        let (x, y) = (self.broadcast_to(&full(m, k))?, other.broadcast_to(&full(k, n))?);
        on_device!("matmul", [self, other], matmul::matmul(&x, &y, &full(m, n), dtype))
    }

    /// The linear layer in one pass: `x·Wᵀ + b` for `x […, in]`, `W [out, in]` as checkpoints store
    /// it, `b [out]`; with f16 the bias may be f32. Composed reference:
    /// `x.matmul(&w.t()?)?.add(&b)`.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// let w = Tensor::from_slice(&[3f32, 4.0, 5.0, 6.0], &[2, 2])?; // [out, in]
    /// let b = Tensor::from_slice(&[0.5f32, -0.5], &[2])?;
    /// let y = x.linear(&w, Some(&b))?; // 1·3 + 2·4 + 0.5 and 1·5 + 2·6 − 0.5
    /// assert_eq!(y.to_string(), "[[11.5 16.5]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (flat, shape) = check_linear("linear", self, weight, bias)?;
        if is_half(self) {
            let bias = bias.map(widened).transpose()?;
            return in_f32([self, weight], |[x, w]| x.linear(w, bias.as_ref()));
        }
        let operands: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        on_device!("linear", &operands; matmul::linear(&flat, weight, bias))?.reshape(&shape)
    }

    /// The gradients of a linear layer's weight and bias, `Gᵀ·x` `[out, in]` and `ΣG` `[out]`, for
    /// `self`, the gradient G `[rows, out]`, and its input `x [rows, in]`; in `dtype`, as
    /// [`matmul_out_dtype`](Tensor::matmul_out_dtype). A GPU makes both in one pass over G where it
    /// can.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let grad = Tensor::from_slice(&[1f32, 2.0], &[2, 1])?;
    /// let x = Tensor::from_slice(&[3f32, 4.0, 5.0, 6.0], &[2, 2])?;
    /// let (dw, db) = grad.linear_parameters_backward(&x, DType::F32)?;
    /// assert_eq!(dw.to_string(), "[[13. 16.]]"); // 1·3 + 2·5 and 1·4 + 2·6
    /// assert_eq!(db.to_string(), "[3.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear_parameters_backward(&self, x: &Tensor, dtype: DType) -> Result<(Tensor, Tensor)> {
        let op = "linear_parameters_backward";
        let (g, x_shape) = (self.shape(), x.shape());
        if g.len() != 2 || x_shape.len() != 2 || g[0] != x_shape[0] || self.dtype() != x.dtype() {
            bail!(
                op,
                kind = ErrorKind::shape_or_dtype(self.dtype() == x.dtype()),
                "gradient {g:?} {} and input {x_shape:?} {} must be matrices of as many rows and one dtype",
                self.dtype(),
                x.dtype()
            );
        }
        check_out_dtype(op, self.dtype(), dtype)?;
        sizes::result(op, &[g[1], x_shape[1]], &[g, x_shape])?;
        if is_half(self) {
            let (dw, db) = widened(self)?.linear_parameters_backward(&widened(x)?, DType::F32)?;
            return Ok((dw.to_dtype(dtype)?, db.to_dtype(dtype)?));
        }
        on_device!(op, [self, x], matmul::linear_parameters_backward(self, x, dtype))
    }

    /// GELU of the linear layer, `GELU(x·Wᵀ + b)`, in the same pass; shapes as for
    /// [`linear`](Tensor::linear). With `keep` also returns `x·Wᵀ + b`, which the derivative needs.
    /// Composed reference: `x.linear(&w, b)?.gelu()`.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// let w = Tensor::from_slice(&[3f32, -1.0], &[1, 2])?;
    /// let (y, z) = x.linear_gelu(&w, None, true)?;
    /// assert_eq!(z.unwrap().to_string(), "[[1.]]");
    /// assert_eq!(y.to_string(), "[[0.8413]]"); // GELU(1)
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear_gelu(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        keep: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (flat, shape) = check_linear("linear_gelu", self, weight, bias)?;
        if is_half(self) {
            let bias = bias.map(widened).transpose()?;
            return in_f32([self, weight], |[x, w]| x.linear_gelu(w, bias.as_ref(), keep));
        }
        let operands: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        let (y, before) = on_device!(
            "linear_gelu", &operands; matmul::linear_gelu(&flat, weight, bias, keep)
        )?;
        Ok((y.reshape(&shape)?, before.map(|z| z.reshape(&shape)).transpose()?))
    }

    /// Linear layers of one input side by side: `[x·W₁ᵀ + b₁, x·W₂ᵀ + b₂, …]` along the last
    /// dimension, for `x […, in]`, `Wᵢ [outᵢ, in]`, `bᵢ [outᵢ]` (all of them, or none) →
    /// `[…, Σout]`. So attention gets query, key and value from one product. On a GPU, weights and
    /// biases may be f32 with an x in f16; the weights are joined, and converted, once until one
    /// of them changes.
    ///
    /// Composed reference: `Tensor::cat` of each [`linear`](Tensor::linear) along the last
    /// dimension.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// let query = Tensor::from_slice(&[3f32, 4.0], &[1, 2])?;
    /// let key = Tensor::from_slice(&[5f32, 6.0], &[1, 2])?;
    /// assert_eq!(x.linear_cat(&[&query, &key], &[])?.to_string(), "[[11. 17.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear_cat(&self, weights: &[&Tensor], biases: &[&Tensor]) -> Result<Tensor> {
        let (flat, shape) = check_linear_cat("linear_cat", self, weights, biases)?;
        if is_half(self) {
            let (weights, biases) = (all_widened(weights)?, all_widened(biases)?);
            let (weights, biases) =
                (weights.iter().collect::<Vec<_>>(), biases.iter().collect::<Vec<_>>());
            return in_f32([self], |[x]| x.linear_cat(&weights, &biases));
        }
        let operands = [&[self], weights, biases].concat();
        on_device!("linear_cat", &operands; matmul::linear_cat(&flat, weights, biases))?
            .reshape(&shape)
    }

    /// The gradient of x of [`linear_cat`](Tensor::linear_cat): `G·[W₁; W₂; …]` for `self`, the
    /// gradient G `[rows, Σout]` → `[rows, in]`. Those of the weights are rows of Gᵀ·x, those of
    /// the biases of ΣG.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let grad = Tensor::from_slice(&[1f32, 10.0], &[1, 2])?;
    /// let query = Tensor::from_slice(&[3f32, 4.0], &[1, 2])?;
    /// let key = Tensor::from_slice(&[5f32, 6.0], &[1, 2])?;
    /// let dx = grad.linear_cat_backward(&[&query, &key], &[])?; // 1·query + 10·key
    /// assert_eq!(dx.to_string(), "[[53. 64.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear_cat_backward(&self, weights: &[&Tensor], biases: &[&Tensor]) -> Result<Tensor> {
        let op = "linear_cat_backward";
        let operands = [&[self], weights, biases].concat();
        let joined = on_device!(op, &operands; matmul::joined_weights(weights, biases))?;
        self.matmul(&joined.to_dtype_kept(self.dtype())?)
    }
}

impl Tensor {
    /// A linear layer on the CPU with its operands in 8 or 16 bits. Shapes as for
    /// [`linear`](Tensor::linear), f32 only. The rounded weight is made on first use and kept until
    /// the weight changes.
    ///
    /// - [`LowPrecision::Int8`], after Jacob et al., arXiv:1712.05877: a weight has one scale for
    ///   each output channel and loses at most 1/254 of the channel's largest value. The input has
    ///   one scale for each row. A processor with AVX512-VNNI or AMX takes it in 8 bits, which
    ///   loses at most half of 1/255 of the row's range; another takes it in up to 16 bits, which
    ///   loses next to nothing. A row or channel with an infinity or a NaN gives NaN.
    /// - [`LowPrecision::Bf16`]: both are rounded to 8 significant bits, sums are f32; on a
    ///   processor on which that is no faster ([`is_bf16_fast`](crate::is_bf16_fast)) it is the layer in f32.
    ///
    /// Composed reference: `linear` of the rounded operands.
    ///
    /// ```
    /// # use gradus_tensor::{LowPrecision, Tensor};
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// let w = Tensor::from_slice(&[3f32, 4.0], &[1, 2])?;
    /// let y = x.linear_low(&w, None, LowPrecision::Int8)?;
    /// assert!((y.item()? - 11.0).abs() < 0.1); // 1·3 + 2·4, rounded
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear_low(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        low: LowPrecision,
    ) -> Result<Tensor> {
        let (flat, shape) = check_linear("linear_low", self, weight, bias)?;
        match linear_low(low, &flat, &[weight], bias.as_slice(), Gelu::No)? {
            Some((y, _)) => y.reshape(&shape),
            None => self.linear(weight, bias),
        }
    }

    /// GELU of [`linear_low`](Tensor::linear_low) in the same pass; with `keep` also its argument,
    /// which the derivative needs.
    ///
    /// ```
    /// # use gradus_tensor::{LowPrecision, Tensor};
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// let w = Tensor::from_slice(&[3f32, -1.0], &[1, 2])?;
    /// let (y, z) = x.linear_gelu_low(&w, None, true, LowPrecision::Bf16)?;
    /// assert_eq!(z.unwrap().to_string(), "[[1.]]"); // small integers are not rounded
    /// assert_eq!(y.to_string(), "[[0.8413]]"); // GELU(1)
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear_gelu_low(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        keep: bool,
        low: LowPrecision,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (flat, shape) = check_linear("linear_gelu_low", self, weight, bias)?;
        let gelu = if keep { Gelu::Keep } else { Gelu::Yes };
        match linear_low(low, &flat, &[weight], bias.as_slice(), gelu)? {
            Some((y, z)) => Ok((y.reshape(&shape)?, z.map(|z| z.reshape(&shape)).transpose()?)),
            None => self.linear_gelu(weight, bias, keep),
        }
    }

    /// The product of two matrices on the CPU with their elements rounded to bf16 and sums in f32,
    /// `[m, k] × [k, n] → [m, n]`: what the derivative of [`linear_low`](Tensor::linear_low) in bf16
    /// is made of. f32 only; on a processor on which that is no faster it is the product in f32.
    ///
    /// Composed reference: `matmul` of the rounded operands.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let a = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// assert_eq!(a.matmul_bf16(&a.t()?)?.to_string(), "[[5.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn matmul_bf16(&self, other: &Tensor) -> Result<Tensor> {
        let op = "matmul_bf16";
        let (&[m, k], &[rows, n]) = (self.shape(), other.shape()) else {
            let (a, b) = (self.shape(), other.shape());
            bail!(op, Shape, "multiplies two matrices, got {a:?} and {b:?}; use matmul");
        };
        if k != rows {
            bail!(op, Shape, "inner sizes differ: {m}×{k} and {rows}×{n}");
        }
        check_low(op, &[self, other])?;
        if !cpu::low::is_bf16_fast() {
            return self.matmul(other);
        }
        sizes::result(op, &[m, n], &[self.shape(), other.shape()])?;
        let (_, span) = begin(op, &[self, other])?;
        span.kernel("low::matmul_bf16");
        let result = cpu::low::matmul_bf16(self.cpu(), other.cpu()).map(Tensor::from_array);
        end(span, &result);
        result
    }

    /// [`linear_cat`](Tensor::linear_cat) as [`linear_low`](Tensor::linear_low), the input rounded
    /// once for all layers.
    ///
    /// ```
    /// # use gradus_tensor::{LowPrecision, Tensor};
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// let query = Tensor::from_slice(&[3f32, 4.0], &[1, 2])?;
    /// let key = Tensor::from_slice(&[5f32, 6.0], &[1, 2])?;
    /// let y = x.linear_cat_low(&[&query, &key], &[], LowPrecision::Int8)?;
    /// assert!((y.i((0, 1))?.item()? - 17.0).abs() < 0.1);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linear_cat_low(
        &self,
        weights: &[&Tensor],
        biases: &[&Tensor],
        low: LowPrecision,
    ) -> Result<Tensor> {
        let (flat, shape) = check_linear_cat("linear_cat", self, weights, biases)?;
        match linear_low(low, &flat, weights, biases, Gelu::No)? {
            Some((y, _)) => y.reshape(&shape),
            None => self.linear_cat(weights, biases),
        }
    }
}

/// Layers side by side, their operands checked but for dtype and device; `None` where the layer
/// must be computed in f32.
fn linear_low(
    low: LowPrecision,
    x: &Tensor,
    weights: &[&Tensor],
    biases: &[&Tensor],
    gelu: Gelu,
) -> Result<Option<(Tensor, Option<Tensor>)>> {
    let op = "linear_low";
    let operands = [&[x], weights, biases].concat();
    check_low(op, &operands)?;
    if !cpu::low::has_kernel(low, x.shape()[1]) {
        return Ok(None);
    }
    let weights = weights.iter().map(|weight| weight.cpu()).collect();
    let biases = biases.iter().map(|bias| bias.cpu()).collect();
    let (_, span) = begin(op, &operands)?;
    span.kernel("low::linear_low");
    let result = cpu::low::linear_low(low, x.cpu(), weights, biases, gelu);
    let result = result.map(|(y, z)| (Tensor::from_array(y), z.map(Tensor::from_array)));
    end(span, &result);
    result.map(Some)
}

/// Checks the operands of a product in 8 or 16 bits.
fn check_low(op: &'static str, operands: &[&Tensor]) -> Result<()> {
    for operand in operands {
        if operand.dtype() != DType::F32 || operand.device() != Device::Cpu {
            let (dtype, device) = (operand.dtype(), operand.device());
            bail!(
                op,
                DType,
                "computes on f32 on the CPU, got {dtype} on {device}; use linear or matmul"
            );
        }
    }
    Ok(())
}

/// A product has its operands' dtype, or is f32 of operands in f16.
fn check_out_dtype(op: &'static str, operands: DType, dtype: DType) -> Result<()> {
    if dtype != operands && (operands, dtype) != (DType::F16, DType::F32) {
        bail!(op, DType, "a product of {operands} has that dtype, not {dtype}");
    }
    Ok(())
}

/// Checks the operands of layers side by side; returns the input as `[rows, in]` and the result's
/// shape.
fn check_linear_cat(
    op: &'static str,
    input: &Tensor,
    weights: &[&Tensor],
    biases: &[&Tensor],
) -> Result<(Tensor, Vec<usize>)> {
    let Some(first) = weights.first() else {
        bail!(op, "no weights; give one or more");
    };
    if !biases.is_empty() && biases.len() != weights.len() {
        bail!(
            op,
            Shape,
            "{} weights and {} biases; give each a bias, or none",
            weights.len(),
            biases.len()
        );
    }
    let low = (input.dtype(), first.dtype()) == (DType::F16, DType::F32);
    let seen = if low { DType::F32 } else { input.dtype() };
    let mut result = None;
    let mut outputs = 0usize;
    for (i, weight) in weights.iter().enumerate() {
        let (flat, shape) = check_layer(op, input, seen, weight, biases.get(i).copied())?;
        outputs = outputs.saturating_add(weight.shape()[0]);
        result = Some((flat, shape));
    }
    let Some((flat, mut shape)) = result else { unreachable!("there is a weight") };
    *shape.last_mut().expect("an input has a dimension") = outputs;
    let operands: Vec<&[usize]> = [&[input], weights].concat().iter().map(|t| t.shape()).collect();
    sizes::result(op, &shape, &operands)?;
    Ok((flat, shape))
}

/// Checks a linear layer's operands; returns the input as `[rows, in]` and the result's shape.
fn check_linear(
    op: &'static str,
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<(Tensor, Vec<usize>)> {
    check_layer(op, input, input.dtype(), weight, bias)
}

/// [`check_linear`] of an input that counts as of `dtype`.
fn check_layer(
    op: &'static str,
    input: &Tensor,
    dtype: DType,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<(Tensor, Vec<usize>)> {
    let (x, w) = (input.shape(), weight.shape());
    if w.len() != 2 || x.is_empty() || x[x.len() - 1] != w[1] {
        bail!(op, Shape, "input {x:?} does not fit the weight {w:?} ([out, in])");
    }
    if bias.is_some_and(|b| b.shape() != [w[0]]) {
        bail!(
            op,
            Shape,
            "bias {:?} does not fit the weight {w:?}; it needs [{}]",
            bias.map(Tensor::shape).unwrap_or_default(),
            w[0]
        );
    }
    if dtype != weight.dtype() {
        bail!(op, DType, "input {dtype}, weight {}: dtypes differ", weight.dtype());
    }
    let fits = |b: DType| b == dtype || (dtype, b) == (DType::F16, DType::F32);
    if let Some(bias) = bias.filter(|b| !fits(b.dtype())) {
        bail!(op, DType, "input {dtype}, bias {}: dtypes differ", bias.dtype());
    }
    let rows: usize = x[..x.len() - 1].iter().product();
    let mut shape = x.to_vec();
    *shape.last_mut().expect("checked above") = w[0];
    sizes::result(op, &shape, &[x, w])?;
    Ok((input.reshape(&[rows, w[1]])?, shape))
}
