//! The decoder of a language model under names of its own.

use gradus_tensor::{DType, Tensor};

use super::Checkpoint;
use crate::family::Family;
use crate::{Error, Result};

impl Checkpoint {
    /// Checks that the decoder is what the model computes with: the word embeddings, and the head's
    /// bias. A file may hold both again under the decoder's names; `transformers` and
    /// PEFT then compute with these.
    ///
    /// # Errors
    /// When the decoder differs.
    pub(crate) fn check_decoder(&self, family: &Family) -> Result<()> {
        family.twins().iter().try_for_each(|(twin, shared)| self.check_twin(twin, shared))
    }

    /// Checks that the parameter `twin`, if there is one, has the values of `shared`.
    fn check_twin(&self, twin: &str, shared: &str) -> Result<()> {
        let own = match self.0.adapter.as_ref().filter(|adapter| adapter.has(twin)) {
            Some(adapter) => Some(adapter.tensor(twin)?),
            None if self.find(twin).is_some() => self.of_files(twin)?,
            // PEFT changes only what the adapter has: the decoder keeps the words of the base.
            None if self.adapted(shared).is_some() => self.of_files(shared)?,
            None => return Ok(()),
        };
        let (Some(own), Some(used)) = (own, self.read(shared)?) else { return Ok(()) };
        if same_values(&own, &used)? {
            return Ok(());
        }
        let path = self.0.adapter.as_ref().map_or(self.path(), |adapter| adapter.path());
        let message = format!(
            "`{twin}` differs from `{shared}`: Gradus's language models share them; train the \
             model or the adapter with both tied"
        );
        Err(Error::Checkpoint { path: path.to_path_buf(), message })
    }
}

/// Whether two tensors have the same values; their dtypes may differ.
fn same_values(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.shape() != b.shape() {
        return Ok(false);
    }
    let [a, b] = [a, b].map(|tensor| tensor.to_dtype(DType::F64)?.to_vec::<f64>());
    Ok(a? == b?)
}
