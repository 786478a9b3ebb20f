//! Checkpoints: any file opens or is an error, and every tensor in it is read or is an error.

#![no_main]

use gradus_tensor::io::safetensors::SafeTensors;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

mod common;

thread_local!(static FOLDER: TempDir = common::scratch());

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| {
        let path = folder.path().join("model.safetensors");
        common::write(&path, bytes);
        let Ok(file) = SafeTensors::open(&path) else { return };
        for name in file.names() {
            let (_, shape) = file.info(&name).expect("a name that was just listed");
            if let Ok(tensor) = file.tensor(&name) {
                assert_eq!(tensor.shape(), shape);
                assert_eq!(tensor.to_f64_vec().len(), tensor.numel());
            }
        }
    });
});
