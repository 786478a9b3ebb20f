//! What a trace keeps of attention: the probabilities, which no kernel stores.

use gradus_tensor::Tensor;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::op::Op;
use crate::var::Var;

/// The most probabilities of one operation that a trace keeps.
const MAX_PROBABILITIES: usize = 16_384;

/// The first sequence of an attention: how much each query attends to each key, and of what that
/// was computed. Of a long sequence only as many heads are kept as have 16,384 probabilities.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttentionTrace {
    /// Tokens of the sequence, n.
    pub tokens: usize,
    /// Heads that are kept, and heads that there are.
    pub heads: [usize; 2],
    /// Numbers of a head, d.
    pub size: usize,
    /// What multiplies a score.
    pub scale: f64,
    /// The queries of the kept heads, `[n, heads·d]`.
    pub query: Vec<f64>,
    /// The keys.
    pub key: Vec<f64>,
    /// The values.
    pub value: Vec<f64>,
    /// How much each query attends to each key, `[heads, n, n]`, before dropout; a row sums to 1.
    pub probabilities: Vec<f64>,
    /// The gradient of the loss by each probability, dO·Vᵀ, where backward came to it. Dropout,
    /// which some probabilities do not pass, is left out.
    pub gradient: Option<Vec<f64>>,
}

impl AttentionTrace {
    /// That of an operation which is about to be noted; `None` where it is no attention.
    pub(super) fn of(op: Op, settings: &Map<String, Value>, inputs: &[&Var]) -> Option<Self> {
        let number = |name: &str| settings.get(name).and_then(Value::as_f64);
        let parts = match op {
            Op::Attention => 1,
            Op::AttentionQkvPacked => 3,
            _ => return None,
        };
        let offsets = settings.get("offsets")?.as_array()?;
        let bound = |i: usize| offsets.get(i).and_then(Value::as_u64).map(|x| x as usize);
        let (start, tokens) = (bound(0)?, bound(1)? - bound(0)?);
        let of_heads = number("heads")? as usize;
        let hidden = inputs[0].shape().last()? / parts;
        let size = hidden / of_heads;
        let heads = (MAX_PROBABILITIES / (tokens * tokens).max(1)).clamp(0, of_heads);
        let width = heads * size;
        // Rows of the sequence, the kept heads of the part `part` of a row.
        let rows = |input: &Var, part: usize| -> Vec<f64> {
            let all = input.tensor().to_f64_vec();
            let row = |token: usize| (start + token) * hidden * parts + part * hidden;
            (0..tokens).flat_map(|token| all[row(token)..row(token) + width].to_vec()).collect()
        };
        let [query, key, value] = match op {
            Op::Attention => [rows(inputs[0], 0), rows(inputs[1], 0), rows(inputs[2], 0)],
            _ => [0, 1, 2].map(|part| rows(inputs[0], part)),
        };
        let bias = inputs.get(if parts == 1 { 3 } else { 1 }).map(|bias| bias.tensor());
        let mut trace = AttentionTrace {
            tokens,
            heads: [heads, of_heads],
            size,
            scale: number("scale")?,
            query,
            key,
            value,
            probabilities: Vec::new(),
            gradient: None,
        };
        let causal = settings.get("causal") == Some(&Value::Bool(true));
        let window = number("window").map_or(usize::MAX, |window| window as usize);
        let sees = |i: usize, j: usize| i.abs_diff(j) <= window && (j <= i || !causal);
        trace.attend(bias, sees);
        Some(trace)
    }

    /// Sets the probabilities: the softmax of q·k·scale, and of the bias by distance.
    fn attend(&mut self, bias: Option<&Tensor>, sees: impl Fn(usize, usize) -> bool) {
        let n = self.tokens;
        let bias = bias.map(|bias| (bias.to_f64_vec(), bias.shape()[1]));
        let of_pair = |head: usize, i: usize, j: usize| {
            bias.as_ref().map_or(0.0, |(bias, width)| {
                let reach = width / 2;
                bias[head * width + (reach + j).saturating_sub(i).min(2 * reach)]
            })
        };
        for (head, i) in (0..self.heads[0]).flat_map(|head| (0..n).map(move |i| (head, i))) {
            let score = |j: usize| match sees(i, j) {
                true => {
                    self.dot(&self.query, i, &self.key, j, head) * self.scale + of_pair(head, i, j)
                }
                false => f64::NEG_INFINITY,
            };
            let scores: Vec<f64> = (0..n).map(score).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let parts: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum: f64 = parts.iter().sum();
            self.probabilities.extend(parts.iter().map(|part| rounded(part / sum)));
        }
    }

    /// The product of row `i` of `a` and row `j` of `b`, of one head.
    fn dot(&self, a: &[f64], i: usize, b: &[f64], j: usize, head: usize) -> f64 {
        let (width, d) = (self.heads[0] * self.size, self.size);
        let (a, b) = (&a[i * width + head * d..][..d], &b[j * width + head * d..][..d]);
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// Sets the gradients of the probabilities from that of the output.
    pub(super) fn set_gradient(&mut self, output: &Tensor) {
        let (all, hidden) = (output.to_f64_vec(), self.heads[1] * self.size);
        // The first sequence begins with the first row.
        let width = self.heads[0] * self.size;
        let rows: Vec<f64> =
            (0..self.tokens).flat_map(|i| all[i * hidden..i * hidden + width].to_vec()).collect();
        let n = self.tokens;
        let pairs = (0..self.heads[0]).flat_map(|h| (0..n * n).map(move |at| (h, at / n, at % n)));
        let gradient = pairs.map(|(head, i, j)| rounded(self.dot(&rows, i, &self.value, j, head)));
        self.gradient = Some(gradient.collect());
    }
}

/// To the nearest f32, in which kernels compute.
fn rounded(x: f64) -> f64 {
    f64::from(x as f32)
}
