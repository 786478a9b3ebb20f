//! The exchange of one step: each rank sends its branches of the tree to the owner of a bucket, the
//! owner adds them, and everybody gets the sum.
//!
//! A bucket is sent as soon as its last gradient is announced, while backward goes on. Then the
//! owner also adds the buckets that have arrived from all ranks, and sends their sums.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::Instant;

use gradus_autograd::{Gradients, VarId};
use gradus_nn::Parameter;
use gradus_tensor::{Device, Reading, Tensor};

use super::Tag;
use super::message::{Values, add, decode, encode};
use super::plan::{Bucket, Slice};
use super::share::{BUCKETS, Ranks, Reduce};
use super::timeline::Doing;
use crate::training::tree::{self, Node, Part, Sums, branches_within};
use crate::{Error, Result};

/// The exchange of one step.
pub(in crate::training) struct Exchange<'a> {
    ranks: &'a Ranks,
    /// Micro-batches of the step.
    all: usize,
    /// Whether every rank gets all gradients; otherwise those that it owns, and the loss.
    whole: bool,
    /// By parameter.
    places: HashMap<VarId, usize>,
    /// The own branches' values of each item, once they are known.
    ready: Vec<Option<Vec<Option<Tensor>>>>,
    /// Items of each bucket that are not ready yet.
    missing: Vec<usize>,
    /// Of buckets that this rank owns: the messages of all ranks, its own among them.
    arrived: Vec<Vec<Option<Vec<u8>>>>,
    /// The sums of buckets that this rank owns.
    totals: Vec<Option<Values>>,
    /// The buckets that this rank owns in the order in which they were packed: the order in which
    /// those of other ranks arrive.
    packed: Vec<usize>,
    /// Buckets on their way from a GPU.
    reading: VecDeque<(usize, Vec<Option<Reading>>)>,
    /// Whether messages were exchanged.
    begun: bool,
    failed: Option<Error>,
}

impl<'a> Exchange<'a> {
    /// An exchange of a step with `all` micro-batches. `whole`: every rank needs all gradients, even
    /// where each updates its own parameters alone.
    pub fn new(ranks: &'a Ranks, all: usize, whole: bool) -> Exchange<'a> {
        let places = ranks.parameters.iter().enumerate().map(|(i, p)| (p.id(), i)).collect();
        Exchange {
            ranks,
            all,
            whole: whole || !ranks.options.shard_optimizer,
            places,
            ready: vec![None; ranks.parameters.len() + 1],
            missing: ranks.buckets.iter().map(|bucket| bucket.slices.len()).collect(),
            arrived: vec![vec![None; ranks.size()]; ranks.buckets.len()],
            totals: vec![None; ranks.buckets.len()],
            packed: Vec::new(),
            reading: VecDeque::new(),
            begun: false,
            failed: None,
        }
    }

    /// Whether gradients have been exchanged already: then the step cannot be tried again.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes a gradient of the rank's last backward of the step. `sums` has the micro-batches
    /// before, `part` the earlier pieces of this one.
    pub fn announce(&mut self, leaf: VarId, grad: &Tensor, sums: &Sums<Part>, part: &Part) {
        let Some(&item) = self.places.get(&leaf) else { return };
        let name = self.ranks.parameters[item].name();
        self.ranks.note(Doing::Gradient, name, None, [Instant::now(); 2]);
        if self.ranks.options.reduce == Reduce::Fast || self.failed.is_some() {
            return;
        }
        let earlier = part.gradients.get_id(leaf).cloned();
        let own = tree::add(earlier, Some(grad.clone()));
        let done = own.and_then(|own| {
            let mut values = sums.map(|part| part.gradients.get_id(leaf).cloned());
            values.push(self.own().end - 1, own, tree::add)?;
            self.is_ready(item, values)?;
            self.add_what_arrived()
        });
        self.failed = done.err();
    }

    fn own(&self) -> Range<usize> {
        self.ranks.own_micro_batches(self.all)
    }

    /// Notes the values of an item, and sends the buckets that are then complete.
    fn is_ready(&mut self, item: usize, values: Sums<Option<Tensor>>) -> Result<()> {
        let values = values.nodes().iter().map(|(_, value)| value.clone()).collect();
        self.ready[item] = Some(values);
        for at in 0..self.ranks.buckets.len() {
            let of_item = |slice: &&Slice| slice.item == item;
            let slices = self.ranks.buckets[at].slices.iter().filter(of_item).count();
            if slices == 0 {
                continue;
            }
            self.missing[at] -= slices;
            if self.missing[at] == 0 {
                self.send(at)?;
            }
        }
        Ok(())
    }

    /// Begins to read a bucket, and sends it to its owner. On a GPU the bucket before is sent
    /// instead: this one is read while backward goes on.
    fn send(&mut self, at: usize) -> Result<()> {
        let bucket = &self.ranks.buckets[at];
        let branches = branches_within(self.all, self.own()).len();
        let mut readings = Vec::with_capacity(branches * bucket.slices.len());
        let mut behind = 0;
        for branch in 0..branches {
            for slice in &bucket.slices {
                let value = self.ready[slice.item].as_ref().and_then(|all| all[branch].as_ref());
                behind = behind.max(value.map_or(0, |v| usize::from(v.device() != Device::Cpu)));
                let begin = |value| part(value, &slice.range)?.read_later();
                readings.push(value.map(begin).transpose()?);
            }
        }
        self.reading.push_back((at, readings));
        self.flush(behind)
    }

    /// Sends the buckets that are being read, but for the last few.
    fn flush(&mut self, behind: usize) -> Result<()> {
        while self.reading.len() > behind
            && let Some((at, readings)) = self.reading.pop_front()
        {
            let (ranks, begin) = (self.ranks, Instant::now());
            let any = !readings.is_empty();
            let numbers = |reading: Reading| Ok(reading.wait()?.to_vec::<f32>()?);
            let pack = || {
                let values = readings.into_iter().map(|reading| reading.map(numbers).transpose());
                Ok::<_, Error>(encode(values.collect::<Result<Values>>()?.iter()))
            };
            let message = ranks.exchanging(pack)?;
            let owner = ranks.buckets[at].owner;
            if owner == ranks.rank() {
                self.arrived[at][owner] = Some(message);
                self.packed.push(at);
            } else if any {
                self.begun = true;
                ranks.send(owner, tag(at), message)?;
            }
            ranks.note(Doing::Pack, at, Some(owner), [begin, Instant::now()]);
        }
        Ok(())
    }

    /// Adds the own buckets of which all branches have arrived, and sends their sums.
    fn add_what_arrived(&mut self) -> Result<()> {
        for place in 0..self.packed.len() {
            let at = self.packed[place];
            if self.totals[at].is_none() && self.collect(at, false)? {
                self.add(at)?;
            }
        }
        Ok(())
    }

    /// Takes the other ranks' branches of a bucket that are here, or waits for all of them. Returns
    /// whether none is missing.
    fn collect(&mut self, at: usize, wait: bool) -> Result<bool> {
        let ranks = self.ranks;
        for from in 0..ranks.size() {
            let sends_nothing = ranks.micro_batches(self.all, from).is_empty();
            if sends_nothing || self.arrived[at][from].is_some() {
                continue;
            }
            let message = match wait {
                true => Some(ranks.receive(from, tag(at))?),
                false => ranks.communicator().arrived(from, tag(at))?,
            };
            let Some((message, arrived)) = message else { return Ok(false) };
            self.begun = true;
            self.arrived[at][from] = Some(message);
            ranks.note(Doing::Arrive, at, Some(from), [arrived; 2]);
        }
        Ok(true)
    }

    /// Adds a bucket of which all branches are here, and sends the sum.
    fn add(&mut self, at: usize) -> Result<()> {
        let (ranks, bucket, begin) = (self.ranks, &self.ranks.buckets[at], Instant::now());
        let messages = std::mem::take(&mut self.arrived[at]);
        let total = ranks.exchanging(|| self.total(at, &messages))?;
        if self.gathers(bucket) {
            let told = bucket.slices.iter().zip(&total);
            let told = told.map(|(slice, sum)| if self.tells(slice.item) { sum } else { &None });
            let message = ranks.exchanging(|| encode(told));
            ranks.send_to_others(sum_tag(at), &message)?;
        }
        self.totals[at] = Some(total);
        ranks.note(Doing::Add, at, None, [begin, Instant::now()]);
        Ok(())
    }

    /// The sum of the step over all ranks, from the sums of this one.
    pub fn finish(mut self, sums: &Sums<Part>) -> Result<Part> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.ranks.options.reduce == Reduce::Fast {
            return self.all_reduce(sums);
        }
        for item in 0..self.ready.len() {
            if self.ready[item].is_none() {
                self.is_ready(item, sums.map(|part| self.value(part, item)))?;
            }
        }
        self.flush(0)?;
        // What others wait for comes first.
        self.add_what_arrived()?;
        while let Some(&next) = self.packed.iter().find(|at| self.totals[**at].is_none()) {
            self.collect(next, true)?;
            self.add(next)?;
            self.add_what_arrived()?;
        }
        let ranks = self.ranks;
        let mut totals: Vec<Values> = Vec::with_capacity(self.totals.len());
        for (at, total) in std::mem::take(&mut self.totals).into_iter().enumerate() {
            totals.push(match total {
                Some(own) => own,
                None if self.gathers(&ranks.buckets[at]) => {
                    ranks.receive_bucket(at, sum_tag(at))?
                }
                None => Values::new(),
            });
        }
        self.assemble(totals)
    }

    /// Whether all ranks get the sum of an item.
    fn tells(&self, item: usize) -> bool {
        self.whole || item == self.ranks.parameters.len()
    }

    fn gathers(&self, bucket: &Bucket) -> bool {
        bucket.slices.iter().any(|slice| self.tells(slice.item))
    }

    /// The value of an item in a part.
    fn value(&self, part: &Part, item: usize) -> Option<Tensor> {
        match self.ranks.parameters.get(item) {
            Some(parameter) => part.gradients.get_id(parameter.id()).cloned(),
            None => part.loss.clone(),
        }
    }

    /// The sum of a bucket over the branches of all ranks, from their messages.
    fn total(&self, at: usize, messages: &[Option<Vec<u8>>]) -> Result<Values> {
        let (ranks, bucket) = (self.ranks, &self.ranks.buckets[at]);
        let mut branches = HashMap::new();
        for (from, message) in messages.iter().enumerate() {
            let nodes = branches_within(self.all, ranks.micro_batches(self.all, from));
            let Some(message) = message.as_ref().filter(|_| !nodes.is_empty()) else { continue };
            let numels = bucket.numels().repeat(nodes.len());
            let values = decode(message, &numels).ok_or_else(|| ranks.wrong_message(from))?;
            let mut values = values.into_iter();
            for node in nodes {
                branches.insert(node, values.by_ref().take(bucket.slices.len()).collect());
            }
        }
        Ok(total_of(Node::root(self.all), &mut branches))
    }

    /// The sum by the communicator's own operation.
    fn all_reduce(&self, sums: &Sums<Part>) -> Result<Part> {
        let mut own = Part::default();
        for (_, part) in sums.nodes() {
            own = own.add(part.clone())?;
        }
        let mut totals = Vec::new();
        for bucket in &self.ranks.buckets {
            let (mut all, mut there) = (Vec::new(), Vec::new());
            for slice in &bucket.slices {
                let value = self.value(&own, slice.item);
                there.push(f32::from(u8::from(value.is_some())));
                match value {
                    Some(tensor) => all.extend(part(&tensor, &slice.range)?.to_vec::<f32>()?),
                    None => all.resize(all.len() + slice.range.len(), 0.0),
                }
            }
            all.extend(&there);
            let sum = self.ranks.communicator().all_reduce(all)?;
            let (mut rest, there) = sum.split_at(sum.len() - there.len());
            let mut values = Values::new();
            for (slice, there) in bucket.slices.iter().zip(there) {
                let (now, later) = rest.split_at(slice.range.len());
                rest = later;
                values.push((*there > 0.0).then(|| now.to_vec()));
            }
            totals.push(values);
        }
        self.assemble(totals)
    }

    /// Makes tensors of the sums of all buckets.
    fn assemble(&self, totals: Vec<Values>) -> Result<Part> {
        let begin = Instant::now();
        let part = self.ranks.exchanging(|| self.tensors(totals));
        self.ranks.note(Doing::Unpack, "all", None, [begin, Instant::now()]);
        part
    }

    fn tensors(&self, totals: Vec<Values>) -> Result<Part> {
        let mut items: Vec<Option<Vec<f32>>> = vec![None; self.ready.len()];
        // The slices of an item come in order.
        for (bucket, values) in self.ranks.buckets.iter().zip(totals) {
            for (slice, value) in bucket.slices.iter().zip(values) {
                if let Some(value) = value {
                    items[slice.item].get_or_insert_default().extend(value);
                }
            }
        }
        let mut part = Part { loss: None, gradients: Gradients::default() };
        for (item, value) in items.into_iter().enumerate() {
            let Some(value) = value else { continue };
            let tensor = Tensor::from_slice(&value, self.ranks.shape(item))?;
            match self.ranks.parameters.get(item) {
                Some(parameter) => {
                    part.gradients.insert(parameter.id(), tensor.to_device(parameter.device())?)
                }
                None => {
                    let device = self.ranks.parameters.first().map(Parameter::device);
                    part.loss = Some(tensor.to_device(device.unwrap_or(Device::Cpu))?);
                }
            }
        }
        Ok(part)
    }
}

/// The tag of the gradients of a bucket.
fn tag(bucket: usize) -> Tag {
    bucket as Tag
}

/// The tag of the sum of a bucket.
fn sum_tag(bucket: usize) -> Tag {
    BUCKETS + bucket as Tag
}

/// A range of the elements of a tensor.
fn part(tensor: &Tensor, range: &Range<usize>) -> gradus_tensor::Result<Tensor> {
    tensor.reshape(&[tensor.numel()])?.narrow(0, range.start, range.len())?.contiguous()
}

/// The sum at a node from the branches that are there, which cover all its leaves.
fn total_of(node: Node, branches: &mut HashMap<Node, Values>) -> Values {
    match (branches.remove(&node), node.branches()) {
        (Some(values), _) => values,
        (None, Some((left, right))) => add(total_of(left, branches), total_of(right, branches)),
        (None, None) => Values::new(),
    }
}
