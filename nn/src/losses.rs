//! Loss functions, with PyTorch's names, formulas and defaults.

use gradus_autograd::Var;
use gradus_tensor::layout::broadcast_shapes;
use gradus_tensor::{Result, Tensor, bail};

pub use gradus_tensor::ops::cross_entropy::{CrossEntropy, Reduction};

/// Added to the squared norms of [`cosine_embedding`]: PyTorch's constant, an f32.
const COSINE_EPS: f64 = 1e-12_f32 as f64;

/// Reduces the elements' losses: [`Reduction::Mean`] divides by their number.
fn reduce(losses: Var, reduction: Reduction) -> Result<Var> {
    match reduction {
        Reduction::None => Ok(losses),
        Reduction::Sum => losses.sum_all(),
        Reduction::Mean => losses.mean_all(),
    }
}

fn same_shape(op: &'static str, a: &[usize], b: &[usize]) -> Result<()> {
    if a != b {
        bail!(op, "the input is {a:?}, the target {b:?}; a loss does not broadcast");
    }
    Ok(())
}

/// The cross-entropy of logits `[n, classes]` against `targets` (u32 `[n]`), as `F.cross_entropy`:
/// a scalar, or `[n]` for [`Reduction::None`]. The mean over no rows is NaN.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::losses;
/// # use gradus_tensor::{CrossEntropy, Reduction, Tensor};
/// let logits = Var::constant(Tensor::from_slice(&[0f32, 0.0, 3.0, 0.0], &[2, 2])?);
/// let targets = Tensor::from_slice(&[1u32, 0], &[2])?;
/// let rows = CrossEntropy { reduction: Reduction::None, ..Default::default() };
/// let loss = losses::cross_entropy(&logits, &targets, &rows)?;
/// assert_eq!(loss.to_string(), "[0.6931 0.0486]"); // ln 2 and ln(1 + e⁻³)
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// If a target is neither a class nor the ignored index, or the shapes do not fit.
pub fn cross_entropy(logits: &Var, targets: &Tensor, options: &CrossEntropy) -> Result<Var> {
    logits.cross_entropy(targets, options)
}

/// The cross-entropy of logits `[n, classes]` against probabilities of the same shape, −Σ p·ln
/// softmax(x) along the classes, as `F.cross_entropy` with probabilities: soft labels, or a
/// teacher's answers. A class of probability 0 does not count, even if its logit is −∞.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::losses;
/// # use gradus_tensor::{DType, Reduction, Tensor};
/// let logits = Var::constant(Tensor::zeros(&[1, 2], DType::F32)?);
/// let teacher = Var::constant(Tensor::from_slice(&[0.25f32, 0.75], &[1, 2])?);
/// let loss = losses::soft_cross_entropy(&logits, &teacher, Reduction::Mean)?;
/// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6); // −¼·ln ½ − ¾·ln ½
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// If the shapes differ or are not `[n, classes]`.
pub fn soft_cross_entropy(logits: &Var, targets: &Var, reduction: Reduction) -> Result<Var> {
    let op = "soft_cross_entropy";
    same_shape(op, logits.shape(), targets.shape())?;
    if logits.rank() != 2 {
        bail!(op, "the logits are {:?}; they must be [n, classes]", logits.shape());
    }
    let terms = logits.log_softmax(1)?.masked_fill(&targets.eq(0.0)?, 0.0)?.mul(targets)?;
    reduce(terms.sum(&[1], false)?.neg()?, reduction)
}

/// The divergence of Kullback and Leibler of log-probabilities (`input`) from probabilities, both
/// `[n, classes]`: Σ p·(ln p − input) along the classes, as `F.kl_div` with `reduction="batchmean"`
/// for [`Reduction::Mean`]. A class of probability 0 does not count.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::losses;
/// # use gradus_tensor::{DType, Reduction, Tensor};
/// let input = Var::constant(Tensor::zeros(&[1, 2], DType::F32)?).log_softmax(1)?; // ½ and ½
/// let targets = Var::constant(Tensor::from_slice(&[1f32, 0.0], &[1, 2])?);
/// let divergence = losses::kl_div(&input, &targets, Reduction::Mean)?;
/// assert!((divergence.item()? - 2f64.ln()).abs() < 1e-6); // 1·(ln 1 − ln ½)
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// If the shapes differ or are not `[n, classes]`.
pub fn kl_div(input: &Var, targets: &Var, reduction: Reduction) -> Result<Var> {
    let op = "kl_div";
    same_shape(op, input.shape(), targets.shape())?;
    if input.rank() != 2 {
        bail!(op, "the input is {:?}; it must be [n, classes]", input.shape());
    }
    let without = targets.eq(0.0)?;
    // ln 1 − 0 where p is 0, so that no infinity reaches the gradient.
    let log = targets.masked_fill(&without, 1.0)?.log()?;
    let terms = targets.mul(&log.sub(&input.masked_fill(&without, 0.0)?)?)?;
    reduce(terms.sum(&[1], false)?, reduction)
}

/// The binary cross-entropy of logits x against probabilities y of the same shape and dtype, as
/// `F.binary_cross_entropy_with_logits`:
/// `pos_weight·y·ln(1 + e⁻ˣ) + (1 − y)·ln(1 + eˣ)`.
///
/// Both terms are at least 0 and computed without overflow, so nothing cancels. `pos_weight`
/// (broadcast to the shape) weighs the positive answers: above 1 it favours recall.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::losses;
/// # use gradus_tensor::{DType, Reduction, Tensor};
/// let logits = Var::constant(Tensor::zeros(&[2], DType::F32)?); // probabilities of ½
/// let targets = Tensor::from_slice(&[1f32, 0.0], &[2])?;
/// let loss = losses::bce_with_logits(&logits, &targets, None, Reduction::None)?;
/// assert_eq!(loss.to_string(), "[0.6931 0.6931]"); // ln 2
/// let weight = Tensor::scalar(3f32);
/// let loss = losses::bce_with_logits(&logits, &targets, Some(&weight), Reduction::None)?;
/// assert_eq!(loss.to_string(), "[2.0794 0.6931]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn bce_with_logits(
    logits: &Var,
    targets: &Tensor,
    pos_weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Var> {
    same_shape("bce_with_logits", logits.shape(), targets.shape())?;
    let positive = match pos_weight {
        Some(weight) => targets.mul(weight)?,
        None => targets.clone(),
    };
    same_shape("bce_with_logits", logits.shape(), positive.shape())?;
    let negative = targets.affine(-1.0, 1.0)?;
    let missed = weighed(&logits.neg()?.softplus()?, positive)?;
    reduce(missed.add(&weighed(&logits.softplus()?, negative)?)?, reduction)
}

/// Losses times their weights: a loss with weight 0 does not count, even if it or its gradient is
/// infinite.
fn weighed(losses: &Var, weights: Tensor) -> Result<Var> {
    let without = weights.eq(0.0)?;
    losses.mul(&Var::constant(weights))?.masked_fill(&without, 0.0)
}

/// (input − target)², both of one shape, as `F.mse_loss`.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::losses;
/// # use gradus_tensor::{Reduction, Tensor};
/// let input = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[2])?);
/// let target = Var::constant(Tensor::from_slice(&[0f32, 4.0], &[2])?);
/// let loss = losses::mse(&input, &target, Reduction::Mean)?;
/// assert_eq!(loss.item()?, 2.5); // (1 + 4)/2
/// let grads = loss.backward()?;
/// assert_eq!(grads.get(&input).unwrap().to_vec::<f32>()?, [1.0, -2.0]);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn mse(input: &Var, target: &Var, reduction: Reduction) -> Result<Var> {
    same_shape("mse", input.shape(), target.shape())?;
    reduce(input.sub(target)?.square()?, reduction)
}

/// |input − target|, both of one shape, as `F.l1_loss`.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::losses;
/// # use gradus_tensor::{Reduction, Tensor};
/// let input = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[2])?);
/// let target = Var::constant(Tensor::from_slice(&[0f32, 4.0], &[2])?);
/// assert_eq!(losses::l1(&input, &target, Reduction::Sum)?.item()?, 3.0); // 1 + 2
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn l1(input: &Var, target: &Var, reduction: Reduction) -> Result<Var> {
    same_shape("l1", input.shape(), target.shape())?;
    reduce(input.sub(target)?.abs()?, reduction)
}

/// Quadratic up to a difference of `delta`, linear beyond, as `F.huber_loss` (Huber, Annals of
/// Mathematical Statistics 35, 1964): d²/2, and delta·(|d| − delta/2).
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::losses;
/// # use gradus_tensor::{Reduction, Tensor};
/// let input = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[2])?);
/// let target = Var::constant(Tensor::from_slice(&[0f32, 4.0], &[2])?);
/// let loss = losses::huber(&input, &target, 1.0, Reduction::None)?;
/// assert_eq!(loss.to_string(), "[0.5 1.5]"); // 1²/2, and 1·(2 − ½)
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// If `delta` is not above 0, or the shapes differ.
pub fn huber(input: &Var, target: &Var, delta: f64, reduction: Reduction) -> Result<Var> {
    same_shape("huber", input.shape(), target.shape())?;
    if delta.is_nan() || delta <= 0.0 {
        bail!("huber", "delta is {delta}; it must be above 0");
    }
    let d = input.sub(target)?;
    if delta == f64::INFINITY {
        return reduce(d.square()?.mul_scalar(0.5)?, reduction);
    }
    let distance = d.abs()?;
    let near = distance.le(delta)?;
    // Far distances are 0 here: the square is not chosen for them, and its gradient of 0 times an
    // infinite distance would be NaN.
    let square = d.masked_fill(&near.logical_not()?, 0.0)?.square()?.mul_scalar(0.5)?;
    let line = distance.affine(delta, -0.5 * delta * delta)?;
    reduce(square.where_(&near, &line)?, reduction)
}

/// a·b/(max(|a|, eps)·max(|b|, eps)) along `dim`, which the result lacks; a and b broadcast. As
/// `F.cosine_similarity`, whose eps is 1e-8. A vector of zeros has similarity 0 with every other.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::losses;
/// # use gradus_tensor::Tensor;
/// let a = Var::constant(Tensor::from_slice(&[3f32, 4.0], &[2])?);
/// let b = Var::constant(Tensor::from_slice(&[8f32, 6.0], &[2])?);
/// let cosine = losses::cosine_similarity(&a, &b, -1, 1e-8)?;
/// assert!((cosine.item()? - 0.96).abs() < 1e-6); // (24 + 24)/(5·10)
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// If `eps` is so small that its square vanishes in f32 (below about 1e-19), or the shapes do not
/// fit.
pub fn cosine_similarity(a: &Var, b: &Var, dim: isize, eps: f64) -> Result<Var> {
    let floor = eps * eps;
    if floor.is_nan() || floor < f32::MIN_POSITIVE as f64 {
        bail!("cosine_similarity", "eps is {eps}; it must be at least 1.1e-19, usually 1e-8");
    }
    // Broadcast first: a single number along `dim` stands for a vector of equal numbers, and the
    // norm is that vector's.
    let shape = broadcast_shapes("cosine_similarity", a.shape(), b.shape())?;
    let norm = |x: &Var| x.square()?.sum(&[dim], true)?.clamp(floor, f64::INFINITY)?.sqrt();
    let unit = |x: &Var| {
        let x = x.broadcast_to(&shape)?;
        x.div(&norm(&x)?)
    };
    unit(a)?.mul(&unit(b)?)?.sum(&[dim], false)
}

/// Draws rows of a and b `[n, width]` together where `targets` `[n]` (in their dtype) is 1, and
/// pushes them below a cosine of `margin` where it is −1, as `F.cosine_embedding_loss`: 1 − cos,
/// and max(0, cos − margin). Rows with another target count as 0.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_nn::losses;
/// # use gradus_tensor::{Reduction, Tensor};
/// let a = Var::constant(Tensor::from_slice(&[1f32, 0.0, 1.0, 0.0], &[2, 2])?);
/// let b = Var::constant(Tensor::from_slice(&[0f32, 1.0, 1.0, 1.0], &[2, 2])?);
/// let targets = Tensor::from_slice(&[1f32, -1.0], &[2])?; // together; apart
/// let loss = losses::cosine_embedding(&a, &b, &targets, 0.0, Reduction::None)?;
/// assert_eq!(loss.to_string(), "[1.     0.7071]"); // 1 − 0, and the cosine of 45°
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn cosine_embedding(
    a: &Var,
    b: &Var,
    targets: &Tensor,
    margin: f64,
    reduction: Reduction,
) -> Result<Var> {
    let op = "cosine_embedding";
    same_shape(op, a.shape(), b.shape())?;
    if a.rank() != 2 || targets.shape() != &a.shape()[..1] {
        bail!(
            op,
            "inputs {:?} and targets {:?} do not fit; they must be [n, width] and [n]",
            a.shape(),
            targets.shape()
        );
    }
    let square = |x: &Var| x.square()?.sum(&[-1], false)?.add_scalar(COSINE_EPS);
    let norms = square(a)?.mul(&square(b)?)?.sqrt()?;
    let cos = a.mul(b)?.sum(&[-1], false)?.div(&norms)?;
    let rows = |value: f64, losses: Var| losses.masked_fill(&targets.ne(value)?, 0.0);
    let together = rows(1.0, cos.affine(-1.0, 1.0)?)?;
    let apart = rows(-1.0, cos.add_scalar(-margin)?.clamp(0.0, f64::INFINITY)?)?;
    reduce(together.add(&apart)?, reduction)
}
