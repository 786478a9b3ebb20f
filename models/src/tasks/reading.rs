//! Raw text that is read window by window, so that memory does not grow with it.

use gradus_tensor::RngKey;

use crate::Result;
use crate::data::Corpus;

/// A corpus, of which one window is in memory.
pub(super) struct Reading {
    pub corpus: Corpus,
    /// The seed of the order of the windows.
    pub seed: u64,
    /// The window that was read last.
    pub open: usize,
}

impl Reading {
    pub fn new(corpus: Corpus, seed: u64) -> Self {
        Reading { corpus, seed, open: usize::MAX }
    }

    /// The text of an epoch's `window`-th window; `None` where it is the one that was read last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self, epoch: u64, window: usize) -> Result<Option<String>> {
        let mut order: Vec<usize> = (0..self.corpus.windows()).collect();
        RngKey::new(self.seed).place("windows").step(epoch).shuffle(&mut order);
        let read = order[window];
        if self.open == read {
            return Ok(None);
        }
        let text = self.corpus.read(read)?;
        self.open = read;
        Ok(Some(text))
    }

    /// About how many examples the whole text gives, where the open window gives `here`.
    pub fn examples(&self, here: usize) -> usize {
        let share = self.corpus.bytes() as f64 / self.corpus.bytes_of(self.open).max(1) as f64;
        match self.corpus.windows() {
            1 => here,
            _ => (here as f64 * share).round() as usize,
        }
    }
}
