//! Checkpoints: named tensors in one file.
//!
//! Layout: the header's length (u64), the header (JSON: for each name dtype, shape and byte range,
//! and `__metadata__`), then the bytes of all tensors without gaps. Reference:
//! <https://github.com/huggingface/safetensors>.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use gradus_base::layout::checked_numel;
use gradus_base::{Element, dispatch_any};
use gradus_cpu::Output;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::{ids_from_integers, widened, write_atomically, write_elements};
use crate::{DType, Error, Result, Tensor, bail};

/// An open checkpoint.
///
/// Each tensor is read from the file into memory of its own, so a tensor does not change when the
/// file does. (A mapped file would change under its reader, or end the process when it is
/// shortened.) A file that is written to after it was opened gives errors instead of a mixture.
pub struct SafeTensors {
    path: PathBuf,
    file: Mutex<File>,
    stamp: Stamp,
    metadata: Metadata,
    /// Where the first tensor's bytes start.
    start: usize,
}

/// Size and time of a file, which tell that it changed.
type Stamp = (u64, Option<SystemTime>);

fn stamp(file: &File) -> std::io::Result<Stamp> {
    let about = file.metadata()?;
    Ok((about.len(), about.modified().ok()))
}

impl SafeTensors {
    /// Opens a file and checks its header: that it is whole, that every tensor's byte range fits
    /// its shape, and that the ranges neither overlap nor leave the file.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// # use gradus_tensor::io::safetensors::{SafeTensors, save};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.safetensors");
    /// save(&path, [("bias".to_string(), Tensor::from_slice(&[1f32, 2.0], &[2])?)], None)?;
    /// let file = SafeTensors::open(&path)?;
    /// assert_eq!(file.tensor("bias")?.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<SafeTensors> {
        let path = path.as_ref();
        let failed = |error| Error::io(path, error);
        let mut file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(Error::format(path, "is no file"));
        }
        let stamp = stamp(&file).map_err(failed)?;
        let bytes = header_bytes(&mut file, stamp.0).map_err(|e| e.at(path))?;
        let metadata = header(&bytes, stamp.0).map_err(|message| Error::format(path, message))?;
        let start = bytes.len();
        let file = Mutex::new(file);
        Ok(SafeTensors { path: path.to_path_buf(), file, stamp, metadata, start })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All names, sorted.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// # use gradus_tensor::io::safetensors::{SafeTensors, save};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.safetensors");
    /// let zero = Tensor::scalar(0f32);
    /// save(&path, [("b".to_string(), zero.clone()), ("a".to_string(), zero)], None)?;
    /// assert_eq!(SafeTensors::open(&path)?.names(), ["a", "b"]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort_unstable();
        names
    }

    /// Whether there is a tensor of this name.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// # use gradus_tensor::io::safetensors::{SafeTensors, save};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.safetensors");
    /// save(&path, [("bias".to_string(), Tensor::scalar(0f32))], None)?;
    /// let file = SafeTensors::open(&path)?;
    /// assert!(file.contains("bias") && !file.contains("weight"));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// The dtype as the file names it (`F32`, `BF16`, `I64`, …) and the shape.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// # use gradus_tensor::io::safetensors::{SafeTensors, save};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.safetensors");
    /// save(&path, [("w".to_string(), Tensor::zeros(&[2, 3], DType::BF16)?)], None)?;
    /// let file = SafeTensors::open(&path)?;
    /// assert_eq!(file.info("w"), Some(("BF16".to_string(), vec![2, 3])));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn info(&self, name: &str) -> Option<(String, Vec<usize>)> {
        let info = self.metadata.info(name)?;
        Some((info.dtype.to_string(), info.shape.clone()))
    }

    /// The file's remarks about itself.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// # use gradus_tensor::io::safetensors::{SafeTensors, save};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.safetensors");
    /// let remark = [("step".to_string(), "7".to_string())].into();
    /// save(&path, [("w".to_string(), Tensor::scalar(0f32))], Some(remark))?;
    /// assert_eq!(SafeTensors::open(&path)?.metadata().unwrap()["step"], "7");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn metadata(&self) -> Option<&HashMap<String, String>> {
        self.metadata.metadata().as_ref()
    }

    /// The tensor `name`, read from the file: F32, F64, F16, BF16, U32, U8 and BOOL (as u8) as they
    /// are; other integers become u32, and their values must fit it.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// # use gradus_tensor::io::safetensors::{SafeTensors, save};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.safetensors");
    /// save(&path, [("ids".to_string(), Tensor::from_slice(&[7u32, 8], &[2])?)], None)?;
    /// let file = SafeTensors::open(&path)?;
    /// assert_eq!(file.tensor("ids")?.to_vec::<u32>()?, [7, 8]);
    /// assert!(file.tensor("weight").is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such tensor, it cannot be read, or the file was changed since it was
    /// opened.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let wrong = |message: String| Error::format(&self.path, message);
        let info =
            self.metadata.info(name).ok_or_else(|| wrong(format!("has no tensor \"{name}\"")))?;
        let integers = match info.dtype {
            Dtype::F32 => return self.native(DType::F32, info),
            Dtype::F64 => return self.native(DType::F64, info),
            Dtype::F16 => return self.native(DType::F16, info),
            Dtype::BF16 => return self.native(DType::BF16, info),
            Dtype::U32 => return self.native(DType::U32, info),
            Dtype::U8 | Dtype::BOOL => return self.native(DType::U8, info),
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
        let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
        self.read(&mut bytes, info)?;
        let values = widened(&bytes, integers.0, integers.1);
        ids_from_integers(values, &info.shape)?.map_err(|(value, at)| {
            wrong(format!(
                "holds {value} as element {at} of \"{name}\" ({}), which u32 cannot hold",
                info.dtype
            ))
        })
    }

    fn native(&self, dtype: DType, info: &TensorInfo) -> Result<Tensor> {
        dispatch_any!(dtype, self.native_of::<T>(info))
    }

    fn native_of<T: Element>(&self, info: &TensorInfo) -> Result<Tensor> {
        let mut out = Output::<T>::new("safetensors", &info.shape)?;
        self.read(bytemuck::cast_slice_mut(out.slice_mut()), info)?;
        Ok(Tensor::from_array(out.into_array(&info.shape)))
    }

    /// Fills `out` with the bytes of a tensor.
    fn read(&self, out: &mut [u8], info: &TensorInfo) -> Result<()> {
        let from = (self.start + info.data_offsets.0) as u64;
        // A panic elsewhere leaves at most another position, and each read begins with a seek.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(out));
        let now = stamp(&file).map_err(|e| Error::io(&self.path, e))?;
        if now != self.stamp {
            return Err(Error::format(
                &self.path,
                "was changed while it was read; open it again once it is written (replace a file in \
                 use by renaming)",
            ));
        }
        read.map_err(|e| Error::io(&self.path, e))
    }
}

/// Why a header cannot be read.
enum NoHeader {
    Io(std::io::Error),
    Format(String),
}

impl NoHeader {
    fn at(self, path: &Path) -> Error {
        match self {
            NoHeader::Io(error) => Error::io(path, error),
            NoHeader::Format(message) => Error::format(path, message),
        }
    }
}

/// The header of a file of `size` bytes, its length before it.
fn header_bytes(file: &mut File, size: u64) -> std::result::Result<Vec<u8>, NoHeader> {
    if size < 8 {
        let message = format!("is no safetensors file: {size} bytes are too few");
        return Err(NoHeader::Format(message));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(NoHeader::Io)?;
    let announced = u64::from_le_bytes(length);
    if announced > size - 8 {
        return Err(NoHeader::Format(format!(
            "is truncated or no safetensors file: it announces a header of {announced} bytes and \
             has {} after its length",
            size - 8
        )));
    }
    // The format allows headers of a hundred million bytes; the crate says so of longer ones.
    let mut bytes = length.to_vec();
    file.take(announced).read_to_end(&mut bytes).map_err(NoHeader::Io)?;
    Ok(bytes)
}

/// What the header `bytes` says about the tensors of a file of `size` bytes; or what is wrong.
fn header(bytes: &[u8], size: u64) -> std::result::Result<Metadata, String> {
    let json = &bytes[8..];
    let metadata: Metadata = match ::safetensors::SafeTensors::read_metadata(bytes) {
        Ok((_, metadata)) => metadata,
        // For a header alone the crate reports, after all other checks, that the tensors' bytes are
        // missing.
        Err(SafeTensorError::MetadataIncompleteBuffer) => serde_json::from_slice(json)
            .map_err(SafeTensorError::InvalidHeaderDeserialization)
            .map_err(|error| explain(error, json))?,
        Err(error) => return Err(explain(error, json)),
    };
    let rest = size - bytes.len() as u64;
    if metadata.data_len() as u64 != rest {
        return Err(format!(
            "is truncated or has bytes that belong to no tensor: its {rest} bytes after the header \
             are not the {} that the header describes",
            metadata.data_len()
        ));
    }
    for (name, info) in metadata.tensors() {
        if checked_numel(&info.shape).is_none() {
            return Err(format!("gives \"{name}\" the impossible shape {:?}", info.shape));
        }
    }
    Ok(metadata)
}

/// The crate's errors name no tensor and no number where one would ask for them.
fn explain(error: SafeTensorError, header: &[u8]) -> String {
    use SafeTensorError as E;
    match error {
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
///
/// ```
/// # use gradus_tensor::Tensor;
/// # use gradus_tensor::io::safetensors::{SafeTensors, save};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.safetensors");
/// let weight = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
/// let bias = Tensor::from_slice(&[0.5f32], &[1])?;
/// save(&path, [("weight".to_string(), weight), ("bias".to_string(), bias)], None)?;
/// assert_eq!(SafeTensors::open(&path)?.names(), ["bias", "weight"]);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
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
