//! Questions about texts: any file in SQuAD's form or of JSON lines gives questions or an error, and an
//! answer that has a place stands there.

#![no_main]

use gradus_models::Split;
use gradus_models::data::{Question, read_questions};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

mod common;

thread_local!(static FOLDER: TempDir = common::scratch());

fuzz_target!(|bytes: &[u8]| {
    // The first byte says which form.
    let Some((&first, rest)) = bytes.split_first() else { return };
    let name = if first % 2 == 0 { "a.json" } else { "a.jsonl" };
    let path = FOLDER.with(|folder| folder.path().join(name));
    common::write(&path, rest);
    let plain = read_questions(&path);
    let Ok(answered) = Split::<Question>::read_questions(&path) else { return };
    // What can be read with its answers can be read without them.
    let plain = plain.expect("the questions can be read");
    assert_eq!(plain.len(), answered.examples.len());
    for (plain, question) in plain.iter().zip(&answered.examples) {
        assert!(plain.is_impossible(), "a question without answers");
        let bare = Question { answers: Vec::new(), ..question.clone() };
        assert_eq!(*plain, bare);
        for answer in &question.answers {
            let found = answer.place.clone().map(|place| &question.context[place]);
            assert!(found.is_none_or(|found| found == answer.text), "{answer:?}");
        }
    }
    assert!(answered.misplaced().len() <= plain.len());
});
