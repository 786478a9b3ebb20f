//! Rows of texts: any file in any format gives examples or an error that names a line of the file.

#![no_main]

use std::path::Path;

use gradus_models::Columns;
use gradus_models::data::{Format, read_inputs_from};
use libfuzzer_sys::fuzz_target;

const FORMATS: [Format; 4] = [Format::Csv, Format::Tsv, Format::Jsonl, Format::Text];

fuzz_target!(|bytes: &[u8]| {
    // The first byte says which format, and whether there is a second text.
    let Some((&first, rest)) = bytes.split_first() else { return };
    let format = FORMATS[first as usize % FORMATS.len()];
    let pair = (first & 4 != 0).then(|| "pair".to_string());
    let columns = Columns { pair: pair.clone(), ..Columns::text_only() };
    let Ok(examples) = read_inputs_from(rest, Path::new("rows"), format, &columns) else { return };
    let lines = 1 + rest.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let mut last = 0;
    for example in &examples {
        // Records that end in CR alone share a line.
        assert!(example.line >= last && example.line <= lines, "line {} of {lines}", example.line);
        assert_eq!(example.pair.is_some(), pair.is_some() && format != Format::Text);
        last = example.line;
    }
    assert!(!examples.is_empty());
});
