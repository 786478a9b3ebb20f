//! A fingerprint of a data set, so that a run notices a change.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{Dataset, Labels, Row, Split};

/// The labels of a data set and hashes (XXH3, 128 bits) of its texts. It does not depend on the
/// place of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The labels, in the order of their ids.
    pub labels: Vec<String>,
    /// Of the training texts and their labels, in their order.
    pub train: String,
    /// Of the dev set.
    pub dev: Option<String>,
    /// Of the test set.
    pub test: Option<String>,
}

impl Fingerprint {
    /// The fingerprint of a data set.
    pub fn of<E: Row>(dataset: &Dataset<E>, labels: &Labels) -> Self {
        Fingerprint {
            labels: labels.names().to_vec(),
            train: hash(&dataset.train),
            dev: dataset.dev.as_ref().map(hash),
            test: dataset.test.as_ref().map(hash),
        }
    }
}

fn hash<E: Row>(split: &Split<E>) -> String {
    let mut hash = Xxh3::new();
    for example in &split.examples {
        example.parts(&mut |part| {
            // With the lengths, no two sets of examples have the same bytes.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hash.update(&length.to_le_bytes());
            hash.update(part.map_or(&[], |part| part.as_bytes()));
        });
    }
    format!("{:032x}", hash.digest128())
}

/// The hash of a text.
pub fn hash_text(text: &str) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}
