//! Optimisers, parameter groups, gradient clipping, schedules.

pub(crate) mod adam;
pub(crate) mod clip;
pub(crate) mod group;
pub(crate) mod scaler;
pub(crate) mod schedule;
pub(crate) mod sgd;

use std::collections::{HashMap, HashSet};

use gradus_autograd::Gradients;
use gradus_tensor::{DType, Result, Tensor, bail};

use crate::{ParamGroup, Parameter};

/// An optimiser over groups of parameters.
pub trait Optimizer: Send {
    /// Changes every trainable parameter that has a gradient; the others stay as they are, their
    /// state too (as PyTorch treats a gradient of `None`).
    ///
    /// A group's rate is its `lr` times `lr_factor` (from a [`Schedule`](crate::Schedule)). `scale`
    /// is a scalar tensor that multiplies every gradient (from [`clip_grad_norm`](crate::clip_grad_norm)); or
    /// the verdict of a [`GradScaler`](crate::GradScaler), by which the step may be skipped.
    fn step(&mut self, grads: &Gradients, lr_factor: f64, scale: Option<&Tensor>) -> Result<()>;

    /// Groups, state and number of steps.
    fn core(&self) -> &OptimizerCore;

    /// The same, to change.
    fn core_mut(&mut self) -> &mut OptimizerCore;

    /// The groups.
    fn groups(&self) -> &[ParamGroup] {
        &self.core().groups
    }

    /// The groups, to change rates or decay.
    fn groups_mut(&mut self) -> &mut Vec<ParamGroup> {
        &mut self.core_mut().groups
    }

    /// Everything that the next step depends on besides parameters, gradients and the groups'
    /// settings: named tensors (`exp_avg.<parameter>`, `step.<parameter>`, …), in a fixed order.
    /// They share storage with the optimiser; its next step copies what somebody still holds.
    fn state(&self) -> Vec<(String, Tensor)> {
        self.core().state()
    }

    /// Continues from a state that [`state`](Optimizer::state) returned, exactly.
    ///
    /// # Errors
    /// If a name belongs to no parameter of the groups, or a tensor does not fit its parameter. The
    /// optimiser is then as it was.
    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.core_mut().load_state(state)
    }

    /// Steps made, those before a loaded state included.
    fn steps(&self) -> u64 {
        self.core().steps
    }
}

/// The name of the number of steps in a state.
const STEPS: &str = "steps";

/// The state of one parameter.
pub struct Slot {
    /// Steps made with a gradient of this parameter, the present one included.
    pub step: u64,
    /// Tensors of the parameter's shape, zeros at first, in the order of the optimiser's names.
    pub buffers: Vec<Tensor>,
}

/// What optimisers share: the groups, and a [`Slot`] for each parameter that had a gradient. An
/// optimiser of one's own holds one and says in [`step`](OptimizerCore::step) how a value changes.
pub struct OptimizerCore {
    op: &'static str,
    groups: Vec<ParamGroup>,
    slots: HashMap<String, Slot>,
    steps: u64,
    /// Names of the buffers.
    buffers: &'static [&'static str],
}

impl OptimizerCore {
    /// An optimiser called `op` in errors, which keeps these named `buffers` for each parameter.
    pub fn new(
        op: &'static str,
        groups: Vec<ParamGroup>,
        buffers: &'static [&'static str],
    ) -> Self {
        OptimizerCore { op, groups, slots: HashMap::new(), steps: 0, buffers }
    }

    /// Calls `update(value, gradient, slot, rate, weight_decay)` for every trainable parameter with
    /// a gradient; the slot already counts this step.
    ///
    /// # Errors
    /// A parameter that is in the groups twice; what `update` fails with.
    pub fn step(
        &mut self,
        grads: &Gradients,
        lr_factor: f64,
        mut update: impl FnMut(&mut Tensor, &Tensor, &mut Slot, f64, f64) -> Result<()>,
    ) -> Result<()> {
        let mut seen = HashSet::new();
        for parameter in self.groups.iter().flat_map(|g| &g.params) {
            if !seen.insert(parameter.name()) {
                bail!(self.op, "{} is in the groups twice; list it once", parameter.name());
            }
        }
        for group in &self.groups {
            for parameter in &group.params {
                let Some(grad) = parameter.grad(grads) else { continue };
                if !self.slots.contains_key(parameter.name()) {
                    // Beside the gradient, which lies where the parameter does.
                    let zeros = || grad.zeros_like();
                    let buffers =
                        self.buffers.iter().map(|_| zeros()).collect::<Result<Vec<_>>>()?;
                    self.slots.insert(parameter.name().to_string(), Slot { step: 0, buffers });
                }
                let slot = self.slots.get_mut(parameter.name()).expect("made above");
                slot.step += 1;
                let rate = group.lr * lr_factor;
                parameter.update(|value| update(value, grad, slot, rate, group.weight_decay))?;
            }
        }
        self.steps += 1;
        Ok(())
    }

    fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.groups.iter().flat_map(|g| &g.params)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = vec![(STEPS.to_string(), number(self.steps))];
        for name in self.parameters().map(Parameter::name) {
            let Some(slot) = self.slots.get(name) else { continue };
            state.push((format!("step.{name}"), number(slot.step)));
            for (buffer, tensor) in self.buffers.iter().zip(&slot.buffers) {
                state.push((format!("{buffer}.{name}"), tensor.clone()));
            }
        }
        state
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let op = self.op;
        let Some(steps) = state.get(STEPS) else {
            bail!(op, "the state has no \"{STEPS}\"; it is not the state of an optimiser");
        };
        let mut used = HashSet::from([STEPS.to_string()]);
        let mut slots = HashMap::new();
        for parameter in self.parameters() {
            let name = parameter.name();
            let step_name = format!("step.{name}");
            // A parameter that never had a gradient has no state.
            let Some(step) = state.get(&step_name) else { continue };
            let mut buffers = Vec::new();
            for buffer in self.buffers {
                let key = format!("{buffer}.{name}");
                match state.get(&key) {
                    None => bail!(op, "the state has {step_name} but not {key}"),
                    Some(t) if t.shape() != parameter.shape() || t.dtype() != parameter.dtype() => {
                        bail!(
                            op,
                            "{key} is {:?} {} in the state, the parameter {:?} {}; is it the \
                             state of another model?",
                            t.shape(),
                            t.dtype(),
                            parameter.shape(),
                            parameter.dtype()
                        )
                    }
                    // The state may have been written on another device.
                    Some(t) => buffers.push(t.to_device(parameter.device())?),
                }
                used.insert(key);
            }
            let slot = Slot { step: read(op, &step_name, step)?, buffers };
            slots.insert(name.to_string(), slot);
            used.insert(step_name);
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

/// A count as a tensor: u32 `[2]`, the lower and the upper half.
fn number(n: u64) -> Tensor {
    Tensor::from_slice(&[n as u32, (n >> 32) as u32], &[2]).expect("two words fill [2]")
}

fn read(op: &'static str, name: &str, tensor: &Tensor) -> Result<u64> {
    if tensor.shape() != [2] || tensor.dtype() != DType::U32 {
        bail!(op, "{name} is {:?} {} in the state, not u32 [2]", tensor.shape(), tensor.dtype());
    }
    let words = tensor.to_vec::<u32>()?;
    Ok(words[0] as u64 | (words[1] as u64) << 32)
}
