//! Low-rank adaptation of linear layers.

use gradus_autograd::Var;
use gradus_tensor::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::{Dropout, Forward, Init, Parameter, Path};

/// Low-rank adaptation (LoRA; Hu et al., arXiv:2106.09685): training leaves a linear layer's weight
/// W `[out, in]` as it is and learns two small matrices A `[rank, in]` and B `[out, rank]`:
///
/// y = x·Wᵀ + b + s·dropout(x)·Aᵀ·Bᵀ, where s = alpha/rank
///
/// A begins as PEFT's (Kaiming-uniform with a = √5) and B at 0, so that the layer begins as it was.
/// [`Path::adapt`] applies it to the layers of a model. The names are PEFT's: `lora_A.weight` and
/// `lora_B.weight` beside the layer's `weight`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// Rows of A and columns of B.
    pub rank: usize,
    /// The numerator of the scale s.
    pub alpha: f64,
    /// Probability with which an element of the low-rank part's input is dropped.
    pub dropout: f64,
    /// The last parts of the names of the layers: `query`, or `attention.output.dense`.
    /// `all-linear` means every linear layer.
    pub targets: Vec<String>,
    /// Whether s = alpha/√rank (rank-stabilised LoRA; Kalajdzievski, arXiv:2312.03732).
    pub rslora: bool,
    /// The last parts of the names of modules that are trained in full beside the low-rank parts,
    /// such as `pooler`.
    pub modules_to_save: Vec<String>,
}

impl Default for Lora {
    /// Rank 8, alpha 16, no dropout, on the queries and values: PEFT's layers for BERT.
    fn default() -> Self {
        Lora {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            targets: vec!["query".into(), "value".into()],
            rslora: false,
            modules_to_save: Vec::new(),
        }
    }
}

/// The names of A and B below a layer's.
const A: &str = "lora_A";
const B: &str = "lora_B";

impl Lora {
    /// The target that means every linear layer.
    pub const ALL_LINEAR: &'static str = "all-linear";

    /// The scale s of the low-rank part.
    ///
    /// ```
    /// # use gradus_nn::Lora;
    /// let lora = Lora { rank: 4, alpha: 16.0, ..Lora::default() };
    /// assert_eq!(lora.scaling(), 4.0);
    /// assert_eq!(Lora { rslora: true, ..lora }.scaling(), 8.0); // 16/√4
    /// ```
    pub fn scaling(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// Whether the layer of this name is adapted.
    ///
    /// ```
    /// # use gradus_nn::Lora;
    /// assert!(Lora::default().adapts("encoder.layer.0.attention.self.query"));
    /// assert!(!Lora::default().adapts("encoder.layer.0.attention.self.key"));
    /// ```
    pub fn adapts(&self, layer: &str) -> bool {
        let is = |target: &String| target == Self::ALL_LINEAR || ends_with(layer, target);
        self.targets.iter().any(is)
    }

    /// The module of [`modules_to_save`](Lora::modules_to_save) that a parameter is in.
    ///
    /// ```
    /// # use gradus_nn::Lora;
    /// let lora = Lora { modules_to_save: vec!["pooler".into()], ..Lora::default() };
    /// assert_eq!(lora.saved_module("bert.pooler.dense.weight"), Some("pooler"));
    /// assert_eq!(lora.saved_module("bert.embeddings.LayerNorm.weight"), None);
    /// ```
    pub fn saved_module(&self, parameter: &str) -> Option<&str> {
        let mut paths = parameter.match_indices('.').map(|(at, _)| &parameter[..at]);
        let found = |path: &str| self.modules_to_save.iter().find(|module| ends_with(path, module));
        paths.find_map(found).map(String::as_str)
    }

    /// The name of the layer whose A or B a parameter of this name is.
    ///
    /// ```
    /// # use gradus_nn::Lora;
    /// assert_eq!(Lora::layer_of("self.query.lora_A.weight"), Some("self.query"));
    /// assert_eq!(Lora::layer_of("self.query.weight"), None);
    /// ```
    pub fn layer_of(parameter: &str) -> Option<&str> {
        let name = parameter.strip_suffix(".weight")?;
        let (layer, last) = name.rsplit_once('.')?;
        [A, B].contains(&last).then_some(layer)
    }

    /// The first field that is out of its range: its name, its value, and what it must be.
    ///
    /// ```
    /// # use gradus_nn::Lora;
    /// let fault = Lora { dropout: 1.0, ..Lora::default() }.fault();
    /// assert_eq!(fault, Some(("dropout", "1".into(), "it must be at least 0 and below 1")));
    /// assert_eq!(Lora::default().fault(), None);
    /// ```
    pub fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let Lora { rank, alpha, dropout, targets, .. } = self;
        if *rank == 0 {
            return Some(("rank", rank.to_string(), "it must be 1 or more"));
        }
        if !(alpha.is_finite() && *alpha > 0.0) {
            return Some(("alpha", alpha.to_string(), "it must be above 0"));
        }
        if !(0.0..1.0).contains(dropout) {
            return Some(("dropout", dropout.to_string(), "it must be at least 0 and below 1"));
        }
        match targets.iter().any(|target| !target.is_empty()) {
            true => None,
            false => Some(("targets", "empty".into(), "it must name layers")),
        }
    }

    /// Checks every field.
    ///
    /// ```
    /// # use gradus_nn::Lora;
    /// let error = Lora { rank: 0, ..Lora::default() }.check().unwrap_err();
    /// assert_eq!(error.to_string(), "[lora] rank is 0; it must be 1 or more");
    /// ```
    ///
    /// # Errors
    /// For the first that is out of its range; see [`Lora::fault`].
    pub fn check(&self) -> Result<()> {
        match self.fault() {
            None => Ok(()),
            Some((field, value, requirement)) => bail!("lora", "{field} is {value}; {requirement}"),
        }
    }
}

/// Whether the last parts of a name are those of `end`.
fn ends_with(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The low-rank part of a linear layer.
pub(super) struct LowRank {
    a: Parameter,
    b: Parameter,
    scaling: f64,
    dropout: Dropout,
}

impl LowRank {
    /// The low-rank part of the layer at `path`; `None` where the layer is not adapted.
    pub(super) fn at(path: &Path, inputs: usize, outputs: usize) -> Result<Option<LowRank>> {
        let Some(lora) = path.adaptation() else { return Ok(None) };
        let init = Init::KaimingUniform { a: 5f64.sqrt() };
        Ok(Some(LowRank {
            a: path.join(A).parameter("weight", &[lora.rank, inputs], init)?,
            b: path.join(B).parameter("weight", &[outputs, lora.rank], Init::Zeros)?,
            scaling: lora.scaling(),
            dropout: Dropout::new(&path.join("lora_dropout"), lora.dropout)?,
        }))
    }

    /// s·dropout(x)·Aᵀ·Bᵀ: `[…, in]` → `[…, out]`.
    pub(super) fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        let narrow = self.dropout.forward(x, forward)?.linear(&self.a.var(), None)?;
        narrow.mul_scalar(self.scaling)?.linear(&self.b.var(), None)
    }
}
