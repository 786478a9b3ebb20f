//! Cross-entropy of logits against class indices, fused with the log-softmax.

use gradus_base::op::cross_entropy::{Logits, Options, class_index};

use super::on_device;
use crate::{DType, ErrorKind, Result, Tensor, bail};
pub use gradus_base::op::cross_entropy::Reduction;

/// The options of a cross-entropy, with PyTorch's meaning. The default is its default: the mean, no
/// class weights, no smoothing, nothing ignored.
#[derive(Clone, Default)]
pub struct CrossEntropy {
    /// Rows with this target do not count, neither in the loss nor in the mean's divisor nor in the
    /// gradient. PyTorch's default, −100, is a target that
    /// [`from_class_indices`](Tensor::from_class_indices) stores.
    pub ignore_index: Option<i64>,
    /// ε in 0..=1: the target distribution is (1 − ε)·onehot + ε/classes (Szegedy et al.,
    /// arXiv:1512.00567).
    pub label_smoothing: f64,
    /// One factor for each class, `[classes]` in the dtype of the logits.
    pub weight: Option<Tensor>,
    /// How the rows' losses are reduced.
    pub reduction: Reduction,
}

impl CrossEntropy {
    /// [`ignore_index`](CrossEntropy::ignore_index) as targets store it.
    ///
    /// ```
    /// # use gradus_tensor::{CrossEntropy, Tensor};
    /// let options = CrossEntropy { ignore_index: Some(-100), ..CrossEntropy::default() };
    /// let targets = Tensor::from_class_indices(&[2, -100], &[2])?;
    /// assert_eq!(targets.to_vec::<u32>()?, [2, options.ignored()?.unwrap()]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is below −2³¹ or above 2³² − 1.
    pub fn ignored(&self) -> Result<Option<u32>> {
        self.ignore_index.map(|index| class_index("cross_entropy", index)).transpose()
    }

    /// The options without the class weights.
    fn plain(&self) -> Result<Options> {
        let CrossEntropy { label_smoothing, reduction, .. } = *self;
        Ok(Options { ignore_index: self.ignored()?, label_smoothing, reduction })
    }
}

/// Checks everything but the targets' values, which the kernel checks.
fn check(
    op: &'static str,
    logits: &Tensor,
    targets: &Tensor,
    options: &CrossEntropy,
) -> Result<()> {
    let (x, y) = (logits.shape(), targets.shape());
    if x.len() != 2 || y.len() != 1 || x[0] != y[0] {
        bail!(
            op,
            Shape,
            "logits {x:?} and targets {y:?} do not fit; they must be [n, classes] and [n]"
        );
    }
    if targets.dtype() != DType::U32 {
        bail!(
            op,
            DType,
            "targets are class indices in u32, got {}; convert with to_dtype",
            targets.dtype()
        );
    }
    if !(0.0..=1.0).contains(&options.label_smoothing) {
        bail!(op, "label_smoothing {} is outside 0..=1", options.label_smoothing);
    }
    if let Some(weight) = &options.weight
        && (weight.shape() != [x[1]] || weight.dtype() != logits.dtype())
    {
        bail!(
            op,
            kind = ErrorKind::shape_or_dtype(weight.shape() != [x[1]]),
            "class weights are {:?} {}, the logits {x:?} {}; the weights must be [{}] {}",
            weight.shape(),
            weight.dtype(),
            logits.dtype(),
            x[1],
            logits.dtype()
        );
    }
    Ok(())
}

impl Tensor {
    /// The cross-entropy of logits `[n, classes]` (f32, f64) against `targets` `[n]` (u32), as
    /// PyTorch's `F.cross_entropy`. Returns the loss (a scalar, or `[n]` for [`Reduction::None`])
    /// and every row's `lse = ln Σeˣ` in two parts, `[n, 2]`: m = max x and ln Σe^(x−m). The
    /// backward pass needs them; their sum would lose digits where logits are far from 0.
    ///
    /// With class weights w, target y and smoothing ε, a row's loss is
    /// `(1 − ε)·w[y]·(lse − x[y]) + ε/classes · Σ_c w[c]·(lse − x[c])`, and the mean divides the
    /// sum by `Σ w[y]` over the rows that are not ignored. So the mean over no rows, or with all
    /// rows ignored, is NaN.
    ///
    /// Composed reference: `log_softmax(-1)`, then picking and weighting.
    ///
    /// ```
    /// # use gradus_tensor::{CrossEntropy, DType, Tensor};
    /// let logits = Tensor::zeros(&[1, 4], DType::F32)?; // p = ¼ each
    /// let targets = Tensor::from_slice(&[2u32], &[1])?;
    /// let (loss, lse) = logits.cross_entropy(&targets, &CrossEntropy::default())?;
    /// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6); // −ln ¼
    /// assert_eq!(lse.to_string(), "[[0.     1.3863]]"); // max x, and ln Σe^(x − max)
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If shapes or dtypes do not fit, or a target is neither a class nor ignored (the message
    /// names row, value and number of classes).
    pub fn cross_entropy(
        &self,
        targets: &Tensor,
        options: &CrossEntropy,
    ) -> Result<(Tensor, Tensor)> {
        check("cross_entropy", self, targets, options)?;
        let weight = options.weight.as_ref().map(Tensor::contiguous).transpose()?;
        let (x, y, w) = (self.contiguous()?, targets.contiguous()?, weight.as_ref());
        let operands: Vec<&Tensor> = [&x, &y].into_iter().chain(w).collect();
        let logits = Logits { x: &x, targets: &y, weight: w, options: options.plain()? };
        on_device!("cross_entropy", &operands; cross_entropy::forward(logits))
    }

    /// The gradient of the logits (`self`, `[n, classes]`) of [`Tensor::cross_entropy`]: `lse`
    /// comes from the forward pass, `grad` is the loss's gradient (a scalar, or `[n]` for
    /// [`Reduction::None`]). Ignored rows are 0.
    ///
    /// ```
    /// # use gradus_tensor::{CrossEntropy, DType, Tensor};
    /// let logits = Tensor::zeros(&[1, 4], DType::F32)?; // p = ¼ each
    /// let targets = Tensor::from_slice(&[2u32], &[1])?;
    /// let options = CrossEntropy::default();
    /// let (_, lse) = logits.cross_entropy(&targets, &options)?;
    /// let grad = Tensor::scalar(1f32);
    /// let dx = logits.cross_entropy_backward(&targets, &lse, &options, &grad)?; // p − onehot
    /// assert_eq!(dx.to_string(), "[[ 0.25  0.25 -0.75  0.25]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn cross_entropy_backward(
        &self,
        targets: &Tensor,
        lse: &Tensor,
        options: &CrossEntropy,
        grad: &Tensor,
    ) -> Result<Tensor> {
        let op = "cross_entropy_backward";
        check(op, self, targets, options)?;
        let rows = targets.shape();
        let loss: &[usize] = if options.reduction == Reduction::None { rows } else { &[] };
        for (name, tensor, shape) in [("lse", lse, &[rows[0], 2][..]), ("the gradient", grad, loss)]
        {
            if tensor.shape() != shape || tensor.dtype() != self.dtype() {
                bail!(
                    op,
                    kind = ErrorKind::shape_or_dtype(tensor.shape() != shape),
                    "{name} is {:?} {}, logits {:?} {}; {name} must be {shape:?} {}",
                    tensor.shape(),
                    tensor.dtype(),
                    self.shape(),
                    self.dtype(),
                    self.dtype()
                );
            }
        }
        let weight = options.weight.as_ref().map(Tensor::contiguous).transpose()?;
        let (x, y, w) = (self.contiguous()?, targets.contiguous()?, weight.as_ref());
        let (lse, grad) = (lse.contiguous()?, grad.contiguous()?);
        let operands: Vec<&Tensor> = [&x, &y, &lse, &grad].into_iter().chain(w).collect();
        let logits = Logits { x: &x, targets: &y, weight: w, options: options.plain()? };
        on_device!(op, &operands; cross_entropy::backward(logits, &lse, &grad))
    }
}
