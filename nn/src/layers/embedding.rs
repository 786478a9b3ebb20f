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
    ///
    /// ```
    /// # use gradus_nn::{Embedding, Init, Store};
    /// let store = Store::new(0);
    /// let init = Init::Normal { std: 0.02 };
    /// Embedding::new(&store.root().join("word_embeddings"), 10, 4, init)?;
    /// assert_eq!(store.get("word_embeddings.weight").unwrap().shape(), [10, 4]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn new(path: &Path, rows: usize, width: usize, init: Init) -> Result<Self> {
        let weight = path.parameter("weight", &[rows, width], init)?;
        Ok(Embedding { weight, name: path.name().to_string() })
    }

    /// The table, `[rows, width]`.
    ///
    /// ```
    /// # use gradus_nn::{Embedding, Init, Store};
    /// let table = Embedding::new(&Store::new(0).root(), 10, 4, Init::Zeros)?;
    /// assert_eq!(table.weight().shape(), [10, 4]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// The rows of `ids` (u32 `[…]`) → `[…, width]`.
    ///
    /// ```
    /// # use gradus_nn::{Embedding, Init, Store};
    /// # use gradus_tensor::Tensor;
    /// let table = Embedding::new(&Store::new(0).root(), 3, 2, Init::Zeros)?;
    /// table.weight().set(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2])?)?;
    /// let ids = Tensor::from_slice(&[2u32, 0], &[2])?;
    /// assert_eq!(table.forward(&ids)?.to_string(), "[[5. 6.]\n [1. 2.]]");
    /// assert!(table.forward(&Tensor::from_slice(&[3u32], &[1])?).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If an id is not below the number of rows.
    pub fn forward(&self, ids: &Tensor) -> Result<Var> {
        self.weight.var().embedding(ids).map_err(|e| e.at(&self.name))
    }
}
