//! Questions to a model, whatever the protocol: texts are encoded, queued, computed, and joined
//! again.

mod encode;

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gradus_models::Encoding;
use gradus_models::pipelines::{ClassificationFunction, Fill, Score, Tag, WordLabel};
use gradus_tensor::Device;
use tokio::sync::Semaphore;

use crate::error::{Kind, Problem, Result};
use crate::pipeline::{Answer, Pipeline, Task, View, Want};
use crate::registry::{Served, wrong_task};
use crate::scheduler::{Failure, Terms};

/// What is encoded inline: the work of some 100 µs. More goes to a thread that may block.
const INLINE_BYTES: usize = 2048;

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// A text.
    Plain(String),
    /// A pair of texts.
    Pair(String, String),
    /// Token ids, with or without the special ones.
    Ids(Vec<u32>),
}

impl Text {
    fn characters(&self) -> usize {
        match self {
            Text::Plain(text) => text.chars().count(),
            Text::Pair(a, b) => a.chars().count() + b.chars().count(),
            Text::Ids(_) => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Text::Plain(text) => text.len(),
            Text::Pair(a, b) => a.len() + b.len(),
            Text::Ids(ids) => ids.len(),
        }
    }
}

/// How texts are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encode {
    /// Texts of too many tokens are cut; else they are refused.
    pub truncate: bool,
    /// They are cut at their beginning instead of their end.
    pub left: bool,
    /// The name of the model's prompt to put before each text.
    pub prompt: Option<String>,
}

impl Default for Encode {
    fn default() -> Self {
        Encode { truncate: true, left: false, prompt: None }
    }
}

/// Who asks, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Requests of different clients take turns.
    pub client: u64,
    /// When the request arrived.
    pub arrived: Instant,
    /// When its answer is of no more use.
    pub deadline: Instant,
}

/// The inputs of a request, how they are encoded, and who asks.
#[derive(Debug)]
pub struct Question {
    texts: Vec<Text>,
    options: Encode,
    caller: Caller,
}

impl Question {
    /// Of some texts.
    pub fn new(texts: Vec<Text>, options: Encode, caller: Caller) -> Question {
        Question { texts, options, caller }
    }
}

/// What a request used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Inputs.
    pub inputs: usize,
    /// Characters of the texts.
    pub characters: usize,
    /// Tokens, special ones included.
    pub tokens: usize,
    /// Time to encode them.
    pub tokenized: Duration,
    /// Time in the queue.
    pub queued: Duration,
    /// Time from the start of the first batch to the end of the last.
    pub computed: Duration,
    /// Time since the request arrived.
    pub total: Duration,
    /// Where it was computed.
    pub device: Device,
}

/// Answers, one an input, and what they took.
#[derive(Debug)]
pub struct Asked<T> {
    /// The answers.
    pub answers: Vec<T>,
    /// What they took.
    pub usage: Usage,
}

impl<T> Asked<T> {
    fn map<U>(self, f: impl FnMut(T) -> Result<U>) -> Result<Asked<U>> {
        let answers = self.answers.into_iter().map(f).collect::<Result<_>>()?;
        Ok(Asked { answers, usage: self.usage })
    }
}

/// The tokens of a text and what they attend to.
#[derive(Debug)]
pub struct Attended {
    /// The text, the first of a pair, with the model's prompt before it.
    pub text: String,
    /// The tokens.
    pub encoding: Encoding,
    /// By layer and head: the probabilities, `tokens × tokens`, row by row.
    pub heads: Vec<Vec<Vec<f32>>>,
}

/// Numbers of an answer with attention at most: it grows with the square of the tokens.
pub const MOST_ATTENTION: usize = 1 << 20;

/// How logits become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scores {
    /// As the model says.
    Model,
    /// As the request says.
    By(ClassificationFunction),
}

/// Runs `work` here when it is small, else on a thread that may block.
///
/// # Errors
/// Those of `work`; an internal one when it panics.
pub async fn offload<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= INLINE_BYTES {
        return work();
    }
    let crashed = |_| Problem::new(Kind::Internal, "a task of the server crashed, which is a bug");
    tokio::task::spawn_blocking(work).await.map_err(crashed)?
}

/// Bytes at most that one text has in all the inputs in which it stands again.
const MOST_COPIED: usize = 64 << 20;

/// Refuses to put a text of so many bytes into so many inputs, as a query before its documents: a
/// body of megabytes would become gigabytes.
///
/// # Errors
/// When that is too much; `at` is the text's field.
pub fn check_copies(bytes: usize, inputs: usize, at: &str) -> Result<()> {
    match bytes.saturating_mul(inputs) <= MOST_COPIED {
        true => Ok(()),
        false => {
            let message = format!(
                "has {bytes} bytes, too many to stand in each of {inputs} inputs; shorten it"
            );
            Err(Problem { kind: Kind::TooLarge, ..Problem::field(at, message) })
        }
    }
}

/// Encodings at a time, as many as there are processors: each takes memory, and more would not be
/// sooner done.
static ENCODINGS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Arc::new(Semaphore::new(processors.max(2)))
});

/// As [`offload`], for work with a tokenizer: only so many at a time, and waited for until
/// `deadline` only.
///
/// # Errors
/// Those of `work`; a timeout at the deadline.
pub async fn encoding<T: Send + 'static>(
    bytes: usize,
    deadline: Instant,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= INLINE_BYTES {
        return work();
    }
    let encoded = async {
        let place = Arc::clone(&ENCODINGS).acquire_owned().await;
        offload(bytes, move || {
            // The place is taken until the work is done, even if nobody waits for it any more.
            let _place = place;
            work()
        })
        .await
    };
    let encoded = tokio::time::timeout_at(deadline.into(), encoded).await;
    encoded.unwrap_or_else(|_| Err(problem(Failure::Expired)))
}

impl Served {
    /// What a model of this task is usually asked.
    pub fn usual_want(&self) -> Want {
        match self.task() {
            Task::Embed => Want::Vector,
            Task::Classify => Want::Logits,
            Task::FillMask => Want::Fills(5),
            Task::Tag => Want::Tags(WordLabel::First),
        }
    }

    /// Encodes, queues and computes inputs.
    ///
    /// # Errors
    /// When an input is not for this model, the queue is full, or the deadline passes.
    pub async fn ask(self: &Arc<Self>, question: Question, want: Want) -> Result<Asked<Answer>> {
        let outcome = self.asked(question, want).await;
        let count = match &outcome {
            Ok(asked) => {
                let stats = &self.stats;
                let queued = asked.usage.queued.as_nanos() as u64;
                stats.queued_ns.fetch_add(queued, Ordering::Relaxed);
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                stats.last_ms.store(now.as_millis() as u64, Ordering::Relaxed);
                self.metrics.asked(&self.name, &asked.usage);
                &stats.succeeded
            }
            Err(_) => &self.stats.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    async fn asked(self: &Arc<Self>, question: Question, want: Want) -> Result<Asked<Answer>> {
        let Question { texts, options, caller } = question;
        let terms = Terms { client: caller.client, deadline: Some(caller.deadline) };
        let inputs = texts.len();
        // Each input is a token at least; how many it is really costs work to know.
        self.scheduler.admits(inputs, terms).map_err(problem)?;
        let start = Instant::now();
        let characters = texts.iter().map(Text::characters).sum();
        let bytes = texts.iter().map(Text::bytes).sum();
        let served = Arc::clone(self);
        let sequences = encoding(bytes, caller.deadline, move || {
            let one = |text| match Instant::now() < caller.deadline {
                true => served.sequence(text, &options, want.clone()),
                false => Err(problem(Failure::Expired)),
            };
            texts.into_iter().map(one).collect::<Result<Vec<_>>>()
        })
        .await?;
        let tokens = sequences.iter().map(|s| s.encoding.len()).sum();
        let tokenized = start.elapsed();
        let ticket = self.scheduler.submit(sequences, terms).map_err(problem)?;
        // Leaving here drops the ticket, which takes the request out of the queue.
        let answers = tokio::time::timeout_at(caller.deadline.into(), ticket)
            .await
            .unwrap_or(Err(Failure::Expired))
            .map_err(problem)?;
        let usage = Usage {
            inputs,
            characters,
            tokens,
            tokenized,
            queued: answers.queued,
            computed: answers.computed,
            total: caller.arrived.elapsed(),
            device: self.device,
        };
        Ok(Asked { answers: answers.outputs, usage })
    }

    /// Embeddings, `dimensions` of each (the first ones; all when `None`), of length 1 with
    /// `normalize`.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model does not embed, or has fewer dimensions.
    pub async fn embed(
        self: &Arc<Self>,
        question: Question,
        normalize: bool,
        dimensions: Option<usize>,
    ) -> Result<Asked<Vec<f32>>> {
        self.require(Task::Embed)?;
        let hidden = self.pipeline().width();
        if let Some(wanted) = dimensions.filter(|n| !(1..=hidden).contains(n)) {
            let message = format!("is {wanted}; the model has from 1 to {hidden}");
            return Err(Problem::field("dimensions", message));
        }
        self.ask(question, Want::Vector).await?.map(|answer| {
            let mut vector = numbers(answer)?;
            vector.truncate(dimensions.unwrap_or(hidden));
            if normalize {
                unit(&mut vector);
            }
            Ok(vector)
        })
    }

    /// The last hidden state of every token.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model does not embed.
    pub async fn embed_tokens(
        self: &Arc<Self>,
        question: Question,
    ) -> Result<Asked<Vec<Vec<f32>>>> {
        self.require(Task::Embed)?;
        let hidden = self.pipeline().config().hidden_size;
        self.ask(question, Want::States)
            .await?
            .map(|answer| Ok(numbers(answer)?.chunks(hidden).map(<[f32]>::to_vec).collect()))
    }

    /// The scores of all labels, in the order of their ids.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model does not classify.
    pub async fn scores(
        self: &Arc<Self>,
        question: Question,
        scores: Scores,
    ) -> Result<Asked<Vec<f32>>> {
        let Pipeline::Classify(classifier) = self.pipeline() else {
            return Err(wrong_task(self, Task::Classify.name()));
        };
        self.ask(question, Want::Logits).await?.map(|answer| {
            let logits = numbers(answer)?;
            match scores {
                Scores::Model => classifier.scores(&logits).map_err(|e| internal(&e)),
                Scores::By(function) => {
                    classifier.scores_by(&logits, function).map_err(|e| internal(&e))
                }
            }
        })
    }

    /// The labels with their scores, the best first.
    ///
    /// # Errors
    /// As [`Served::scores`].
    pub async fn classify(
        self: &Arc<Self>,
        question: Question,
        scores: Scores,
    ) -> Result<Asked<Vec<Score>>> {
        self.scores(question, scores).await?.map(|scores| Ok(self.ranked(&scores)))
    }

    /// Labels and scores, the best first, equal ones in the order of their ids.
    pub fn ranked(&self, scores: &[f32]) -> Vec<Score> {
        let labels = self.pipeline().labels().iter().zip(scores);
        let mut ranked: Vec<Score> =
            labels.map(|(label, &score)| Score { label: label.clone(), score }).collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked
    }

    /// The `top_k` words for each mask of each text: of all, or of these tokens.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model fills no masks, or a text has none.
    pub async fn fill_mask(
        self: &Arc<Self>,
        question: Question,
        top_k: usize,
        targets: Option<Arc<[u32]>>,
    ) -> Result<Asked<Vec<Vec<Fill>>>> {
        self.require(Task::FillMask)?;
        let want = targets.map_or(Want::Fills(top_k), Want::Targets);
        self.ask(question, want).await?.map(|answer| match answer {
            // A batch computes as many as the greediest in it wants.
            Answer::Fills(mut masks) => {
                masks.iter_mut().for_each(|fills| fills.truncate(top_k));
                Ok(masks)
            }
            _ => Err(unexpected()),
        })
    }

    /// The words of each text, labelled so.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model tags no words.
    pub async fn tag(
        self: &Arc<Self>,
        question: Question,
        label: WordLabel,
    ) -> Result<Asked<Vec<Tag>>> {
        self.require(Task::Tag)?;
        self.ask(question, Want::Tags(label)).await?.map(|answer| match answer {
            Answer::Tags(tags) => Ok(tags),
            _ => Err(unexpected()),
        })
    }

    /// What the tokens of each text attend to.
    ///
    /// # Errors
    /// As [`Served::ask`]; when the model has no such layer or head, or there would be more than
    /// [`MOST_ATTENTION`] numbers.
    pub async fn attention(
        self: &Arc<Self>,
        question: Question,
        view: View,
    ) -> Result<Asked<Attended>> {
        let asked = self.ask(question, Want::Attention(view)).await?;
        asked.map(|answer| match answer {
            Answer::Attention { text, encoding, heads } => Ok(Attended { text, encoding, heads }),
            _ => Err(unexpected()),
        })
    }

    fn require(&self, task: Task) -> Result<()> {
        match self.task() == task {
            true => Ok(()),
            false => Err(wrong_task(self, task.name())),
        }
    }
}

/// Scales to length 1; a vector of zeros stays.
pub fn unit(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = squares.sqrt().max(1e-12);
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
}

/// The cosine of two vectors of length 1.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

fn numbers(answer: Answer) -> Result<Vec<f32>> {
    match answer {
        Answer::Numbers(numbers) => Ok(numbers),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Problem {
    Problem::new(
        Kind::Internal,
        "the model gave another kind of answer than asked for, which is a bug",
    )
}

fn internal(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(Kind::Internal, error.to_string())
}

/// An error's message without the name of the operation.
fn plain(error: &gradus_models::Error) -> String {
    let message = error.to_string();
    message.strip_prefix("[input] ").unwrap_or(&message).to_string()
}

/// What the scheduler says, as a problem.
fn problem(failure: Failure<Arc<gradus_models::Error>>) -> Problem {
    let message = failure.to_string();
    let (kind, retry) = match failure {
        Failure::Full { retry_after } | Failure::Busy { retry_after, .. } => {
            (Kind::Overloaded, Some(retry_after))
        }
        Failure::Expired | Failure::TooSlow { .. } => (Kind::Timeout, None),
        Failure::Closed => (Kind::Unavailable, Some(Duration::from_secs(1))),
        Failure::Crashed => (Kind::Internal, None),
        Failure::Model(error) => match *error {
            gradus_models::Error::Input(_) => return Problem::invalid(plain(&error)),
            _ => (Kind::Internal, None),
        },
    };
    Problem { retry_after: retry, ..Problem::new(kind, message) }
}
