//! The optimiser's state in shards (ZeRO-1, Rajbhandari et al., arXiv:1910.02054): each rank updates
//! the parameters that it owns, and sends their values to the others.

use std::collections::HashMap;

use gradus_autograd::Gradients;
use gradus_nn::Parameter;
use gradus_tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Tag;
use super::message::{Values, encode};
use super::share::{BUCKETS, Ranks};
use crate::Result;

/// The tag of a state.
const STATE: Tag = 30_000;

/// The tag of the values of a bucket.
fn tag(bucket: usize) -> Tag {
    2 * BUCKETS + bucket as Tag
}

impl Ranks {
    /// Whether this rank updates a parameter.
    fn owns(&self, item: usize) -> bool {
        !self.options.shard_optimizer || self.owners[item] == self.rank()
    }

    /// The gradients of the parameters that this rank updates.
    pub fn own_gradients(&self, gradients: &Gradients) -> Gradients {
        let mut own = Gradients::default();
        for (_, parameter) in self.parameters.iter().enumerate().filter(|(i, _)| self.owns(*i)) {
            if let Some(gradient) = gradients.get_id(parameter.id()) {
                own.insert(parameter.id(), gradient.clone());
            }
        }
        own
    }

    /// The norm of all gradients, where each rank has its own: the same bits as
    /// [`Tensor::global_norm`] on the CPU.
    pub fn norm(&self, gradients: &Gradients, device: Device) -> Result<Tensor> {
        let mut own: Vec<(usize, Vec<u64>)> = Vec::new();
        for (item, parameter) in self.parameters.iter().enumerate().filter(|(i, _)| self.owns(*i)) {
            if let Some(gradient) = gradients.get_id(parameter.id()) {
                let sums = gradient.sums_of_squares()?;
                own.push((item, sums.into_iter().map(f64::to_bits).collect()));
            }
        }
        let message = serde_json::to_vec(&own).unwrap_or_default();
        let mut all: Vec<(usize, Vec<u64>)> = Vec::new();
        for (from, said) in self.all_gather(message)?.iter().enumerate() {
            let sums: Vec<_> =
                serde_json::from_slice(said).map_err(|_| self.wrong_message(from))?;
            all.extend(sums);
        }
        all.sort_by_key(|(item, _)| *item);
        let sum: f64 =
            all.iter().flat_map(|(_, sums)| sums).map(|bits| f64::from_bits(*bits)).sum();
        Ok(Tensor::scalar(sum.sqrt() as f32).to_device(device)?)
    }

    /// Sends the values of the own parameters that had a gradient, and takes those of the others.
    pub fn gather_values(&self, gradients: &Gradients) -> Result<()> {
        let mine = |owner: usize| owner == self.rank();
        for (at, bucket) in self.buckets.iter().enumerate().filter(|(_, b)| mine(b.owner)) {
            let mut values = Values::new();
            for slice in &bucket.slices {
                let parameter = self.parameters.get(slice.item);
                let changed = parameter.filter(|p| gradients.get_id(p.id()).is_some());
                let value = changed.map(|p| p.tensor().contiguous()?.to_vec::<f32>());
                values.push(value.transpose()?);
            }
            self.send_to_others(tag(at), &encode(values.iter()))?;
        }
        for (at, bucket) in self.buckets.iter().enumerate().filter(|(_, b)| !mine(b.owner)) {
            let values = self.receive_bucket(at, tag(at))?;
            for (slice, value) in bucket.slices.iter().zip(values) {
                if let (Some(parameter), Some(value)) = (self.parameters.get(slice.item), value) {
                    parameter.set(Tensor::from_slice(&value, parameter.shape())?)?;
                }
            }
        }
        Ok(())
    }

    /// On rank 0 the state of an optimiser that every rank has a part of, in the order in which one
    /// process has it; on other ranks their own part.
    pub fn gather_state(
        &self,
        own: Vec<(String, Tensor)>,
        parameters: &[Parameter],
    ) -> Result<Vec<(String, Tensor)>> {
        if self.rank() > 0 {
            self.send(0, STATE, encode_state(&own)?)?;
            return Ok(own);
        }
        let mut all = own;
        for from in 1..self.size() {
            let (message, _) = self.receive(from, STATE)?;
            let state = decode_state(&message)?.ok_or_else(|| self.wrong_message(from))?;
            // The number of steps belongs to no parameter, and is there already.
            all.extend(state.into_iter().filter(|(name, _)| name.contains('.')));
        }
        let places: HashMap<&str, usize> =
            parameters.iter().enumerate().map(|(place, p)| (p.name(), place + 1)).collect();
        all.sort_by_key(|(name, _)| parameter_of(name).and_then(|name| places.get(name).copied()));
        Ok(all)
    }

    /// Whether this rank keeps an entry of the optimiser's state.
    pub fn keeps(&self, entry: &str) -> bool {
        let of = |name: &str| self.parameters.iter().position(|p| p.name() == name);
        parameter_of(entry).and_then(of).is_none_or(|item| self.owns(item))
    }

    /// The numbers in the parameters that this rank updates.
    pub fn own_numel(&self) -> usize {
        let own = self.parameters.iter().enumerate().filter(|(item, _)| self.owns(*item));
        own.map(|(_, parameter)| parameter.numel()).sum()
    }
}

/// The parameter of an entry of a state, such as `exp_avg.encoder.layer.0.output.dense.bias`.
fn parameter_of(entry: &str) -> Option<&str> {
    entry.split_once('.').map(|(_, name)| name)
}

/// What comes before the numbers of an entry of a state.
#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    /// Whether its elements are u32, otherwise f32.
    whole: bool,
    shape: Vec<usize>,
}

fn encode_state(state: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let entry = |(name, tensor): &(String, Tensor)| Entry {
        name: name.clone(),
        whole: tensor.dtype() == DType::U32,
        shape: tensor.shape().to_vec(),
    };
    let header: Vec<Entry> = state.iter().map(entry).collect();
    let header = serde_json::to_vec(&header).unwrap_or_default();
    let mut message = (header.len() as u64).to_ne_bytes().to_vec();
    message.extend(header);
    for (_, tensor) in state {
        let tensor = tensor.contiguous()?;
        match tensor.dtype() {
            DType::U32 => message.extend_from_slice(bytemuck::cast_slice(&tensor.to_vec::<u32>()?)),
            _ => message.extend_from_slice(bytemuck::cast_slice(&tensor.to_vec::<f32>()?)),
        }
    }
    Ok(message)
}

/// `None` for a message that is no state.
fn decode_state(message: &[u8]) -> Result<Option<Vec<(String, Tensor)>>> {
    let header = message.split_first_chunk::<8>().and_then(|(length, rest)| {
        let (header, rest) = rest.split_at_checked(u64::from_ne_bytes(*length) as usize)?;
        Some((serde_json::from_slice::<Vec<Entry>>(header).ok()?, rest))
    });
    let Some((header, mut rest)) = header else { return Ok(None) };
    let mut state = Vec::with_capacity(header.len());
    for Entry { name, whole, shape } in header {
        let bytes = 4 * shape.iter().product::<usize>();
        let Some((own, later)) = rest.split_at_checked(bytes) else { return Ok(None) };
        rest = later;
        let tensor = match whole {
            true => Tensor::from_slice(&bytemuck::pod_collect_to_vec::<u8, u32>(own), &shape)?,
            false => Tensor::from_slice(&bytemuck::pod_collect_to_vec::<u8, f32>(own), &shape)?,
        };
        state.push((name, tensor));
    }
    Ok(Some(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let state = [
            ("steps".to_string(), Tensor::from_slice(&[7u32, 1], &[2]).unwrap()),
            ("exp_avg.a.b".to_string(), Tensor::from_slice(&[1f32, -0.5], &[1, 2]).unwrap()),
        ];
        let message = encode_state(&state).unwrap();
        let read = decode_state(&message).unwrap().unwrap();
        for ((name, tensor), (read_name, read)) in state.iter().zip(&read) {
            assert_eq!((name, tensor.shape()), (read_name, read.shape()));
            assert_eq!((tensor.dtype(), tensor.to_f64_vec()), (read.dtype(), read.to_f64_vec()));
        }
        assert!(decode_state(&message[..message.len() - 1]).unwrap().is_none());
        assert_eq!(parameter_of("exp_avg.a.b"), Some("a.b"));
    }
}
