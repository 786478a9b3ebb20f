//! Optimisers, parameter groups, gradient clipping, schedules.

pub(crate) mod adam;
pub(crate) mod clip;
pub(crate) mod group;
pub(crate) mod scaler;
pub(crate) mod schedule;
pub(crate) mod sgd;
mod skipped;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use gradus_autograd::{Gradients, VarId};
use gradus_tensor::ops::loss_scale::VERDICT;
use gradus_tensor::{DType, ErrorKind, Result, Tensor, bail};
use skipped::{Counts, Skipped, Skips};

use crate::{ParamGroup, Parameter};

/// An optimiser over groups of parameters.
pub trait Optimizer: Send {
    /// Changes every trainable parameter that has a gradient; the others stay as they are, their
    /// state too (as PyTorch treats a gradient of `None`).
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?;
    /// optimizer.step(&w.var().square()?.backward()?)?; // 1 − ¼·2
    /// assert_eq!(w.tensor().item()?, 0.5);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a group's setting is out of its range, a parameter is in the groups twice, or memory is
    /// short.
    fn step(&mut self, grads: &Gradients) -> Result<()> {
        self.step_scaled(grads, 1.0, None)
    }

    /// [`step`](Optimizer::step) at each group's `lr` times `lr_factor` (from a
    /// [`Schedule`](crate::Schedule)). `scale` is a scalar tensor that multiplies every gradient
    /// (from [`clip_grad_norm`](crate::clip_grad_norm)); or the verdict of a
    /// [`GradScaler`](crate::GradScaler), which may skip the step.
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd, clip_grad_norm};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?;
    /// let grads = w.var().mul_scalar(6.0)?.backward()?;
    /// let clip = clip_grad_norm(&grads, &[w.clone()], 3.0)?; // brings 6 down to 3
    /// optimizer.step_scaled(&grads, 0.5, Some(&clip.scale))?; // 1 − ½·¼·3
    /// assert!((w.tensor().item()? - 0.625).abs() < 1e-6);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`step`](Optimizer::step).
    fn step_scaled(
        &mut self,
        grads: &Gradients,
        lr_factor: f64,
        scale: Option<&Tensor>,
    ) -> Result<()>;

    /// Groups, state and number of steps.
    fn core(&self) -> &OptimizerCore;

    /// The same, to change.
    fn core_mut(&mut self) -> &mut OptimizerCore;

    /// The groups.
    fn groups(&self) -> &[ParamGroup] {
        &self.core().groups
    }

    /// The groups, to change rates or decay; the next step checks them.
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?;
    /// optimizer.groups_mut()[0].lr = 0.1;
    /// assert_eq!(optimizer.groups()[0].lr, 0.1);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    fn groups_mut(&mut self) -> &mut Vec<ParamGroup> {
        &mut self.core_mut().groups
    }

    /// Everything that the next step depends on besides parameters, gradients and the groups'
    /// settings: named tensors (`exp_avg.<parameter>`, `step.<parameter>`, …), in a fixed order;
    /// after steps scaled by a [`GradScaler`](crate::GradScaler) also `skipped.<parameter>`. They
    /// share storage with the optimiser; its next step copies what somebody still holds.
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?.momentum(0.9)?;
    /// optimizer.step(&w.var().square()?.backward()?)?;
    /// let names: Vec<String> = optimizer.state()?.into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["steps", "step.w", "momentum_buffer.w"]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If two parameters have one name.
    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.core().state()
    }

    /// Continues from a state that [`state`](Optimizer::state) returned, exactly.
    ///
    /// ```
    /// # use gradus_nn::{Optimizer, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut optimizer = Sgd::new([&w], 0.25)?;
    /// optimizer.step(&w.var().square()?.backward()?)?;
    /// let mut resumed = Sgd::new([&w], 0.25)?;
    /// resumed.load_state(&optimizer.state()?.into_iter().collect())?;
    /// assert_eq!(resumed.steps(), 1);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a name belongs to no parameter of the groups or to two, or a tensor does not fit its
    /// parameter. The optimiser then stays as it was.
    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.core_mut().load_state(state)
    }

    /// Steps made, including those before a loaded state.
    fn steps(&self) -> u64 {
        self.core().steps
    }
}

/// The name of the number of steps in a state.
const STEPS: &str = "steps";

/// The state of one parameter.
pub struct Slot {
    /// Steps made with a gradient of this parameter, including the present one and skipped ones.
    pub step: u64,
    /// Tensors of the parameter's shape, zeros at first, in the order of the optimiser's names.
    pub buffers: Vec<Tensor>,
    skipped: Skipped,
}

/// What an optimiser's rule sees of one parameter in one step.
pub struct Update<'a> {
    /// The gradient.
    pub grad: &'a Tensor,
    /// The parameter's state.
    pub slot: &'a mut Slot,
    /// The learning rate, with the schedule's factor.
    pub lr: f64,
    /// The weight decay.
    pub weight_decay: f64,
    /// The group's own decays of the moments.
    pub betas: Option<(f64, f64)>,
    /// What multiplies the gradient, as given to [`Optimizer::step`]; a verdict holds the number of
    /// steps that were skipped for this parameter.
    pub scale: Option<&'a Tensor>,
}

/// What optimisers share: the groups, and a [`Slot`] for each parameter that had a gradient. Your
/// own optimiser holds one and says in [`step`](OptimizerCore::step) how a value changes.
pub struct OptimizerCore {
    op: &'static str,
    groups: Vec<ParamGroup>,
    slots: HashMap<VarId, Slot>,
    steps: u64,
    /// Names of the buffers.
    buffers: &'static [&'static str],
}

impl OptimizerCore {
    /// An optimiser called `op` in errors, which keeps these named `buffers` for each parameter.
    ///
    /// ```
    /// # use gradus_nn::{OptimizerCore, ParamGroup, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let twice = vec![ParamGroup::new([&w, &w], 0.1)];
    /// let error = OptimizerCore::new("lion", twice, &["exp_avg"]).err().unwrap();
    /// assert_eq!(error.to_string(), "[lion] w is in the groups twice; list it once");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a parameter is in the groups twice.
    pub fn new(
        op: &'static str,
        groups: Vec<ParamGroup>,
        buffers: &'static [&'static str],
    ) -> Result<Self> {
        let core = OptimizerCore { op, groups, slots: HashMap::new(), steps: 0, buffers };
        core.check_groups()?;
        Ok(core)
    }

    /// The same before its first step, with other buffers for each parameter.
    pub(crate) fn with_buffers(self, buffers: &'static [&'static str]) -> Self {
        OptimizerCore { buffers, ..self }
    }

    /// The name in errors.
    ///
    /// ```
    /// # use gradus_nn::OptimizerCore;
    /// let core = OptimizerCore::new("lion", Vec::new(), &["exp_avg"])?;
    /// assert_eq!(core.op(), "lion");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// The groups.
    ///
    /// ```
    /// # use gradus_nn::{OptimizerCore, ParamGroup, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let core = OptimizerCore::new("lion", vec![ParamGroup::new([&w], 0.1)], &["exp_avg"])?;
    /// assert_eq!(core.groups()[0].lr, 0.1);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }

    /// Gives all groups this weight decay.
    pub(crate) fn set_weight_decay(&mut self, weight_decay: f64) {
        self.groups.iter_mut().for_each(|group| group.weight_decay = weight_decay);
    }

    /// Calls `update` for every trainable parameter with a gradient, with its value; the slot
    /// already counts this step.
    ///
    /// ```
    /// # use gradus_nn::{OptimizerCore, ParamGroup, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let mut core = OptimizerCore::new("sign", vec![ParamGroup::new([&w], 0.25)], &[])?;
    /// let grads = w.var().mul_scalar(7.0)?.backward()?;
    /// core.step(&grads, 1.0, None, |value, update| {
    ///     value.add_(&update.grad.sign()?, -update.lr) // p ← p − η·sign(g)
    /// })?;
    /// assert_eq!(w.tensor().item()?, 0.75);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a parameter is in the groups twice, and as `update`.
    pub fn step(
        &mut self,
        grads: &Gradients,
        lr_factor: f64,
        scale: Option<&Tensor>,
        mut update: impl FnMut(&mut Tensor, Update) -> Result<()>,
    ) -> Result<()> {
        self.check_groups()?;
        let mut skips = Skips::default();
        for group in &self.groups {
            for parameter in &group.params {
                let Some(grad) = parameter.grad(grads) else { continue };
                let slot = match self.slots.entry(parameter.id()) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        // On the gradient's device, which is the parameter's.
                        let zeros = self.buffers.iter().map(|_| grad.zeros_like());
                        let buffers = zeros.collect::<Result<Vec<_>>>()?;
                        entry.insert(Slot { step: 0, buffers, skipped: Skipped::Never })
                    }
                };
                let scale = match scale {
                    Some(verdict) if verdict.numel() == VERDICT => {
                        Some(skips.judge(&mut slot.skipped, verdict)?)
                    }
                    other => other.cloned(),
                };
                slot.step += 1;
                let (lr, weight_decay) = (group.lr * lr_factor, group.weight_decay);
                let (betas, scale) = (group.betas, scale.as_ref());
                let how = Update { grad, slot, lr, weight_decay, betas, scale };
                parameter.update(|value| update(value, how))?;
            }
        }
        self.steps += 1;
        Ok(())
    }

    fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.groups.iter().flat_map(|g| &g.params)
    }

    fn check_groups(&self) -> Result<()> {
        let mut seen = HashSet::new();
        match self.parameters().find(|parameter| !seen.insert(parameter.id())) {
            Some(twice) => {
                bail!(self.op, "{} is in the groups twice; list it once", twice.name())
            }
            None => Ok(()),
        }
    }

    /// A state tells parameters apart by name.
    fn check_names(&self) -> Result<()> {
        let mut seen = HashSet::new();
        match self.parameters().find(|parameter| !seen.insert(parameter.name())) {
            Some(twice) => bail!(
                self.op,
                "two parameters are called {}, and a saved state tells them apart by name; build each \
                 model at a path of its own, as `store.root().join(\"teacher\")`, or give each an \
                 optimiser",
                twice.name()
            ),
            None => Ok(()),
        }
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.check_names()?;
        let mut state = vec![(STEPS.to_string(), number(self.steps))];
        for parameter in self.parameters() {
            let Some(slot) = self.slots.get(&parameter.id()) else { continue };
            let name = parameter.name();
            state.push((format!("step.{name}"), number(slot.step)));
            if let Skipped::Counted(count) = &slot.skipped {
                state.push((format!("skipped.{name}"), count.clone()));
            }
            for (buffer, tensor) in self.buffers.iter().zip(&slot.buffers) {
                state.push((format!("{buffer}.{name}"), tensor.clone()));
            }
        }
        Ok(state)
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.check_names()?;
        let op = self.op;
        let Some(steps) = state.get(STEPS) else {
            bail!(op, "the state has no \"{STEPS}\"; it is not the state of an optimiser");
        };
        let mut used = HashSet::from([STEPS.to_string()]);
        let mut slots = HashMap::new();
        let mut counts = Counts::default();
        for parameter in self.parameters() {
            let name = parameter.name();
            let step_name = format!("step.{name}");
            // A parameter that never had a gradient has no state.
            let Some(step) = state.get(&step_name) else { continue };
            let mut buffers = Vec::new();
            for buffer in self.buffers {
                let key = format!("{buffer}.{name}");
                buffers.push(buffer_of(op, parameter, &key, state.get(&key))?);
                used.insert(key);
            }
            let step = read(op, &step_name, step)?;
            let skipped_name = format!("skipped.{name}");
            let skipped = match state.get(&skipped_name) {
                Some(count) => counts.of(op, &skipped_name, count, step, parameter.device())?,
                None => Skipped::NotKept,
            };
            slots.insert(parameter.id(), Slot { step, buffers, skipped });
            used.extend([step_name, skipped_name]);
        }
        if let Some(unknown) = state.keys().filter(|key| !used.contains(*key)).min() {
            bail!(
                op,
                "{unknown} in the state belongs to no parameter; is it the state of another model \
                 or optimiser?"
            );
        }
        self.steps = read(op, STEPS, steps)?;
        self.slots = slots;
        Ok(())
    }
}

/// A buffer from a state, on the device of its parameter: the state may have been written on
/// another.
fn buffer_of(
    op: &'static str,
    parameter: &Parameter,
    key: &str,
    tensor: Option<&Tensor>,
) -> Result<Tensor> {
    match tensor {
        None => bail!(op, "the state has step.{} but not {key}", parameter.name()),
        Some(t) if t.shape() != parameter.shape() || t.dtype() != parameter.dtype() => {
            bail!(
                op,
                kind = ErrorKind::shape_or_dtype(t.shape() != parameter.shape()),
                "{key} is {:?} {} in the state, the parameter {:?} {}; is it the state of another model?",
                t.shape(),
                t.dtype(),
                parameter.shape(),
                parameter.dtype()
            )
        }
        Some(t) => t.to_device(parameter.device()),
    }
}

/// A count as a tensor: u32 `[2]`, the lower and the upper half.
fn number(n: u64) -> Tensor {
    Tensor::from_slice(&[n as u32, (n >> 32) as u32], &[2]).expect("two words fill [2]")
}

fn read(op: &'static str, name: &str, tensor: &Tensor) -> Result<u64> {
    if tensor.shape() != [2] || tensor.dtype() != DType::U32 {
        bail!(
            op,
            DType,
            "{name} is {:?} {} in the state, not u32 [2]",
            tensor.shape(),
            tensor.dtype()
        );
    }
    let words = tensor.to_vec::<u32>()?;
    Ok(words[0] as u64 | (words[1] as u64) << 32)
}
