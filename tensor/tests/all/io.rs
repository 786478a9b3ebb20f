//! Files: a written tensor can be read again, and no bytes make a reader panic.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use gradus_tensor::io::{npy, safetensors};
use gradus_tensor::{DType, Error, RngKey, Tensor};
use proptest::prelude::*;

const DTYPES: [DType; 6] = [DType::F32, DType::F64, DType::F16, DType::BF16, DType::U32, DType::U8];

fn random(shape: &[usize], dtype: DType, seed: u64) -> Tensor {
    let x = Tensor::rand(shape, DType::F32, RngKey::new(seed)).unwrap();
    x.mul_scalar(200.0).unwrap().to_dtype(dtype).unwrap()
}

fn assert_equal(a: &Tensor, b: &Tensor) {
    assert_eq!((a.shape(), a.dtype()), (b.shape(), b.dtype()));
    assert_eq!(a.to_f64_vec(), b.to_f64_vec());
}

fn save_some(path: &Path) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<(String, Tensor)> = DTYPES
        .iter()
        .enumerate()
        .map(|(i, &dtype)| (format!("layer.{i}"), random(&[3, i], dtype, i as u64)))
        .collect();
    tensors.push(("ein \"Name\"".into(), random(&[2, 3], DType::F32, 9).t().unwrap()));
    tensors.push(("scalar".into(), Tensor::scalar(7u8)));
    safetensors::save(path, tensors.clone(), None).unwrap();
    tensors
}

/// The bytes of a valid safetensors file and of a valid npy file.
fn good_files() -> &'static [Vec<u8>; 2] {
    static FILES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (model, array) = (folder.path().join("x.safetensors"), folder.path().join("x.npy"));
        save_some(&model);
        npy::write(&array, &random(&[3, 4], DType::F32, 1)).unwrap();
        [fs::read(model).unwrap(), fs::read(array).unwrap()]
    })
}

/// A safetensors file with this header and data.
fn file(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

fn open(bytes: &[u8]) -> Result<safetensors::SafeTensors, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    fs::write(&path, bytes).unwrap();
    safetensors::SafeTensors::open(path)
}

#[test]
fn checkpoints_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors = save_some(&path);
    let read = safetensors::SafeTensors::open(&path).unwrap();
    assert_eq!(read.metadata().unwrap()["format"], "pt");
    assert_eq!(read.names().len(), tensors.len());
    for (name, tensor) in &tensors {
        assert!(read.contains(name));
        let mut back = read.tensor(name).unwrap();
        assert_equal(&back, tensor);
        assert_eq!(read.info(name).unwrap().1, tensor.shape());
        // A tensor of the file is read-only: writing makes a copy.
        if tensor.dtype() == DType::F32 {
            back.mul_scalar_(2.0).unwrap();
            assert_equal(&read.tensor(name).unwrap(), tensor);
        }
    }
    assert!(!read.contains("other") && read.info("other").is_none());
    assert!(read.tensor("other").err().unwrap().to_string().contains("\"other\""));
    // Equal content gives equal bytes in any order of tensors, and the open file is not touched.
    let first = fs::read(&path).unwrap();
    safetensors::save(&path, tensors.iter().rev().cloned(), None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
    assert_equal(&read.tensor("scalar").unwrap(), &Tensor::scalar(7u8));
    let metadata = HashMap::from([("step".to_string(), "3".to_string())]);
    safetensors::save(&path, [], Some(metadata)).unwrap();
    let read = safetensors::SafeTensors::open(&path).unwrap();
    assert_eq!(read.metadata().unwrap()["step"], "3");
    assert_eq!(read.metadata().unwrap()["format"], "pt");
    assert!(read.names().is_empty());
}

#[test]
fn integers_become_ids_if_they_fit() {
    let header = br#"{"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},
        "b":{"dtype":"I32","shape":[1],"data_offsets":[16,20]},
        "c":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[20,21]},
        "d":{"dtype":"F32","shape":[1],"data_offsets":[21,25]},
        "e":{"dtype":"F64","shape":[0],"data_offsets":[25,25]}}"#;
    let mut data = Vec::new();
    data.extend(5i64.to_le_bytes());
    data.extend((u32::MAX as i64).to_le_bytes());
    data.extend((-1i32).to_le_bytes());
    data.push(0);
    data.extend(1.5f32.to_le_bytes());
    // At every alignment: the header may be padded by any number of spaces.
    for padding in 0..8 {
        let header = [&header[..], &b" ".repeat(padding)].concat();
        let read = open(&file(&header, &data)).unwrap();
        let a = read.tensor("a").unwrap();
        assert_eq!(a.to_vec::<u32>().unwrap(), [5, u32::MAX]);
        let error = read.tensor("b").err().unwrap().to_string();
        assert!(error.contains("-1") && error.contains("\"b\""), "{error}");
        let error = read.tensor("c").err().unwrap().to_string();
        assert!(error.contains("F8_E4M3") && error.contains("\"c\""), "{error}");
        assert_eq!(read.tensor("d").unwrap().item().unwrap(), 1.5);
        assert!(read.tensor("e").unwrap().to_vec::<f64>().unwrap().is_empty());
    }
}

#[test]
fn corrupt_checkpoints_are_named_errors() {
    let entry = |shape: &str, range: &str| {
        format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":{range}}}}}"#).into_bytes()
    };
    let two = br#"{"v":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
        "w":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    for (bytes, part) in [
        (vec![], "0 bytes are too few"),
        (vec![1, 2, 3], "3 bytes are too few"),
        (u64::MAX.to_le_bytes().to_vec(), "announces a header"),
        (file(b"{}", &[])[..9].to_vec(), "announces a header"),
        (file(b"{", &[]), "header reads wrong"),
        (file(b"\xff", &[]), "corrupt"),
        (file(&entry("[2]", "[0,8]"), &[0; 7]), "truncated"),
        (file(&entry("[2]", "[0,8]"), &[0; 9]), "truncated"),
        (file(&entry("[2]", "[0,4]"), &[0; 4]), "\"w\""),
        (file(&entry("[2]", "[8,0]"), &[0; 8]), "\"w\""),
        (file(&entry("[-2]", "[0,8]"), &[0; 8]), "header reads wrong"),
        (file(&entry("[18446744073709551615,3]", "[0,8]"), &[0; 8]), "\"w\""),
        (file(&entry("[0,4294967295,4294967296,9]", "[0,0]"), &[]), "impossible shape"),
        (file(two, &[0; 6]), "overlap"),
    ] {
        let error = open(&bytes).err().unwrap();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(part) && error.contains("x.safetensors"), "{part}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(safetensors::SafeTensors::open(folder.path()).is_err());
    let missing = safetensors::SafeTensors::open(folder.path().join("none")).err().unwrap();
    assert!(matches!(missing, Error::Io { .. }));
}

#[test]
fn names_that_cannot_be_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let one = |name: &str| (name.to_string(), Tensor::scalar(1f32));
    assert!(safetensors::save(&path, [one("a"), one("a")], None).is_err());
    assert!(safetensors::save(&path, [one("__metadata__")], None).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_keeps_the_old_checkpoint() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: no /dev/full");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    save_some(&path);
    let before = fs::read(&path).unwrap();
    let error = gradus_tensor::io::write_atomically(&path, |file| {
        file.write_all(&[0; 100])?;
        std::io::Write::write_all(&mut fs::File::options().write(true).open("/dev/full")?, &[0; 9])
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("the disk is full"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A tensor owns its values: overwriting the file in place, or truncating it (which would end a
/// process that maps it), does not change a tensor that was read.
#[test]
fn what_was_read_outlives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let size = 1 << 20;
    let ones = || [("w".to_string(), Tensor::full(&[size], 1.0, DType::F32).unwrap())];
    safetensors::save(&path, ones(), None).unwrap();
    let file = safetensors::SafeTensors::open(&path).unwrap();
    let before = file.tensor("w").unwrap();
    let twos = fs::read(&path).unwrap().iter().map(|b| b ^ 0x55).collect::<Vec<u8>>();
    fs::write(&path, twos).unwrap();
    assert!(before.to_vec::<f32>().unwrap().iter().all(|&x| x == 1.0));
    let error = file.tensor("w").unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("changed"), "{error}");
    fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert!(before.to_vec::<f32>().unwrap().iter().all(|&x| x == 1.0));
    assert!(file.tensor("w").is_err());
    // Replacing the file by renaming, as `save` does, leaves an open file complete.
    safetensors::save(&path, ones(), None).unwrap();
    let file = safetensors::SafeTensors::open(&path).unwrap();
    safetensors::save(&path, [("v".to_string(), Tensor::scalar(2f32))], None).unwrap();
    assert!(file.tensor("w").unwrap().to_vec::<f32>().unwrap().iter().all(|&x| x == 1.0));
}

#[test]
fn a_real_checkpoint_is_read() {
    let Ok(shared) = std::env::var("GRADUS_SHARED") else {
        println!("skipped: GRADUS_SHARED is not set");
        return;
    };
    let path = Path::new(&shared).join("models/minilm/model.safetensors");
    let file = safetensors::SafeTensors::open(path).unwrap();
    let mut numel = 0;
    for name in file.names() {
        let tensor = file.tensor(&name).unwrap();
        assert_eq!(tensor.shape(), file.info(&name).unwrap().1);
        numel += tensor.numel();
    }
    assert!(numel > 22_000_000, "{numel}");
    let weight = file.tensor("embeddings.word_embeddings.weight").unwrap();
    let values = weight.to_vec::<f32>().unwrap();
    assert_eq!(values.len(), weight.shape()[0] * 384);
    assert!(values.iter().all(|x| x.abs() < 10.0));
    println!("read {} tensors, {numel} elements", file.names().len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn arrays_come_back(
        shape in prop::collection::vec(0usize..4, 0..5),
        kind in 0usize..6,
        seed in any::<u64>(),
        transposed in any::<bool>(),
    ) {
        let dtype = DTYPES[kind];
        let mut x = random(&shape, dtype, seed);
        if transposed && x.rank() >= 2 {
            x = x.transpose(0, -1).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        if dtype == DType::BF16 {
            prop_assert!(npy::write(&path, &x).is_err());
        } else {
            npy::write(&path, &x).unwrap();
            assert_equal(&npy::read(&path).unwrap(), &x);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// A file with changed or missing bytes gives an error or a tensor, never a panic.
    #[test]
    fn damaged_files_never_panic(
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        truncate in any::<bool>(),
        in_header in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (model, array) = (folder.path().join("x.safetensors"), folder.path().join("x.npy"));
        for (path, good) in [&model, &array].into_iter().zip(good_files()) {
            let mut bytes = good.clone();
            let reach = if in_header { bytes.len().min(128) } else { bytes.len() };
            for (at, value) in &changes {
                bytes[at.index(reach)] = *value;
            }
            if truncate {
                bytes.truncate(cut.index(bytes.len()));
            }
            fs::write(path, &bytes).unwrap();
        }
        match safetensors::SafeTensors::open(&model) {
            Ok(file) => {
                for name in file.names() {
                    if let Ok(tensor) = file.tensor(&name) {
                        let _ = tensor.to_f64_vec();
                    }
                }
            }
            Err(error) => prop_assert!(matches!(error, Error::Format { .. }), "{error}"),
        }
        match npy::read(&array) {
            Ok(tensor) => prop_assert_eq!(tensor.to_f64_vec().len(), tensor.numel()),
            Err(error) => prop_assert!(matches!(error, Error::Format { .. }), "{error}"),
        }
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "[-{}\\[\\]()',:\"0-9a-zA-Z_ ]{0,60}",
        numbers in "[0-9,]{0,40}",
    ) {
        let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({numbers}");
        let npy_of = |header: &str, data: &[u8]| {
            let length = (header.len() as u16).to_le_bytes();
            [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for contents in [
            bytes.clone(),
            [&b"\x93NUMPY\x01\x00"[..], &bytes].concat(),
            npy_of(&text, &bytes),
            npy_of(&format!("{dict}){text}"), &bytes),
            npy_of(&format!("{dict})}}"), &bytes),
        ] {
            fs::write(&path, &contents).unwrap();
            let _ = npy::read(&path);
            let _ = safetensors::SafeTensors::open(&path);
        }
        let entry = format!(r#"{{"w":{{"dtype":"F32","shape":[{numbers}],"data_offsets":[0,8]}}}}"#);
        for header in [text.as_bytes(), entry.as_bytes(), &bytes] {
            let _ = open(&file(header, &bytes));
        }
    }
}
