//! Tensors in JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gradus_tensor::layout::{checked_numel, row_major};
use gradus_tensor::{DType, Device, Element, Result, Tensor, bail};
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// The conversions of a dtype: elements to bytes, and bytes to a tensor.
struct Elements {
    dtype: DType,
    write: fn(&Tensor) -> Result<Vec<u8>>,
    read: fn(&Array, &[u8], Device) -> Result<Tensor>,
}

impl Elements {
    const ALL: [Elements; 6] = [
        Elements::of::<f32>(),
        Elements::of::<f64>(),
        Elements::of::<f16>(),
        Elements::of::<bf16>(),
        Elements::of::<u32>(),
        Elements::of::<u8>(),
    ];

    const fn of<T: Element>() -> Elements {
        Elements {
            dtype: T::DTYPE,
            write: |tensor| Ok(bytemuck::cast_slice(&tensor.to_vec::<T>()?).to_vec()),
            read: |array, bytes, device| {
                let elements = bytes.chunks_exact(size_of::<T>());
                array.view::<T>(elements.map(bytemuck::pod_read_unaligned).collect(), device)
            },
        }
    }

    fn named(name: &str) -> Result<Elements> {
        match Elements::ALL.into_iter().find(|elements| elements.dtype.to_string() == name) {
            Some(elements) => Ok(elements),
            None => {
                bail!("ops", "no dtype is called {name}; there are f32, f64, f16, bf16, u32, u8")
            }
        }
    }
}

/// A tensor: dtype, shape, and its storage's bytes (little-endian) in base64, which can hold every
/// NaN and infinity. With `strides` (in elements) and `offset` it is a view of that storage,
/// without them it is row-major.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Array {
    dtype: String,
    shape: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strides: Option<Vec<usize>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    offset: usize,
    data: String,
}

fn is_zero(offset: &usize) -> bool {
    *offset == 0
}

/// The dtype with this name.
pub fn dtype_named(name: &str) -> Result<DType> {
    Ok(Elements::named(name)?.dtype)
}

impl Array {
    /// The values of a tensor, row-major.
    pub fn of(tensor: &Tensor) -> Result<Array> {
        let tensor = tensor.to_device(Device::Cpu)?;
        let (dtype, shape) = (tensor.dtype().to_string(), tensor.shape().to_vec());
        let bytes = (Elements::named(&dtype)?.write)(&tensor)?;
        Ok(Array { dtype, shape, strides: None, offset: 0, data: STANDARD.encode(bytes) })
    }

    /// The tensor, on `device`.
    pub fn tensor(&self, device: Device) -> Result<Tensor> {
        let bytes = match STANDARD.decode(&self.data) {
            Ok(bytes) => bytes,
            Err(error) => bail!("ops", "the data is no base64: {error}"),
        };
        let elements = Elements::named(&self.dtype)?;
        if !bytes.len().is_multiple_of(elements.dtype.size()) {
            bail!("ops", "{} bytes are no elements of {}", bytes.len(), self.dtype);
        }
        (elements.read)(self, &bytes, device)
    }

    fn view<T: Element>(&self, mut storage: Vec<T>, device: Device) -> Result<Tensor> {
        let Some(numel) = checked_numel(&self.shape) else {
            bail!("ops", "shape {:?} has more elements than fit in memory", self.shape);
        };
        let row_major = row_major(&self.shape);
        let strides = self.strides.as_ref().unwrap_or(&row_major);
        if strides.len() != self.shape.len() {
            bail!("ops", "{} strides for the shape {:?}", strides.len(), self.shape);
        }
        if numel == 0 {
            return Tensor::from_slice::<T>(&[], &self.shape)?.to_device(device);
        }
        let mut steps =
            self.shape.iter().zip(strides).map(|(n, stride)| (n - 1).checked_mul(*stride));
        let end = steps.try_fold(self.offset, |end, step| end.checked_add(step?));
        if end.is_none_or(|end| end >= storage.len()) {
            bail!(
                "ops",
                "shape {:?}, strides {strides:?} and offset {} reach beyond the {} elements of the data",
                self.shape,
                self.offset,
                storage.len()
            );
        }
        let blocks = Blocks::of(&self.shape, strides);
        storage.resize(self.offset + blocks.fill(storage.len() - self.offset), T::from_f64(0.0));
        let whole = Tensor::from_slice(&storage, &[storage.len()])?.to_device(device)?;
        blocks.view(&whole.narrow(0, self.offset, storage.len() - self.offset)?, &self.shape)
    }
}

/// A view with the requested strides, made by the engine's own operations: the storage is reshaped
/// to one dimension for each stride, each is narrowed to its size, and their order is restored.
struct Blocks {
    /// Dimensions with more than one element and a stride above 0, the largest stride first.
    dims: Vec<(usize, usize)>,
}

impl Blocks {
    fn of(shape: &[usize], strides: &[usize]) -> Blocks {
        let sized = (0..shape.len()).filter(|&d| shape[d] > 1 && strides[d] > 0);
        let mut dims: Vec<_> = sized.map(|d| (d, strides[d])).collect();
        dims.sort_by_key(|&(_, stride)| std::cmp::Reverse(stride));
        Blocks { dims }
    }

    /// The length to which a storage of `length` elements must be padded.
    fn fill(&self, length: usize) -> usize {
        length.next_multiple_of(self.dims.first().map_or(length, |&(_, stride)| stride))
    }

    fn view(&self, storage: &Tensor, shape: &[usize]) -> Result<Tensor> {
        let mut sizes = Vec::new();
        let mut block = storage.numel();
        for &(_, stride) in &self.dims {
            sizes.push(block / stride);
            if !block.is_multiple_of(stride) {
                bail!("ops", "the stride {stride} does not divide {block}: no view has both");
            }
            block = stride;
        }
        sizes.push(block);
        let mut view = storage.reshape(&sizes)?;
        for (at, &(d, stride)) in self.dims.iter().enumerate() {
            if shape[d] > sizes[at] {
                bail!("ops", "{} elements with stride {stride} overlap others", shape[d]);
            }
            view = view.narrow(at as isize, 0, shape[d])?;
        }
        view = view.select(-1, 0)?;
        let mut order: Vec<usize> = (0..self.dims.len()).collect();
        order.sort_by_key(|&at| self.dims[at].0);
        view = view.permute(&order.into_iter().map(|at| at as isize).collect::<Vec<_>>())?;
        for d in (0..shape.len()).filter(|d| self.dims.iter().all(|(other, _)| other != d)) {
            view = view.unsqueeze(d as isize)?;
        }
        view.broadcast_to(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], strides: &[usize], offset: usize, storage: &[f32]) -> Array {
        Array {
            dtype: "f32".into(),
            shape: shape.to_vec(),
            strides: Some(strides.to_vec()),
            offset,
            data: STANDARD.encode(bytemuck::cast_slice::<f32, u8>(storage)),
        }
    }

    #[test]
    fn views_have_the_strides_asked_for() {
        let storage: Vec<f32> = (0..60).map(|x| x as f32).collect();
        for (shape, strides, offset) in [
            (vec![3, 4], vec![4, 1], 0),
            (vec![4, 3], vec![1, 4], 5),
            (vec![2, 3, 2], vec![24, 6, 2], 3),
            (vec![3, 2], vec![0, 7], 1),
            (vec![2, 1, 3], vec![1, 9, 20], 2),
            (vec![], vec![], 59),
            (vec![1, 1], vec![3, 3], 4),
            (vec![5], vec![0], 8),
            (vec![6], vec![10], 9),
        ] {
            let tensor = array(&shape, &strides, offset, &storage).tensor(Device::Cpu).unwrap();
            assert_eq!(tensor.shape(), shape);
            let position = |index: &[usize]| {
                offset + index.iter().zip(&strides).map(|(i, stride)| i * stride).sum::<usize>()
            };
            let values = tensor.to_vec::<f32>().unwrap();
            for (flat, value) in values.into_iter().enumerate() {
                let mut rest = flat;
                let mut index = vec![0; shape.len()];
                for d in (0..shape.len()).rev() {
                    (index[d], rest) = (rest % shape[d], rest / shape[d]);
                }
                assert_eq!(value, position(&index) as f32, "{shape:?} {strides:?} at {index:?}");
            }
            for d in (0..shape.len()).filter(|&d| shape[d] > 1) {
                assert_eq!(tensor.layout().strides()[d], strides[d], "{shape:?} {strides:?}");
            }
        }
    }

    #[test]
    fn bits_return_as_they_came() {
        let values = [f64::NAN, f64::INFINITY, -0.0, 5e-324];
        let there = Array::of(&Tensor::from_slice(&values, &[2, 2]).unwrap()).unwrap();
        let back = there.tensor(Device::Cpu).unwrap().to_vec::<f64>().unwrap();
        assert_eq!(back.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), values.map(f64::to_bits));
        let empty = Array::of(&Tensor::zeros(&[0, 3], DType::U8).unwrap()).unwrap();
        assert_eq!(empty.tensor(Device::Cpu).unwrap().shape(), [0, 3]);
    }

    #[test]
    fn what_is_no_view_is_refused() {
        let storage = [0f32; 12];
        for (shape, strides, offset, what) in [
            (vec![3, 4], vec![4, 1], 1, "reach beyond"),
            (vec![2], vec![1, 1], 0, "2 strides for"),
            (vec![3, 3], vec![1, 1], 0, "overlap"),
            (vec![2, 2], vec![3, 2], 0, "does not divide"),
            (vec![usize::MAX, 2], vec![0, 0], 0, "fit in memory"),
            (vec![2], vec![usize::MAX], 3, "reach beyond"),
        ] {
            let made = array(&shape, &strides, offset, &storage).tensor(Device::Cpu);
            let error = made.err().unwrap().to_string();
            assert!(error.contains(what), "{shape:?}: {error}");
        }
    }
}
