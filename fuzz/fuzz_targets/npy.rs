//! NumPy's arrays: any file is an array or an error, and an array is the same after writing and
//! reading it again.

#![no_main]

use gradus_tensor::io::npy;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

mod common;

thread_local!(static FOLDER: TempDir = common::scratch());

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| {
        let path = folder.path().join("array.npy");
        common::write(&path, bytes);
        let Ok(array) = npy::read(&path) else { return };
        // `write` refuses more dimensions than the header of version 1 can hold.
        let Ok(()) = npy::write(&path, &array) else { return };
        let again = npy::read(&path).expect("what was written can be read");
        assert_eq!((again.shape(), again.dtype()), (array.shape(), array.dtype()));
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(again.to_f64_vec()), bits(array.to_f64_vec()));
    });
});
