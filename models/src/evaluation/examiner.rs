//! Who asks for an evaluation.

use crate::training::ranks::Communicator;

/// Who asks for an evaluation: hears how far it is, and may share it with other ranks. A closure of
/// the number of examples done and the number of all is one without other ranks.
pub trait Examiner {
    /// Hears how many examples are done, and how many there are.
    fn progress(&mut self, done: usize, of: usize);

    /// The ranks that share the evaluation, all of which must ask for it: each computes some batches,
    /// and everybody gets all results. `None` for one process.
    fn ranks(&self) -> Option<&dyn Communicator> {
        None
    }
}

impl<F: FnMut(usize, usize)> Examiner for F {
    fn progress(&mut self, done: usize, of: usize) {
        self(done, of);
    }
}
