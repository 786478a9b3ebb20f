//! How many of a parameter's steps were skipped, counted where the verdict lies.
//!
//! The optimisers' kernels leave skipped steps out of the parameter's own count, and take their
//! number from the verdict of loss scaling. That number counts all steps of the run: too many for a
//! parameter that was frozen in some of them. So every parameter has a count of its own. It is a
//! number on the device, because nobody reads whether a step is skipped; parameters that took part
//! in the same steps share one.

use gradus_tensor::ops::loss_scale::VERDICT;
use gradus_tensor::{Device, Result, Tensor, bail};

/// Places in a verdict: whether this step is skipped, and how many were before.
const SKIP: usize = 1;
const BEFORE: usize = 2;

/// The skipped steps of one parameter.
#[derive(Clone)]
pub(super) enum Skipped {
    /// No verdict was given in its steps.
    Never,
    /// The state was saved without them: the first verdict says how many.
    NotKept,
    /// The count: one number, f32.
    Counted(Tensor),
}

/// The counts in one step: for each count that parameters had before it, the verdict with that
/// count, and the next count.
#[derive(Default)]
pub(super) struct Skips {
    never: Option<Tensor>,
    not_kept: Option<Tensor>,
    known: Vec<Judged>,
}

struct Judged {
    before: Tensor,
    verdict: Tensor,
    after: Tensor,
}

impl Skips {
    /// The verdict for a parameter with this count, which moves on.
    pub(super) fn judge(&mut self, skipped: &mut Skipped, verdict: &Tensor) -> Result<Tensor> {
        let before = match skipped {
            Skipped::Counted(count) => count.clone(),
            Skipped::Never => {
                kept(&mut self.never, || Tensor::zeros_on(&[1], verdict.dtype(), verdict.device()))?
            }
            Skipped::NotKept => kept(&mut self.not_kept, || verdict.narrow(0, BEFORE, 1)?.copy())?,
        };
        let at = match self.known.iter().position(|judged| judged.before.shares_storage(&before)) {
            Some(at) => at,
            None => {
                let (verdict, after) = (judged(verdict, &before)?, counted(verdict, &before)?);
                self.known.push(Judged { before, verdict, after });
                self.known.len() - 1
            }
        };
        let judged = &self.known[at];
        *skipped = Skipped::Counted(judged.after.clone());
        Ok(judged.verdict.clone())
    }
}

fn kept(place: &mut Option<Tensor>, make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
    match place {
        Some(tensor) => Ok(tensor.clone()),
        None => Ok(place.insert(make()?).clone()),
    }
}

/// The verdict with another number of skipped steps.
fn judged(verdict: &Tensor, before: &Tensor) -> Result<Tensor> {
    let (head, rest) = (verdict.narrow(0, 0, BEFORE)?, BEFORE + 1);
    Tensor::cat(&[&head, before, &verdict.narrow(0, rest, VERDICT - rest)?], 0)
}

/// One more, if this step is skipped.
fn counted(verdict: &Tensor, before: &Tensor) -> Result<Tensor> {
    before.add(&verdict.narrow(0, SKIP, 1)?)
}

/// The counts of a state that is being read: equal ones become one.
#[derive(Default)]
pub(super) struct Counts(Vec<(f64, Tensor)>);

impl Counts {
    pub(super) fn of(
        &mut self,
        op: &'static str,
        name: &str,
        count: &Tensor,
        steps: u64,
        device: Device,
    ) -> Result<Skipped> {
        let n = if count.numel() == 1 && count.dtype().is_float() { count.item()? } else { -1.0 };
        if n < 0.0 || n.fract() != 0.0 || n > steps as f64 {
            bail!(op, "{name} is {n} in the state, of {steps} steps; is the file damaged?");
        }
        let known = self.0.iter().find(|(m, tensor)| *m == n && tensor.device() == device);
        if let Some((_, tensor)) = known {
            return Ok(Skipped::Counted(tensor.clone()));
        }
        let tensor = Tensor::from_slice(&[n as f32], &[1])?.to_device(device)?;
        self.0.push((n, tensor.clone()));
        Ok(Skipped::Counted(tensor))
    }
}
