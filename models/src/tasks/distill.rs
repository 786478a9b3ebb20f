//! `distill`: a small classifier from the answers of a large one (Hinton et al. 2015).

use gradus_autograd::{Var, no_grad};
use gradus_nn::{CrossEntropy, Forward, Reduction, Store, losses};
use gradus_tensor::{DType, Tensor};

use super::hidden::{Hidden, PROJECTION};
use super::{HiddenMatch, Problem};
use crate::batch::each_batch;
use crate::evaluation::{Evaluation, Examiner, Metric, SingleLabel};
use crate::training::{ReadTokens, Task};
use crate::{
    EncoderInput, Encoding, Error, Example, Labels, PackedBatch, Result, SequenceClassifier, Split,
    Tokenizer,
};

/// Texts as the student and the teacher read them, with labels where the data has them.
#[derive(Clone, Debug)]
pub struct DistilledTexts {
    /// As the student reads them.
    pub student: Vec<Encoding>,
    /// As the teacher reads them; `None` where both have the same tokens.
    pub teacher: Option<Vec<Encoding>>,
    /// The id of each text's label, the same for both models.
    pub labels: Option<Vec<u32>>,
}

impl DistilledTexts {
    /// Encodes a split with the tokenizer of each model, to at most so many tokens. The labels are
    /// read where there are `labels`.
    ///
    /// # Errors
    /// When a text cannot be encoded, or a label is none of `labels`.
    pub fn of(
        split: &Split,
        labels: Option<&Labels>,
        (student, length): (&Tokenizer, usize),
        (of_teacher, longest): (&Tokenizer, usize),
    ) -> Result<Self> {
        let pairs: Vec<(&str, Option<&str>)> = split.examples.iter().map(Example::texts).collect();
        let student = student.encode_batch(&pairs, length)?;
        let teacher = of_teacher.encode_batch(&pairs, longest)?;
        let tokens = |all: &[Encoding], i: usize| (all[i].ids.clone(), all[i].type_ids.clone());
        let same = (0..pairs.len()).all(|i| tokens(&student, i) == tokens(&teacher, i));
        Ok(DistilledTexts {
            student,
            teacher: (!same).then_some(teacher),
            labels: labels.map(|labels| labels.encode(split)).transpose()?,
        })
    }

    fn of_teacher(&self) -> &[Encoding] {
        self.teacher.as_ref().unwrap_or(&self.student)
    }

    fn lengths(&self) -> Vec<usize> {
        self.student.iter().map(Encoding::len).collect()
    }
}

/// How the student learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distilling {
    /// Divides the logits of both models before the softmax: the higher, the more the student learns
    /// about labels that the teacher does not choose.
    pub temperature: f64,
    /// The share of the teacher in the loss; that of the labels is the rest.
    pub alpha: f64,
}

impl Default for Distilling {
    /// A temperature of 2, and as much from the teacher as from the labels.
    fn default() -> Self {
        Distilling { temperature: 2.0, alpha: 0.5 }
    }
}

/// Training of a student, a [`SequenceClassifier`], by another one, its teacher, which stays as it
/// is.
///
/// The loss of a text is `alpha·T²·KL(teacher ‖ student) + (1 − alpha)·cross-entropy`: the
/// divergence between the probabilities of both models at temperature `T`, and the loss against the
/// label. `T²` keeps the gradient of the divergence as large as at temperature 1.
pub struct Distillation {
    student: SequenceClassifier,
    teacher: SequenceClassifier,
    train: DistilledTexts,
    lengths: Vec<usize>,
    how: Distilling,
    /// Of a student that learns from the teacher's hidden states too.
    hidden: Option<Hidden>,
    /// Whether evaluations are by labels.
    labelled: bool,
}

impl Distillation {
    /// The task of training `student`. Both models have the same labels, in the same order.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a temperature that is not above 0, an alpha that is not from 0 to 1, and
    /// an alpha below 1 where the texts have no labels.
    pub fn new(
        student: SequenceClassifier,
        teacher: SequenceClassifier,
        train: DistilledTexts,
        how: Distilling,
    ) -> Result<Self> {
        let Distilling { temperature, alpha } = how;
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(Error::recipe("temperature", temperature, "it must be above 0"));
        }
        if !(0.0..=1.0).contains(&alpha) {
            return Err(Error::recipe("alpha", alpha, "it must be at least 0 and at most 1"));
        }
        if alpha < 1.0 && train.labels.is_none() {
            let requirement = "it must be 1: the data has no labels to learn from";
            return Err(Error::recipe("alpha", alpha, requirement));
        }
        let (lengths, labelled) = (train.lengths(), train.labels.is_some());
        Ok(Distillation { student, teacher, train, lengths, how, hidden: None, labelled })
    }

    /// Whether the sets of evaluations have labels, which decide which model is best; as the
    /// training texts unless set. Without labels the agreement with the teacher decides.
    pub fn measure_by_labels(&mut self, labelled: bool) {
        self.labelled = labelled;
    }

    /// Lets hidden states of the student learn from the teacher's. Where the models have other
    /// widths, a projection of the student's states is trained beside the model; it begins from
    /// `seed`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a state that a model does not have, a weight that is not above 0, and
    /// where the models read other tokens.
    pub fn match_hidden(mut self, how: HiddenMatch, seed: u64) -> Result<Self> {
        let [student, teacher] =
            [&self.student, &self.teacher].map(|model| model.encoder().config());
        let device = self.student.encoder().device();
        self.hidden = Some(Hidden::new(how, student, teacher, (device, seed))?);
        self.check(&self.train)?;
        Ok(self)
    }

    /// Checks that hidden states can be compared on these texts.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the models read other tokens.
    pub fn check(&self, texts: &DistilledTexts) -> Result<()> {
        if self.hidden.is_none() || texts.teacher.is_none() {
            return Ok(());
        }
        let requirement = "student and teacher must read the same tokens: the same tokenizer, and \
                           no text that the teacher reads shorter";
        Err(Error::recipe("hidden", "set", requirement))
    }

    /// The student.
    pub fn student(&self) -> &SequenceClassifier {
        &self.student
    }

    /// Both models on some texts. The teacher runs without a graph and without dropout.
    fn compared(
        &self,
        texts: &DistilledTexts,
        batch: &[usize],
        forward: &Forward,
    ) -> Result<Compared> {
        let input = input(&self.student, &texts.student, batch)?;
        let asked = self::input(&self.teacher, texts.of_teacher(), batch)?;
        let inference = Forward::inference();
        let Some(hidden) = &self.hidden else {
            let student = self.student.forward(&input, forward)?;
            let teacher = no_grad(|| self.teacher.forward(&asked, &inference))?.detach();
            return Ok(Compared { student, teacher, hidden: None });
        };
        self.check(texts)?;
        let (student, own) = self.student.forward_with_states(&input, forward)?;
        let (teacher, theirs) = no_grad(|| self.teacher.forward_with_states(&asked, &inference))?;
        let apart = hidden.loss(&own, &theirs, &input)?;
        Ok(Compared { student, teacher: teacher.detach(), hidden: Some(apart) })
    }

    /// The mean loss over some texts.
    fn mean_loss(&self, compared: &Compared, labels: Option<&[u32]>) -> Result<Var> {
        let by_logits = self.loss_of_logits(&compared.student, &compared.teacher, labels)?;
        match &compared.hidden {
            Some(hidden) => Ok(by_logits.add(hidden)?),
            None => Ok(by_logits),
        }
    }

    fn loss_of_logits(&self, student: &Var, teacher: &Var, labels: Option<&[u32]>) -> Result<Var> {
        let Distilling { temperature, alpha } = self.how;
        let soft = student.mul_scalar(1.0 / temperature)?.log_softmax(1)?;
        let targets = teacher.mul_scalar(1.0 / temperature)?.softmax(1)?;
        let divergence = losses::kl_div(&soft, &targets, Reduction::Mean)?;
        let divergence = divergence.mul_scalar(alpha * temperature * temperature)?;
        let Some(labels) = labels.filter(|_| alpha < 1.0) else { return Ok(divergence) };
        let device = student.tensor().device();
        let labels = Tensor::from_slice(labels, &[labels.len()])?.to_device(device)?;
        let hard = student.cross_entropy(&labels, &CrossEntropy::default())?;
        Ok(divergence.add(&hard.mul_scalar(1.0 - alpha)?)?)
    }
}

/// What both models say of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taught {
    /// The student's logits.
    pub logits: Vec<f32>,
    /// The label that the teacher chooses.
    pub teacher: u32,
}

/// What both models say of some texts.
struct Compared {
    /// Logits, `[texts, labels]`.
    student: Var,
    teacher: Var,
    /// The loss of the hidden states, if they are compared.
    hidden: Option<Var>,
}

/// Some texts as the input of a model.
fn input(model: &SequenceClassifier, all: &[Encoding], batch: &[usize]) -> Result<EncoderInput> {
    let packed = PackedBatch::new(batch.iter().map(|&i| &all[i]), model.encoder().config())?;
    EncoderInput::new(&packed)?.to_device(model.encoder().device())
}

/// How often the student chooses the label that the teacher chooses.
const AGREEMENT: Metric = Metric::percent("agreement", "agreement with the teacher");
const UNLABELLED: [Metric; 1] = [AGREEMENT];
const LABELLED: [Metric; 5] = {
    let [accuracy, macro_f1, weighted_f1, calibration] = Problem::SINGLE;
    [accuracy, macro_f1, weighted_f1, calibration, AGREEMENT]
};

impl Task for Distillation {
    type Set = DistilledTexts;
    type Findings = Vec<Taught>;

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// What the student reads.
    fn sequences(&self, batch: &[usize], labels: &[String]) -> Vec<ReadTokens> {
        let label = |i: usize| labels.get(self.train.labels.as_ref()?[i] as usize).cloned();
        let read =
            |&i: &usize| ReadTokens { ids: self.train.student[i].ids.clone(), target: label(i) };
        batch.iter().map(read).collect()
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let compared = self.compared(&self.train, batch, forward)?;
        let labels = self.train.labels.as_ref();
        let labels: Option<Vec<u32>> = labels.map(|all| batch.iter().map(|&i| all[i]).collect());
        self.mean_loss(&compared, labels.as_deref())
    }

    fn is_head(&self, name: &str) -> bool {
        crate::family::is_head(name) || name.starts_with(PROJECTION)
    }

    fn beside(&self) -> Option<&Store> {
        self.hidden.as_ref().map(Hidden::store).filter(|store| !store.parameters().is_empty())
    }

    fn metrics(&self) -> &'static [Metric] {
        if self.labelled { &LABELLED } else { &UNLABELLED }
    }

    /// The loss is that of training, without dropout.
    fn examine(
        &self,
        set: &DistilledTexts,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, Self::Findings)> {
        let (all, mut loss, mut agreed) = (set.student.len(), 0.0, 0usize);
        let mut found = vec![Taught::default(); all];
        let mut tally = SingleLabel::default();
        let labels_of = |batch: &[usize]| -> Option<Vec<u32>> {
            set.labels.as_ref().map(|all| batch.iter().map(|&i| all[i]).collect())
        };
        // The mean loss of the batch, what the teacher and the student choose, and the student's
        // logits.
        let compute = |batch: &[usize]| {
            let compared = self.compared(set, batch, &Forward::inference())?;
            let mean = self.mean_loss(&compared, labels_of(batch).as_deref())?;
            let Compared { student, teacher, .. } = compared;
            let mut numbers = mean.tensor().to_dtype(DType::F32)?.to_vec::<f32>()?;
            for logits in [&teacher, &student] {
                let chosen = logits.tensor().argmax(-1, false)?.to_vec::<u32>()?;
                numbers.extend(chosen.into_iter().map(|label| label as f32));
            }
            let rows = student.tensor().to_dtype(DType::F32)?.contiguous()?;
            numbers.extend(rows.to_vec::<f32>()?);
            Ok(numbers)
        };
        each_batch(&set.lengths(), 64, examiner, compute, |batch, numbers| {
            let (mean, rest) = numbers.split_at(1);
            let (taught, rest) = rest.split_at(batch.len());
            let (chosen, rows) = rest.split_at(batch.len());
            agreed += taught.iter().zip(chosen).filter(|(theirs, ours)| theirs == ours).count();
            loss += f64::from(mean[0]) * batch.len() as f64;
            let width = (rows.len() / batch.len()).max(1);
            for (row, label) in rows.chunks(width).zip(labels_of(batch).iter().flatten()) {
                tally.add(row, *label);
            }
            for ((&i, row), teacher) in batch.iter().zip(rows.chunks(width)).zip(taught) {
                let teacher = *teacher as u32;
                found[i] = Taught { logits: row.to_vec(), teacher };
            }
            Ok(())
        })?;
        let evaluation = tally.evaluation();
        let values = evaluation.values().filter(|(name, _)| *name != crate::evaluation::LOSS);
        let values = values.filter(|_| set.labels.is_some());
        let agreement = ("agreement", agreed as f64 / all.max(1) as f64);
        let numbers = Evaluation::new(all, loss / all.max(1) as f64, values.chain([agreement]));
        Ok((numbers, found))
    }
}
