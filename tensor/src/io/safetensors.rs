//! Checkpoints: named tensors in one file, read in place.
//!
//! Layout: the header's length (u64), the header (JSON: for each name dtype, shape and byte range,
//! and `__metadata__`), then the bytes of all tensors without gaps. Reference:
//! <https://github.com/huggingface/safetensors>.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::{ids_from_integers, widened, write_atomically, write_elements};
use crate::layout::checked_numel;
use crate::storage::{CpuStorage, Output, Storage};
use crate::{DType, Error, Result, Tensor, bail, dispatch_any};

/// An open checkpoint. The file is mapped into memory: tensors are views of it where their type
/// allows, and their pages are read when first used.
///
/// The file must not be shortened while it is open; replace it by renaming, as [`save`] does.
pub struct SafeTensors {
    path: PathBuf,
    map: Arc<Mmap>,
    metadata: Metadata,
    /// Where the first tensor's bytes start.
    start: usize,
}

impl SafeTensors {
    /// Opens a file and checks its header: that it is whole, that every tensor's byte range fits its
    /// shape, and that the ranges neither overlap nor leave the file.
    pub fn open(path: impl AsRef<Path>) -> Result<SafeTensors> {
        let path = path.as_ref();
        let failed = |error| Error::io(path, error);
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(Error::format(path, "is no file"));
        }
        if about.len() < 8 {
            return Err(Error::format(
                path,
                format!("is no safetensors file: {} bytes are too few", about.len()),
            ));
        }
        // SAFETY: a map may only be read while nobody shortens or rewrites the file, which this
        // type's documentation asks for and `save` keeps to.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        let (start, metadata) = header(&map).map_err(|message| Error::format(path, message))?;
        Ok(SafeTensors { path: path.to_path_buf(), map: Arc::new(map), metadata, start })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort_unstable();
        names
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// The dtype as the file names it (`F32`, `BF16`, `I64`, …) and the shape.
    pub fn info(&self, name: &str) -> Option<(String, Vec<usize>)> {
        let info = self.metadata.info(name)?;
        Some((info.dtype.to_string(), info.shape.clone()))
    }

    /// The file's remarks about itself.
    pub fn metadata(&self) -> Option<&HashMap<String, String>> {
        self.metadata.metadata().as_ref()
    }

    /// The tensor `name`. F32, F64, F16, BF16, U32, U8 and BOOL (as u8) are views of the file where
    /// their bytes are aligned, as they are in files that [`save`] or Python wrote, and else copies.
    /// Other integers are converted to u32, which their values must fit.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let wrong = |message: String| Error::format(&self.path, message);
        let info =
            self.metadata.info(name).ok_or_else(|| wrong(format!("has no tensor \"{name}\"")))?;
        let range = self.start + info.data_offsets.0..self.start + info.data_offsets.1;
        let integers = match info.dtype {
            Dtype::F32 => return self.native(DType::F32, info, range),
            Dtype::F64 => return self.native(DType::F64, info, range),
            Dtype::F16 => return self.native(DType::F16, info, range),
            Dtype::BF16 => return self.native(DType::BF16, info, range),
            Dtype::U32 => return self.native(DType::U32, info, range),
            Dtype::U8 | Dtype::BOOL => return self.native(DType::U8, info, range),
            Dtype::I8 => (1, true),
            Dtype::I16 => (2, true),
            Dtype::I32 => (4, true),
            Dtype::I64 => (8, true),
            Dtype::U16 => (2, false),
            Dtype::U64 => (8, false),
            other => {
                return Err(wrong(format!(
                    "holds \"{name}\" as {other}, which cannot be read; convert it to F32 or BF16"
                )));
            }
        };
        let values = widened(&self.map[range.clone()], integers.0, integers.1);
        ids_from_integers(values, &info.shape)?.map_err(|(value, at)| {
            wrong(format!(
                "holds {value} as element {at} of \"{name}\" ({}), which u32 cannot hold",
                info.dtype
            ))
        })
    }

    fn native(
        &self,
        dtype: DType,
        info: &TensorInfo,
        range: std::ops::Range<usize>,
    ) -> Result<Tensor> {
        let bytes = &self.map[range.clone()];
        if (bytes.as_ptr() as usize).is_multiple_of(dtype.size()) {
            let storage = CpuStorage::mapped(self.map.clone(), range);
            return Ok(Tensor::from_storage(Storage::Cpu(storage), dtype, &info.shape));
        }
        dispatch_any!(dtype, T => {
            let mut out = Output::<T>::new("safetensors", &info.shape)?;
            bytemuck::cast_slice_mut(out.slice_mut()).copy_from_slice(bytes);
            Ok(out.into_tensor(&info.shape))
        })
    }
}

/// Where the tensors start, and what the header says about them; or what is wrong with the file.
fn header(bytes: &[u8]) -> std::result::Result<(usize, Metadata), String> {
    let announced = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    if announced > bytes.len() as u64 - 8 {
        return Err(format!(
            "is truncated or no safetensors file: it announces a header of {announced} bytes and \
             has {} after its length",
            bytes.len() - 8
        ));
    }
    let (length, metadata) = ::safetensors::SafeTensors::read_metadata(bytes)
        .map_err(|error| explain(error, &bytes[8..8 + announced as usize], bytes.len()))?;
    for (name, info) in metadata.tensors() {
        if checked_numel(&info.shape).is_none() {
            return Err(format!("gives \"{name}\" the impossible shape {:?}", info.shape));
        }
    }
    Ok((8 + length, metadata))
}

/// The crate's errors name no tensor and no number where one would ask for them.
fn explain(error: ::safetensors::SafeTensorError, header: &[u8], file: usize) -> String {
    use ::safetensors::SafeTensorError as E;
    match error {
        E::MetadataIncompleteBuffer => format!(
            "is truncated or has bytes that belong to no tensor: its {} bytes after the header are \
             not those that the header describes",
            file - 8 - header.len()
        ),
        E::InvalidOffset(name) => {
            format!("is corrupt: the bytes of \"{name}\" overlap another tensor's or leave a gap")
        }
        E::TensorInvalidInfo | E::ValidationOverflow => match misfit(header) {
            Some((name, info)) => format!(
                "is corrupt: \"{name}\" ({} {:?}) does not fill its bytes {}..{}",
                info.dtype, info.shape, info.data_offsets.0, info.data_offsets.1
            ),
            None => "is corrupt: a tensor does not fill its bytes".to_string(),
        },
        E::InvalidHeaderDeserialization(e) => format!("is corrupt: its header reads wrong: {e}"),
        other => format!("is corrupt: {other}"),
    }
}

/// The first tensor (by name) whose shape and dtype do not make its number of bytes.
fn misfit(header: &[u8]) -> Option<(String, TensorInfo)> {
    let entries: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    entries
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .filter_map(|(name, value)| Some((name, serde_json::from_value::<TensorInfo>(value).ok()?)))
        .find(|(_, info)| {
            let (from, to) = info.data_offsets;
            let numel = info.shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
            numel.and_then(|n| n.checked_mul(info.dtype.bitsize()))
                != to.checked_sub(from).and_then(|n| n.checked_mul(8))
        })
}

/// Writes a checkpoint: as a whole or not at all ([`write_atomically`]), each tensor's elements
/// straight from where they lie.
///
/// Tensors are ordered by descending element size, then by name, and the metadata by key: equal
/// content gives equal bytes. `{"format": "pt"}` is added to the metadata unless it names a format:
/// `transformers` asks for it.
pub fn save(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (String, Tensor)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<()> {
    let mut tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
    tensors.sort_by(|(a, x), (b, y)| y.dtype().size().cmp(&x.dtype().size()).then(a.cmp(b)));
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
        bail!("save", "two tensors are named \"{}\"; names must differ", twice[0]);
    }
    if names.binary_search(&"__metadata__").is_ok() {
        bail!("save", "\"__metadata__\" is no name for a tensor: the format uses it itself");
    }
    let mut metadata: BTreeMap<String, String> = metadata.unwrap_or_default().into_iter().collect();
    metadata.entry("format".to_string()).or_insert_with(|| "pt".to_string());
    let header = header_text(&tensors, &metadata);
    write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        tensors.iter().try_for_each(|(_, tensor)| write_elements(tensor, file))
    })
}

fn header_text(tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let entries: Vec<String> =
        metadata.iter().map(|(k, v)| format!("{}:{}", quoted(k), quoted(v))).collect();
    let mut header = format!("{{\"__metadata__\":{{{}}}", entries.join(","));
    let mut at = 0usize;
    for (name, tensor) in tensors {
        let dtype = match tensor.dtype() {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::U32 => Dtype::U32,
            DType::U8 => Dtype::U8,
        };
        // Views may be larger than any file; writing them then fails.
        let end = tensor.dtype().size().saturating_mul(tensor.numel()).saturating_add(at);
        write!(
            header,
            ",{}:{{\"dtype\":\"{dtype}\",\"shape\":{},\"data_offsets\":[{at},{end}]}}",
            quoted(name),
            format!("{:?}", tensor.shape()).replace(' ', "")
        )
        .expect("a String takes any text");
        at = end;
    }
    header.push('}');
    // The elements start at a multiple of 8 bytes, so that every type is aligned.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    header
}
