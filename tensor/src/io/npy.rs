//! NumPy's `.npy` files: one array each.
//!
//! Layout: `\x93NUMPY`, version (2 bytes), header length (u16 in version 1, u32 in 2 and 3), the
//! header (a Python dict: `descr`, `fortran_order`, `shape`), then the elements. Reference: NumPy
//! Enhancement Proposal 1 and `numpy.lib.format`.

use std::fs;
use std::path::Path;

use gradus_base::Element;
use gradus_base::layout::checked_numel;
use gradus_cpu::Output;

use super::{ids_from_integers, widened, write_atomically, write_elements};
use crate::{DType, Error, Result, Tensor, bail};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads an array. f2, f4, f8, u4, u1 and bool (as u8) keep their type; other integers become u32
/// and must fit it. An array in Fortran order becomes a transposed view.
///
/// ```
/// # use gradus_tensor::Tensor;
/// # use gradus_tensor::io::npy;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("x.npy");
/// npy::write(&path, &Tensor::from_slice(&[1f32, 2.0], &[2])?)?;
/// assert_eq!(npy::read(&path)?.to_vec::<f32>()?, [1.0, 2.0]);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn read(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    parse(&bytes).map_err(|e| match e {
        Failure::Format(message) => Error::format(path, message),
        Failure::Other(error) => error,
    })
}

/// Writes an array in C order, version 1. There is no bf16 in NumPy: convert to f32 first.
///
/// ```
/// # use gradus_tensor::Tensor;
/// # use gradus_tensor::io::npy;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("x.npy");
/// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
/// npy::write(&path, &x.t()?)?; // numpy.load gives [[1, 3], [2, 4]]
/// assert_eq!(npy::read(&path)?.to_string(), "[[1. 3.]\n [2. 4.]]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn write(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let descr = match tensor.dtype() {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::F16 => "<f2",
        DType::U32 => "<u4",
        DType::U8 => "|u1",
        other => bail!("npy", "NumPy has no {other}; convert with to_dtype"),
    };
    let sizes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    let comma = if sizes.len() == 1 { "," } else { "" };
    let mut header = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        sizes.join(", ")
    );
    // The elements start at a multiple of 64 bytes; the header ends with a new line.
    let filled = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    let Ok(length) = u16::try_from(filled) else {
        bail!("npy", "{} dimensions do not fit the header", tensor.rank());
    };
    header.push_str(&" ".repeat(filled - header.len() - 1));
    header.push('\n');
    write_atomically(path, |file| {
        file.write_all(MAGIC)?;
        file.write_all(&[1, 0])?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        write_elements(tensor, file)
    })
}

enum Failure {
    Format(String),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

fn wrong<T>(message: impl Into<String>) -> std::result::Result<T, Failure> {
    Err(Failure::Format(message.into()))
}

fn parse(bytes: &[u8]) -> std::result::Result<Tensor, Failure> {
    let (header, data) = split(bytes)?;
    let (kind, size) = kind(&header.descr)?;
    let shape = header.shape;
    let expected = checked_numel(&shape).and_then(|n| n.checked_mul(size));
    if expected != Some(data.len()) {
        return wrong(format!(
            "has {} bytes of elements, which do not fill the shape {shape:?} of '{}'; the file is \
             truncated or corrupt",
            data.len(),
            header.descr
        ));
    }
    if !header.fortran {
        return values(kind, size, data, &shape);
    }
    // In Fortran order the first dimension runs fastest: the reversed shape in C order.
    let stored: Vec<usize> = shape.iter().rev().copied().collect();
    let reversed: Vec<isize> = (0..stored.len() as isize).rev().collect();
    Ok(values(kind, size, data, &stored)?.permute(&reversed)?)
}

/// The header, and the bytes of the elements.
fn split(bytes: &[u8]) -> std::result::Result<(Header, &[u8]), Failure> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return wrong("is no .npy file: it does not start with \\x93NUMPY");
    };
    let (length, rest) = match *rest {
        [1, _, a, b, ref rest @ ..] => (u16::from_le_bytes([a, b]) as usize, rest),
        [2 | 3, _, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]) as usize, rest),
        [0 | 4.., ..] => return wrong("is of an unknown version of the .npy format"),
        _ => return wrong("ends within its first bytes; the file is truncated"),
    };
    let Some((header, data)) = rest.split_at_checked(length) else {
        return wrong(format!(
            "ends within its header ({length} bytes announced, {} there); the file is truncated",
            rest.len()
        ));
    };
    let Ok(header) = std::str::from_utf8(header) else {
        return wrong("has a header that is no text");
    };
    Ok((Header::parse(header).map_err(Failure::Format)?, data))
}

/// The kind of the elements (float, bool, unsigned, signed) and the bytes of one.
fn kind(descr: &str) -> std::result::Result<(char, usize), Failure> {
    Ok(match descr {
        "<f2" => ('f', 2),
        "<f4" => ('f', 4),
        "<f8" => ('f', 8),
        "|b1" => ('b', 1),
        "|u1" | "<u1" => ('u', 1),
        "<u2" => ('u', 2),
        "<u4" => ('u', 4),
        "<u8" => ('u', 8),
        "|i1" | "<i1" => ('i', 1),
        "<i2" => ('i', 2),
        "<i4" => ('i', 4),
        "<i8" => ('i', 8),
        other => {
            return wrong(format!(
                "has elements of type '{other}'; floats, integers and bool of at most 8 bytes, \
                 little-endian, can be read"
            ));
        }
    })
}

/// The elements in C order; integers other than u8 and u32 become u32, if all of them fit.
fn values(
    kind: char,
    size: usize,
    data: &[u8],
    shape: &[usize],
) -> std::result::Result<Tensor, Failure> {
    Ok(match (kind, size) {
        ('f', 2) => elements::<half::f16>(data, shape)?,
        ('f', 4) => elements::<f32>(data, shape)?,
        ('f', 8) => elements::<f64>(data, shape)?,
        ('u', 4) => elements::<u32>(data, shape)?,
        ('u' | 'b', 1) => elements::<u8>(data, shape)?,
        _ => match ids_from_integers(widened(data, size, kind == 'i'), shape)? {
            Ok(tensor) => tensor,
            Err((value, at)) => {
                return wrong(format!(
                    "has {value} as element {at}, which u32 cannot hold; save it as float or \
                     without such values"
                ));
            }
        },
    })
}

fn elements<T: Element>(data: &[u8], shape: &[usize]) -> Result<Tensor> {
    let mut out = Output::<T>::new("npy", shape)?;
    bytemuck::cast_slice_mut(out.slice_mut()).copy_from_slice(data);
    Ok(Tensor::from_array(out.into_array(shape)))
}

struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Parses the dict, keys in any order.
    fn parse(text: &str) -> std::result::Result<Header, String> {
        let mut cursor = Cursor { rest: text };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        cursor.expect('{')?;
        while !cursor.take('}') {
            let key = cursor.string()?;
            cursor.expect(':')?;
            match key {
                "descr" => descr = Some(cursor.string()?.to_string()),
                "fortran_order" => fortran = Some(cursor.boolean()?),
                "shape" => shape = Some(cursor.sizes()?),
                other => return Err(format!("has an unknown entry '{other}' in its header")),
            }
            if !cursor.take(',') {
                cursor.expect('}')?;
                break;
            }
        }
        if !cursor.rest.trim().is_empty() {
            return Err("has more after the dict of its header".to_string());
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Header { descr, fortran, shape }),
            _ => Err("lacks 'descr', 'fortran_order' or 'shape' in its header".to_string()),
        }
    }
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn failure(&self, wanted: &str) -> String {
        let found: String = self.rest.chars().take(20).collect();
        format!("has a header with {found:?} where {wanted} should be")
    }

    fn expect(&mut self, wanted: char) -> std::result::Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(self.failure(&format!("'{wanted}'"))) }
    }

    fn string(&mut self) -> std::result::Result<&'a str, String> {
        for quote in ['\'', '"'] {
            if self.take(quote) {
                let Some((text, rest)) = self.rest.split_once(quote) else {
                    return Err(self.failure("the end of a text"));
                };
                self.rest = rest;
                return Ok(text);
            }
        }
        Err(self.failure("a text (structured types cannot be read)"))
    }

    fn boolean(&mut self) -> std::result::Result<bool, String> {
        self.rest = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(self.failure("True or False"))
    }

    fn sizes(&mut self) -> std::result::Result<Vec<usize>, String> {
        let mut sizes = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            sizes.push(digits.parse().map_err(|_| self.failure("a size"))?);
            // Python 2 wrote long integers as 3L.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = [MAGIC, &[version, 0]].concat();
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn message(bytes: &[u8]) -> String {
        match parse(bytes) {
            Err(Failure::Format(message)) => message,
            Err(Failure::Other(error)) => error.to_string(),
            Ok(_) => panic!("was read"),
        }
    }

    #[test]
    fn reads_what_numpy_writes() {
        // np.save of np.arange(6, dtype='<i8').reshape(2, 3, order='F')
        let header = "{'descr': '<i8', 'fortran_order': True, 'shape': (2, 3), }\n";
        let data: Vec<u8> = (0..6i64).flat_map(i64::to_le_bytes).collect();
        for version in 1..=3 {
            let x = parse(&file(version, header, &data)).ok().unwrap();
            assert_eq!((x.shape(), x.dtype()), (&[2, 3][..], DType::U32));
            assert_eq!(x.to_f64_vec(), [0., 2., 4., 1., 3., 5.]);
        }
        let scalar = "{\"shape\": (), \"fortran_order\": False, \"descr\": \"|b1\"}";
        let x = parse(&file(1, scalar, &[1])).ok().unwrap();
        assert_eq!((x.rank(), x.dtype(), x.item().unwrap()), (0, DType::U8, 1.0));
        let empty = "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3L)}";
        assert_eq!(parse(&file(1, empty, &[])).ok().unwrap().shape(), &[0, 3]);
    }

    #[test]
    fn says_what_is_wrong() {
        let header = |descr: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")
        };
        let ids = header("'<i4'", "(2,)");
        let negative: Vec<u8> = [3i32, -7].into_iter().flat_map(i32::to_le_bytes).collect();
        for (bytes, part) in [
            (file(1, &ids, &negative), "-7 as element 1"),
            (file(1, &ids, &negative[..7]), "7 bytes"),
            (file(1, &header("'>f4'", "(1,)"), &[0; 4]), "'>f4'"),
            (file(1, &header("[('a', '<f4')]", "(1,)"), &[0; 4]), "structured"),
            (file(1, &header("'<f4'", "(99999999999999999999,)"), &[]), "a size"),
            (file(1, &header("'<f4'", "(4294967296, 4294967296, 0)"), &[]), "do not fill"),
            (file(1, &header("'<f4'", "(-1,)"), &[]), "a size"),
            (file(1, "{'descr': '<f4'}", &[]), "lacks"),
            (file(9, &ids, &[]), "unknown version"),
            (file(1, &ids, &[])[..20].to_vec(), "truncated"),
            (MAGIC.to_vec(), "truncated"),
            (b"PK\x03\x04".to_vec(), "is no .npy file"),
        ] {
            let message = message(&bytes);
            assert!(message.contains(part), "{message}");
        }
    }
}
