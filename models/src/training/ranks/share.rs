//! One rank's view of a run that several ranks share.

use std::fmt::Display;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gradus_nn::Parameter;
use gradus_tensor::{DType, Device, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::message::{Values, decode, decode_tensors, encode_tensors};
use super::plan::{Bucket, Slice, buckets, own};
use super::timeline::{Doing, Mark, Timeline, together};
use super::{Communicator, Tag};
use crate::{Error, Result};

/// The number of buckets at most: each has a tag for its gradients, one for their sums and one for
/// values.
pub(super) const BUCKETS: Tag = 8_000;

/// How the gradients of ranks are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduce {
    /// In the order of one tree over the micro-batches of a step: any number of ranks gives the bits
    /// of one process.
    #[default]
    Exact,
    /// By [`Communicator::all_reduce`], in an order that depends on the number of ranks: sums differ
    /// by rounding, about 1e-6 relative to the gradients.
    Fast,
}

/// How ranks train together.
#[derive(Clone, Copy, Debug)]
pub struct RankOptions {
    /// How gradients are added.
    pub reduce: Reduce,
    /// Whether each rank keeps the optimiser's state of its own share of the parameters alone
    /// (ZeRO-1, Rajbhandari et al., arXiv:1910.02054).
    pub shard_optimizer: bool,
    /// The numbers of a message of gradients at most.
    pub bucket: usize,
    /// The step, counted from 1, in which every rank notes what it does and when.
    pub timeline: Option<u64>,
}

impl Default for RankOptions {
    fn default() -> Self {
        RankOptions {
            reduce: Reduce::Exact,
            shard_optimizer: false,
            bucket: 1 << 20,
            timeline: None,
        }
    }
}

/// What a rank has done in its steps since the last time somebody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes sent to other ranks.
    pub sent: u64,
    /// Seconds in which it computed its micro-batches.
    pub computed: f64,
    /// Seconds in which it packed, added and unpacked gradients.
    pub exchanged: f64,
    /// Seconds in which it waited for other ranks.
    pub waited: f64,
    /// Seconds of the steps as a whole, the optimiser's part among them.
    pub seconds: f64,
}

/// A rank of several that train together.
pub(in crate::training) struct Ranks {
    communicator: Arc<dyn Communicator>,
    pub options: RankOptions,
    /// The trained parameters: the items of the buckets. The loss is one item more.
    pub parameters: Vec<Parameter>,
    /// How the gradients travel.
    pub buckets: Vec<Bucket>,
    /// The rank that updates each item, where the optimiser's state is in shards.
    pub owners: Vec<usize>,
    traffic: Mutex<Traffic>,
    timeline: Timeline,
}

impl Ranks {
    /// # Errors
    /// When a parameter is not in f32.
    pub fn new(
        communicator: Arc<dyn Communicator>,
        options: RankOptions,
        parameters: Vec<Parameter>,
    ) -> Result<Ranks> {
        if let Some(other) = parameters.iter().find(|p| p.dtype() != DType::F32) {
            return Err(Error::Input(format!(
                "`{}` is {}; ranks exchange gradients in f32",
                other.name(),
                other.dtype()
            )));
        }
        let numels: Vec<usize> = parameters.iter().map(Parameter::numel).collect();
        let (size, whole) = (communicator.size(), options.shard_optimizer);
        let all: usize = numels.iter().sum();
        // Small models have small buckets, so that every rank has a share; whole parameters need
        // more of them to be shared evenly.
        let even = all.div_ceil(if whole { 4 * size } else { size });
        // Two buckets that follow each other are larger than one may be: so each has a tag.
        let limit = options.bucket.min(even).max(all.div_ceil(usize::from(BUCKETS) / 2 - 1)).max(1);
        let mut buckets = buckets(&numels, limit, whole, size);
        // The sum of the losses is known when the last gradient is.
        let loss = Slice { item: numels.len(), range: 0..1 };
        match buckets.last_mut() {
            Some(last) => last.slices.push(loss),
            None => buckets.push(Bucket { owner: 0, slices: vec![loss] }),
        }
        let mut owners = vec![0; numels.len() + 1];
        for bucket in &buckets {
            bucket.slices.iter().for_each(|slice| owners[slice.item] = bucket.owner);
        }
        let (traffic, timeline) = Default::default();
        Ok(Ranks { communicator, options, parameters, buckets, owners, traffic, timeline })
    }

    pub fn communicator(&self) -> &dyn Communicator {
        &*self.communicator
    }

    pub fn rank(&self) -> usize {
        self.communicator.rank()
    }

    pub fn size(&self) -> usize {
        self.communicator.size()
    }

    /// The micro-batches of a rank, of a step that has `all`.
    pub fn micro_batches(&self, all: usize, rank: usize) -> Range<usize> {
        own(all, rank, self.size())
    }

    /// The micro-batches of this rank.
    pub fn own_micro_batches(&self, all: usize) -> Range<usize> {
        self.micro_batches(all, self.rank())
    }

    /// The numbers of an item: a gradient, or the loss.
    pub fn shape(&self, item: usize) -> &[usize] {
        self.parameters.get(item).map_or(&[], Parameter::shape)
    }

    pub fn send(&self, to: usize, tag: Tag, message: Vec<u8>) -> Result<()> {
        self.traffic().sent += message.len() as u64;
        self.communicator.send(to, tag, message)
    }

    pub fn send_to_others(&self, tag: Tag, message: &[u8]) -> Result<()> {
        let mut others = (0..self.size()).filter(|to| *to != self.rank());
        others.try_for_each(|to| self.send(to, tag, message.to_vec()))
    }

    /// Waits for a message if it is not here. Returns it, and when it arrived.
    pub fn receive(&self, from: usize, tag: Tag) -> Result<(Vec<u8>, Instant)> {
        if let Some(arrived) = self.communicator.arrived(from, tag)? {
            return Ok(arrived);
        }
        let begin = Instant::now();
        let message = self.communicator.receive(from, tag);
        let end = Instant::now();
        self.traffic().waited += (end - begin).as_secs_f64();
        self.note(Doing::Wait, tag, Some(from), [begin, end]);
        Ok((message?, end))
    }

    /// The values of the bucket `at`, from the rank that owns it.
    pub fn receive_bucket(&self, at: usize, tag: Tag) -> Result<Values> {
        let bucket = &self.buckets[at];
        let (message, arrived) = self.receive(bucket.owner, tag)?;
        self.note(Doing::Sum, at, Some(bucket.owner), [arrived; 2]);
        let values = self.exchanging(|| decode(&message, &bucket.numels()));
        values.ok_or_else(|| self.wrong_message(bucket.owner))
    }

    /// The messages of all ranks, in their order.
    pub fn all_gather(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let begin = Instant::now();
        let sent = (message.len() * (self.size() - 1)) as u64;
        let all = self.communicator.all_gather(message);
        let end = Instant::now();
        self.note(Doing::Wait, "all", None, [begin, end]);
        let mut traffic = self.traffic();
        traffic.sent += sent;
        traffic.waited += (end - begin).as_secs_f64();
        all
    }

    /// Counts the time of `compute` as that of this rank's micro-batches, but for what it exchanges
    /// and waits for meanwhile.
    pub fn computing<R>(&self, compute: impl FnOnce() -> R) -> R {
        let apart = |traffic: &Traffic| traffic.exchanged + traffic.waited;
        let (begin, before) = (Instant::now(), apart(&self.traffic()));
        let result = compute();
        let mut traffic = self.traffic();
        traffic.computed += begin.elapsed().as_secs_f64() - (apart(&traffic) - before);
        result
    }

    /// Counts the time of `work` as that of packing, adding and unpacking.
    pub fn exchanging<R>(&self, work: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = work();
        self.traffic().exchanged += begin.elapsed().as_secs_f64();
        result
    }

    /// Begins a step, the `number`th, and records it if it is asked for.
    pub fn begin_step(&self, number: u64) {
        if self.options.timeline == Some(number) {
            self.timeline.begin();
        }
    }

    /// Counts the time of a step as a whole.
    pub fn end_step(&self, begin: Instant) {
        self.traffic().seconds += begin.elapsed().as_secs_f64();
    }

    /// Notes for the timeline what this rank did between two times.
    pub fn note(&self, what: Doing, of: impl Display, with: Option<usize>, times: [Instant; 2]) {
        self.timeline.note(self.rank(), what, of, with, times);
    }

    /// What all ranks did in the step that they have recorded, if that was the last one. All ranks
    /// must ask.
    pub fn take_timeline(&self) -> Result<Option<Vec<Mark>>> {
        let Some(own) = self.timeline.take() else { return Ok(None) };
        let message = serde_json::to_vec(&own).unwrap_or_default();
        Ok(Some(together(self.tell_all(message)?)))
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tensors of all ranks, those of rank 0 first.
    pub fn all_tensors(&self, own: &[Tensor], device: Device) -> Result<Vec<Tensor>> {
        let mut all = Vec::new();
        for (from, message) in self.all_gather(encode_tensors(own)?)?.iter().enumerate() {
            let tensors = decode_tensors(message, device)?;
            all.extend(tensors.ok_or_else(|| self.wrong_message(from))?);
        }
        Ok(all)
    }

    /// Of each question whether any rank says yes. All ranks must ask.
    pub fn any<const N: usize>(&self, yes: [bool; N]) -> Result<[bool; N]> {
        let all = self.all_gather(yes.map(u8::from).to_vec())?;
        let said = |at: usize| all.iter().any(|answers| answers.get(at).is_some_and(|n| *n != 0));
        Ok(std::array::from_fn(said))
    }

    /// What each rank has done since the last call. All ranks must ask.
    pub fn take_traffic(&self) -> Result<Vec<Traffic>> {
        let own = std::mem::take(&mut *self.traffic());
        self.tell_all(serde_json::to_vec(&own).unwrap_or_default())
    }

    /// What all ranks say in JSON, in their order; it counts as no traffic.
    fn tell_all<S: DeserializeOwned>(&self, message: Vec<u8>) -> Result<Vec<S>> {
        let read = |(from, said): (usize, &Vec<u8>)| {
            serde_json::from_slice(said).map_err(|_| self.wrong_message(from))
        };
        self.communicator.all_gather(message)?.iter().enumerate().map(read).collect()
    }

    /// A message of another length than was agreed: the ranks no longer train the same model.
    pub fn wrong_message(&self, from: usize) -> Error {
        let message = "it sent a message of another length than this rank expects; the ranks no \
                       longer train the same model"
            .into();
        Error::Rank { rank: from, message }
    }
}
