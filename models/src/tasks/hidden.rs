//! The student's hidden states beside the teacher's (Jiao et al., TinyBERT, arXiv:1909.10351).

use gradus_autograd::Var;
use gradus_nn::{Init, Linear, Store};
use gradus_tensor::Device;

use crate::encoder::mean_pool;
use crate::{EncoderConfig, EncoderInput, Error, Result};

/// Which hidden states of the student learn from which of the teacher's.
///
/// State 0 is the embeddings' output, and state i that of the i-th layer, as in `hidden_states` of
/// `transformers`.
#[derive(Clone, Debug, PartialEq)]
pub struct HiddenMatch {
    /// A state of the student, and one of the teacher.
    pub pairs: Vec<[usize; 2]>,
    /// The factor of the sum over all pairs in the loss.
    pub weight: f64,
}

impl HiddenMatch {
    /// Every state of a student of so many layers with the state as deep in its teacher.
    ///
    /// ```
    /// # use gradus_models::tasks::HiddenMatch;
    /// let pairs = HiddenMatch::uniform(2, 6).pairs;
    /// assert_eq!(pairs, [[0, 0], [1, 3], [2, 6]]);
    /// ```
    pub fn uniform(student: usize, teacher: usize) -> Self {
        let layers = student.max(1);
        // The nearest, where the teacher's layers are no multiple of the student's.
        let as_deep = |state: usize| (2 * state * teacher + layers) / (2 * layers);
        HiddenMatch { pairs: (0..=student).map(|i| [i, as_deep(i)]).collect(), weight: 1.0 }
    }

    /// Checks that both models have these states.
    fn check(&self, student: usize, teacher: usize) -> Result<()> {
        if !(self.weight.is_finite() && self.weight > 0.0) {
            return Err(Error::recipe("hidden_weight", self.weight, "it must be above 0"));
        }
        if self.pairs.is_empty() {
            return Err(Error::recipe("hidden", "empty", "it must name a pair of states"));
        }
        match self.pairs.iter().find(|[own, other]| *own > student || *other > teacher) {
            None => Ok(()),
            Some([own, other]) => {
                let requirement = format!(
                    "the student has the states 0 (the embeddings) to {student}, the teacher 0 to \
                     {teacher}"
                );
                Err(Error::recipe("hidden", format!("{own}:{other}"), requirement))
            }
        }
    }
}

/// The comparison of hidden states, with the projection that it learns.
pub(super) struct Hidden {
    how: HiddenMatch,
    store: Store,
    /// From the student's width to the teacher's; `None` where they are the same. All pairs share
    /// it, as in TinyBERT's program.
    projection: Option<Linear>,
}

impl Hidden {
    /// The comparison of a student with its teacher. The seed is that of the projection.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a state that a model does not have, and a weight that is not above 0.
    pub fn new(
        how: HiddenMatch,
        student: &EncoderConfig,
        teacher: &EncoderConfig,
        (device, seed): (Device, u64),
    ) -> Result<Self> {
        how.check(student.num_hidden_layers, teacher.num_hidden_layers)?;
        let store = Store::new(seed);
        store.to_device(device)?;
        let [own, theirs] = [student, teacher].map(|config| config.hidden_size);
        let init = Init::Normal { std: student.initializer_range };
        let projection = (own != theirs)
            .then(|| Linear::new(&store.root().join(PROJECTION), own, theirs, init))
            .transpose()?;
        Ok(Hidden { how, store, projection })
    }

    /// The projection's parameters.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The sum over all pairs of the mean square between the states, a scalar. Long and
    /// short texts count the same, as in the rest of the loss.
    pub fn loss(&self, student: &[Var], teacher: &[Var], input: &EncoderInput) -> Result<Var> {
        let mut sum: Option<Var> = None;
        for &[own, theirs] in &self.how.pairs {
            let state = match &self.projection {
                Some(projection) => projection.forward(&student[own])?,
                None => student[own].clone(),
            };
            let target = teacher[theirs].at_least_f32()?.detach();
            let square = state.at_least_f32()?.sub(&target)?.square()?;
            let mean = mean_pool(&square, input)?.mean_all()?;
            sum = Some(match sum {
                Some(sum) => sum.add(&mean)?,
                None => mean,
            });
        }
        let sum = sum.ok_or_else(|| Error::recipe("hidden", "empty", "it must name a pair"))?;
        Ok(sum.mul_scalar(self.how.weight)?)
    }
}

/// The place of the projection among the parameters beside the model.
pub(super) const PROJECTION: &str = "projection";
