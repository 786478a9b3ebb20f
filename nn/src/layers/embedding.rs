//! The embedding table.

use gradus_autograd::Var;
use gradus_tensor::{Result, Tensor};

use crate::{Init, Parameter, Path};

/// A row for each id: `[…] → […, width]`. Parameter: `weight` `[rows, width]`.
pub struct Embedding {
    weight: Parameter,
    name: String,
}

impl Embedding {
    /// A table at `path`.
    pub fn new(path: &Path, rows: usize, width: usize, init: Init) -> Result<Self> {
        let weight = path.parameter("weight", &[rows, width], init)?;
        Ok(Embedding { weight, name: path.name().to_string() })
    }

    /// The table, `[rows, width]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// The rows of `ids` (u32 `[…]`) → `[…, width]`.
    ///
    /// # Errors
    /// If an id is not below the number of rows.
    pub fn forward(&self, ids: &Tensor) -> Result<Var> {
        self.weight.var().embedding(ids).map_err(|e| e.at(&self.name))
    }
}
