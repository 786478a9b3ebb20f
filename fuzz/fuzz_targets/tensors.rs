//! KServe v2's binary tensors: any bytes are elements or an error, never a panic, and elements give
//! the same bytes.
//!
//! The target includes the parser's file, which needs only std, so that `serve` is not built with
//! sanitizers.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../serve/src/protocols/kserve/bytes.rs"]
mod binary;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(elements) = binary::elements(bytes) {
        let mut again = Vec::new();
        elements.iter().for_each(|element| binary::push(&mut again, element));
        assert_eq!(again, bytes);
    }
});
