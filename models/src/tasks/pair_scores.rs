//! How well vectors find the texts that belong together.

use std::collections::HashMap;

use gradus_autograd::{Var, no_grad};
use gradus_tensor::Tensor;

use super::EncodedPairs;
use super::pairs::PairRow;
use crate::Result;
use crate::bert::normalize;
use crate::data::PairForm;
use crate::evaluation::{Rank, Regression, Retrieval};

/// Similarities that are held at a time, in elements: 16 MiB.
const BLOCK: usize = 4 << 20;

/// How well the vectors of some pairs' texts find what belongs together.
///
/// **Pairs with a score**: the correlation of the cosines and the scores.
///
/// **Pairs**: each first text ranks all distinct second texts of the set by their cosine. Those
/// that belong to the same first text in another example, and a copy of the first text itself, are
/// left out: they are not wrong. Equal cosines count as if in random order. Hard negatives are not
/// among the ranked texts: the triplet accuracy is the share of negatives that are less similar
/// than the second text of their example; an equal one counts half.
pub struct PairScores {
    form: PairForm,
    /// The cosine of each pair.
    pub cosines: Vec<f64>,
    /// The score of each pair; 0 where pairs have none.
    pub scores: Vec<f64>,
    /// The rank of each pair's second text; empty where pairs have a score.
    pub retrieval: Retrieval,
    /// For each pair the wrong text that is at least as similar as the right one, the most similar
    /// of them: a pair whose second text it is, and its cosine.
    pub mistaken: Vec<Option<(usize, f32)>>,
    /// Negatives that are less similar than the second text, and all.
    triplets: (f64, usize),
}

impl PairScores {
    /// Compares the vectors `[encodings, width]` of a set, in the order of
    /// [`EncodedPairs::encodings`].
    ///
    /// # Errors
    /// When an operation fails.
    pub fn of(set: &EncodedPairs, vectors: &Tensor) -> Result<PairScores> {
        let rows = set.rows();
        let compared = Vectors::new(vectors)?;
        let cosine = |row: &PairRow| compared.cosine(row.anchor, row.positive);
        let mut scores = PairScores {
            form: set.form(),
            cosines: rows.iter().map(cosine).collect(),
            scores: rows.iter().map(|row| row.score).collect(),
            retrieval: Retrieval::default(),
            mistaken: Vec::new(),
            triplets: (0.0, 0),
        };
        if scores.form == PairForm::Scored {
            return Ok(scores);
        }
        for (row, right) in rows.iter().zip(&scores.cosines) {
            for &negative in &row.negatives {
                let wrong = compared.cosine(row.anchor, negative);
                scores.triplets.0 += match right.partial_cmp(&wrong) {
                    Some(std::cmp::Ordering::Greater) => 1.0,
                    Some(std::cmp::Ordering::Equal) => 0.5,
                    _ => 0.0,
                };
                scores.triplets.1 += 1;
            }
        }
        scores.rank(set, vectors)?;
        Ok(scores)
    }

    /// Ranks the distinct second texts for every first text, a block of rows at a time.
    fn rank(&mut self, set: &EncodedPairs, vectors: &Tensor) -> Result<()> {
        let documents = Documents::of(set);
        let unit = no_grad(|| normalize(&Var::constant(vectors.clone())))?.into_tensor();
        let pick = |places: &[usize]| -> Result<Tensor> {
            let ids: Vec<u32> = places.iter().map(|&place| place as u32).collect();
            let ids = Tensor::from_slice(&ids, &[ids.len()])?.to_device(unit.device())?;
            Ok(unit.index_select(0, &ids)?)
        };
        let all = pick(&documents.encodings)?.t()?;
        let count = documents.encodings.len();
        for block in set.rows().chunks((BLOCK / count.max(1)).max(1)) {
            let anchors: Vec<usize> = block.iter().map(|row| row.anchor).collect();
            let similar = pick(&anchors)?.matmul(&all)?.to_vec::<f32>()?;
            for (row, similar) in block.iter().zip(similar.chunks(count)) {
                let (rank, mistaken) = documents.rank(set, row, similar);
                self.retrieval.add(rank);
                self.mistaken.push(mistaken);
            }
        }
        Ok(())
    }

    /// The metrics of the form of the pairs, by name.
    pub fn values(&self) -> Vec<(&'static str, f64)> {
        if self.form == PairForm::Scored {
            let mut fit = Regression::default();
            self.cosines.iter().zip(&self.scores).for_each(|(&c, &s)| fit.add(c, s));
            return vec![("spearman", fit.spearman()), ("pearson", fit.pearson())];
        }
        let found = &self.retrieval;
        let mut values = vec![
            ("recall_at_1", found.recall_at(1)),
            ("mrr", found.mrr()),
            ("recall_at_5", found.recall_at(5)),
            ("recall_at_10", found.recall_at(10)),
        ];
        if self.triplets.1 > 0 {
            values.push(("triplet_accuracy", self.triplets.0 / self.triplets.1 as f64));
        }
        values
    }
}

/// Vectors as numbers on the CPU.
struct Vectors {
    values: Vec<f32>,
    width: usize,
}

impl Vectors {
    fn new(vectors: &Tensor) -> Result<Vectors> {
        Ok(Vectors { values: vectors.to_vec::<f32>()?, width: vectors.shape()[1] })
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// The cosine of two vectors; 0 where one is all zeros.
    fn cosine(&self, a: usize, b: usize) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
        };
        let (a, b) = (self.row(a), self.row(b));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths == 0.0 { 0.0 } else { dot(a, b) / lengths }
    }
}

/// The distinct second texts of a set.
struct Documents {
    /// An encoding of each.
    encodings: Vec<usize>,
    /// A pair whose second text it is.
    rows: Vec<usize>,
    /// The place of each text.
    places: HashMap<u32, usize>,
    /// The second texts of each first text.
    related: HashMap<u32, Vec<u32>>,
}

impl Documents {
    fn of(set: &EncodedPairs) -> Documents {
        let related = set.related(0..set.len());
        let (mut encodings, mut rows) = (Vec::new(), Vec::new());
        let mut places = HashMap::new();
        for (at, row) in set.rows().iter().enumerate() {
            places.entry(set.text(row.positive)).or_insert_with(|| {
                encodings.push(row.positive);
                rows.push(at);
                rows.len() - 1
            });
        }
        Documents { encodings, rows, places, related }
    }

    /// The rank of a pair's second text by the similarities to all, and the most similar wrong text
    /// that is at least as similar.
    fn rank(
        &self,
        set: &EncodedPairs,
        row: &PairRow,
        similar: &[f32],
    ) -> (Rank, Option<(usize, f32)>) {
        let anchor = set.text(row.anchor);
        let own = self.places[&set.text(row.positive)];
        let related = self.related.get(&anchor).into_iter().flatten().chain([&anchor]);
        let left_out: Vec<usize> = related.filter_map(|t| self.places.get(t)).copied().collect();
        let right = similar[own];
        let mut rank = Rank { above: 0, equal: 0 };
        let mut worst: Option<(usize, f32)> = None;
        for (place, &value) in similar.iter().enumerate() {
            // A vector that is not a number finds nothing.
            if value < right || place == own || left_out.contains(&place) {
                continue;
            }
            if value == right {
                rank.equal += 1;
            } else {
                rank.above += 1;
            }
            if worst.is_none_or(|(_, most)| value > most) {
                worst = Some((self.rows[place], value));
            }
        }
        (rank, worst)
    }
}
