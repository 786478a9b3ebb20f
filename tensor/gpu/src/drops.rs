//! The arguments for dropout inside another family's kernel (attention, layer norm).

use gradus_base::random::{RngKey, least_kept};

/// What decides which elements are kept, and their factor.
pub(super) struct Drops {
    pub(super) least: u32,
    pub(super) key: [u32; 2],
    pub(super) scale: f32,
}

impl Drops {
    /// From a probability and a key; `None` drops nothing.
    pub(super) fn of(dropout: Option<(f64, RngKey)>) -> Drops {
        let (p, key) = dropout.map_or((0.0, 0), |(p, key)| (p, key.0));
        // p = 1 drops everything: `least` cannot exclude the largest word, so the factor is 0.
        Drops {
            least: least_kept(p).unwrap_or(u32::MAX),
            key: [key as u32, (key >> 32) as u32],
            scale: if p < 1.0 { (1.0 / (1.0 - p)) as f32 } else { 0.0 },
        }
    }
}
