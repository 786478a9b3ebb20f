//! The names of an encoder layer's parts.

/// Where an encoder layer has its parts, relative to the layer's path. A checkpoint of Hugging
/// Face decides them; the default is BERT's.
///
/// ```
/// # use gradus_nn::{LayerConfig, EncoderLayer, LayerNames, Store};
/// let distilbert = LayerNames { query: "attention.q_lin", ..LayerNames::default() };
/// let config = LayerConfig { hidden: 4, heads: 2, names: distilbert, ..Default::default() };
/// let store = Store::new(0);
/// EncoderLayer::new(&store.root().join("transformer.layer.0"), &config)?;
/// assert!(store.get("transformer.layer.0.attention.q_lin.weight").is_some());
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerNames {
    /// The queries' linear layer.
    pub query: &'static str,
    /// The keys' linear layer.
    pub key: &'static str,
    /// The values' linear layer.
    pub value: &'static str,
    /// The linear layer after the attention.
    pub attention_output: &'static str,
    /// The norm of the attention block.
    pub attention_norm: &'static str,
    /// The three in one linear layer, query first, which then takes their place.
    pub qkv: Option<&'static str>,
    /// The first linear layer of the feed-forward block; of a gated one, the layer that is not
    /// gated, or both.
    pub intermediate: &'static str,
    /// The gate of a gated feed-forward block, where it is a layer of its own.
    pub gate: Option<&'static str>,
    /// The second linear layer of the feed-forward block.
    pub output: &'static str,
    /// The norm of the feed-forward block.
    pub output_norm: &'static str,
}

impl LayerNames {
    /// BERT's names.
    pub const BERT: LayerNames = LayerNames {
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        qkv: None,
        attention_output: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        intermediate: "intermediate.dense",
        gate: None,
        output: "output.dense",
        output_norm: "output.LayerNorm",
    };

    /// All names.
    ///
    /// ```
    /// # use gradus_nn::LayerNames;
    /// assert_eq!(LayerNames::BERT.all()[0], "attention.self.query");
    /// ```
    pub fn all(&self) -> Vec<&'static str> {
        let [apart, joined] = match self.qkv {
            None => [vec![self.query, self.key, self.value], vec![]],
            Some(qkv) => [vec![], vec![qkv]],
        };
        let rest = [
            self.attention_output,
            self.attention_norm,
            self.intermediate,
            self.output,
            self.output_norm,
        ];
        [apart, joined, rest.to_vec(), self.gate.into_iter().collect()].concat()
    }
}

impl Default for LayerNames {
    fn default() -> Self {
        LayerNames::BERT
    }
}
