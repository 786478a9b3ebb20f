//! The form of messages. A bucket: for each slice whether it is there, then the numbers of those
//! that are, as the machine's memory has them. Tensors: the shape of each before its numbers.

use gradus_tensor::{Device, Tensor};

use crate::Result;

/// The numbers of some slices; `None` for a slice without a gradient.
pub(super) type Values = Vec<Option<Vec<f32>>>;

/// A message of slices.
pub(super) fn encode<'a>(values: impl Iterator<Item = &'a Option<Vec<f32>>> + Clone) -> Vec<u8> {
    let mut message: Vec<u8> = values.clone().map(|value| u8::from(value.is_some())).collect();
    let numbers: usize = values.clone().flatten().map(Vec::len).sum();
    message.reserve(4 * numbers);
    values.flatten().for_each(|value| message.extend_from_slice(bytemuck::cast_slice(value)));
    message
}

/// The slices of a message, which has these numbers of elements; `None` if its length is another.
pub(super) fn decode(message: &[u8], numels: &[usize]) -> Option<Values> {
    let (there, mut rest) = message.split_at_checked(numels.len())?;
    let mut values = Vec::with_capacity(numels.len());
    for (there, &numel) in there.iter().zip(numels) {
        values.push(match there {
            0 => None,
            _ => {
                let (own, later) = rest.split_at_checked(4 * numel)?;
                rest = later;
                Some(bytemuck::pod_collect_to_vec(own))
            }
        });
    }
    rest.is_empty().then_some(values)
}

/// Adds the numbers of one to those of the other, slice by slice.
pub(super) fn add(mut one: Values, other: Values) -> Values {
    for (one, other) in one.iter_mut().zip(other) {
        match (&mut *one, other) {
            (Some(one), Some(other)) => one.iter_mut().zip(other).for_each(|(a, b)| *a += b),
            (None, other) => *one = other,
            (Some(_), None) => {}
        }
    }
    one
}

/// A message of whole tensors in f32.
///
/// # Errors
/// When a tensor cannot be read.
pub(super) fn encode_tensors(tensors: &[Tensor]) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    for tensor in tensors {
        let shape = tensor.shape().iter().map(|&n| n as u64);
        for n in [tensor.shape().len() as u64].into_iter().chain(shape) {
            message.extend_from_slice(&n.to_ne_bytes());
        }
        let values = tensor.contiguous()?.to_vec::<f32>()?;
        message.extend_from_slice(bytemuck::cast_slice(&values));
    }
    Ok(message)
}

/// The tensors of a message, on `device`; `None` if it is cut short.
///
/// # Errors
/// When the device cannot take a tensor.
pub(super) fn decode_tensors(message: &[u8], device: Device) -> Result<Option<Vec<Tensor>>> {
    let (mut rest, mut tensors) = (message, Vec::new());
    let number = |rest: &mut &[u8]| {
        let (first, later) = rest.split_first_chunk::<8>()?;
        *rest = later;
        Some(u64::from_ne_bytes(*first) as usize)
    };
    while !rest.is_empty() {
        let Some(dimensions) = number(&mut rest) else { return Ok(None) };
        let shape: Option<Vec<usize>> = (0..dimensions).map(|_| number(&mut rest)).collect();
        let Some(shape) = shape else { return Ok(None) };
        let bytes = 4 * shape.iter().product::<usize>();
        let Some((own, later)) = rest.split_at_checked(bytes) else { return Ok(None) };
        rest = later;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(own);
        tensors.push(Tensor::from_slice(&values, &shape)?.to_device(device)?);
    }
    Ok(Some(tensors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let values: Values = vec![Some(vec![1.5, -0.0]), None, Some(vec![f32::MAX])];
        let message = encode(values.iter());
        assert_eq!(message.len(), 3 + 12);
        assert_eq!(decode(&message, &[2, 9, 1]).unwrap(), values);
        assert!(decode(&message, &[2, 9, 2]).is_none(), "too short");
        assert!(decode(&message, &[1, 9, 1]).is_none(), "too long");
        assert!(decode(&message[..2], &[2, 9, 1]).is_none());
    }

    #[test]
    fn tensors_keep_their_shapes() {
        let tensors =
            [Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap(), Tensor::scalar(5f32)];
        let message = encode_tensors(&tensors).unwrap();
        let read = decode_tensors(&message, Device::Cpu).unwrap().unwrap();
        assert_eq!(read.len(), 2);
        for (read, tensor) in read.iter().zip(&tensors) {
            assert_eq!((read.shape(), read.to_f64_vec()), (tensor.shape(), tensor.to_f64_vec()));
        }
        let cut = &message[..message.len() - 1];
        assert!(decode_tensors(cut, Device::Cpu).unwrap().is_none());
    }

    #[test]
    fn what_is_absent_adds_nothing() {
        let sum =
            add(vec![Some(vec![1.0]), None, None], vec![Some(vec![2.0]), Some(vec![5.0]), None]);
        assert_eq!(sum, [Some(vec![3.0]), Some(vec![5.0]), None]);
    }
}
