//! Asking a model: texts are encoded, queued, computed, and their answers joined again.

mod asked;
mod encode;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub use self::asked::Asked;
pub use self::encode::MAX_ATTENTION;
pub use self::tasks::{Attended, Scores, dot};
use crate::error::{Problem, Result};
use crate::offload::encode_within;
use crate::pipeline::{Answer, Want};
use crate::question::{Question, Text};
use crate::scheduler::{Failure, Terms};
use crate::served::Served;
use crate::usage::Usage;

impl Served {
    /// Encodes, queues and computes inputs.
    ///
    /// # Errors
    /// When an input does not suit this model, the queue is full, or the deadline passes.
    pub async fn ask(self: &Arc<Self>, question: Question, want: Want) -> Result<Asked<Answer>> {
        let outcome = self.compute(question, want).await;
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

    async fn compute(self: &Arc<Self>, question: Question, want: Want) -> Result<Asked<Answer>> {
        let Question { texts, options, caller } = question;
        let terms = Terms { client: caller.client, deadline: Some(caller.deadline) };
        let inputs = texts.len();
        // An input has at least one token. To count its tokens is work, which comes later.
        self.scheduler.admits(inputs, terms)?;
        let start = Instant::now();
        let characters = texts.iter().map(Text::characters).sum();
        let bytes = texts.iter().map(Text::bytes).sum();
        let served = Arc::clone(self);
        let sequences = encode_within(bytes, caller.deadline, move || {
            let one = |text| match Instant::now() < caller.deadline {
                true => served.sequence(text, &options, want.clone()),
                false => Err(Problem::from(Failure::Expired)),
            };
            texts.into_iter().map(one).collect::<Result<Vec<_>>>()
        })
        .await?;
        let tokens = sequences.iter().map(|s| s.encoding.len()).sum();
        let tokenized = start.elapsed();
        let ticket = self.scheduler.submit(sequences, terms)?;
        // A client that hangs up drops the ticket, which takes the request out of the queue.
        let answers = tokio::time::timeout_at(caller.deadline.into(), ticket)
            .await
            .unwrap_or(Err(Failure::Expired))?;
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
}
