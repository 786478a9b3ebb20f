//! Scaled dot-product attention over packed sequences.

use std::ops::Range;

use crate::random::RngKey;

/// How to attend.
///
/// ```
/// # use gradus_base::op::attention::Attention;
/// let local = Attention { heads: 12, scale: 0.125, window: Some(64), ..Default::default() };
/// assert!(!local.causal);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Number of heads; the hidden size is a multiple of it.
    pub heads: usize,
    /// Factor of the scores, usually 1/√(hidden/heads).
    pub scale: f64,
    /// Probability and key of the dropout on the attention probabilities.
    pub dropout: Option<(f64, RngKey)>,
    /// Whether a token sees only itself and the tokens before it (PyTorch's `is_causal`).
    pub causal: bool,
    /// Token i sees only the tokens j with |i − j| ≤ window (half of ModernBERT's
    /// `local_attention`). `None` is no limit.
    pub window: Option<usize>,
    /// Whether the CPU may round the operands of both products to bf16, where that takes less time
    /// than f32 (sums and softmax stay in f32). For inference: the derivative is that of f32.
    pub bf16: bool,
}

impl Default for Attention {
    /// One head; each token sees its whole sequence, by scores without a factor.
    fn default() -> Self {
        Attention { heads: 1, scale: 1.0, dropout: None, causal: false, window: None, bf16: false }
    }
}

impl Attention {
    /// How far a token sees.
    ///
    /// ```
    /// # use gradus_base::op::attention::Attention;
    /// let options = Attention { causal: true, window: Some(2), ..Default::default() };
    /// assert_eq!(options.sight().range(10, 11, 99), 8..11); // token 10 sees 8, 9 and itself
    /// ```
    pub fn sight(&self) -> Sight {
        let before = self.window.unwrap_or(usize::MAX);
        Sight { before, after: if self.causal { 0 } else { before } }
    }
}

/// How many tokens before itself, and how many after itself, a token sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// At most so many before itself.
    pub before: usize,
    /// At most so many after itself.
    pub after: usize,
}

impl Sight {
    /// How far a token is seen.
    ///
    /// ```
    /// # use gradus_base::op::attention::Attention;
    /// let options = Attention { causal: true, window: Some(2), ..Default::default() };
    /// let seen_by = options.sight().reversed();
    /// assert_eq!(seen_by.range(10, 11, 99), 10..13); // 10 itself, 11 and 12 see token 10
    /// ```
    pub fn reversed(self) -> Sight {
        Sight { before: self.after, after: self.before }
    }

    /// What at least one of the tokens from `first` up to `end` of a sequence of `n` tokens sees.
    ///
    /// ```
    /// # use gradus_base::op::attention::Attention;
    /// let options = Attention { window: Some(2), ..Default::default() };
    /// assert_eq!(options.sight().range(1, 4, 99), 0..6);
    /// assert_eq!(options.sight().range(1, 4, 5), 0..5);
    /// ```
    #[inline(always)]
    pub fn range(self, first: usize, end: usize, n: usize) -> Range<usize> {
        first.saturating_sub(self.before)..n.min(end.saturating_add(self.after))
    }

    /// Pairs of a query and a key that it sees, in a sequence of `n` tokens.
    ///
    /// ```
    /// # use gradus_base::op::attention::Attention;
    /// let pairs = |causal, window, n| {
    ///     Attention { causal, window, ..Default::default() }.sight().pairs(n)
    /// };
    /// assert_eq!(pairs(false, None, 4), 16);
    /// assert_eq!(pairs(true, None, 4), 1 + 2 + 3 + 4);
    /// assert_eq!(pairs(false, Some(1), 4), 2 + 3 + 3 + 2);
    /// ```
    pub fn pairs(self, n: usize) -> u64 {
        // Token i sees min(i, w) tokens on one side.
        let side = |width: usize| {
            let (w, n) = (width.min(n) as u64, n as u64);
            (w.saturating_mul(w.saturating_sub(1)) / 2).saturating_add((n - w).saturating_mul(w))
        };
        side(self.before).saturating_add(side(self.after)).saturating_add(n as u64)
    }
}

/// Query, key and value of packed sequences, as tensors or views `V` of one shape:
/// `[tokens, hidden]`.
#[derive(Clone, Copy)]
pub struct Sequences<'a, V> {
    /// What asks.
    pub q: V,
    /// What is compared with it.
    pub k: V,
    /// What is averaged.
    pub v: V,
    /// What is added to the scaled score of query i and key j, `[heads, 2·m + 1]`: the element
    /// m + j − i of the head's row, the first or the last one where |j − i| > m.
    pub bias: Option<V>,
    /// Where each sequence begins, and the last one ends: u32, ascending from 0 to the number of
    /// tokens, on the device of the others.
    pub offsets: V,
    /// The same numbers.
    pub bounds: &'a [usize],
}

/// Which gradients are wanted, and where they go.
#[derive(Clone, Copy)]
pub struct GradientLayout {
    /// Those of query, key and value lie in one tensor: the distance of the rows, in elements.
    pub row: usize,
    /// Distance of one gradient from the next.
    pub part: usize,
    /// Whether the gradient of the bias is wanted, too.
    pub bias: bool,
}
