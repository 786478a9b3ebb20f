//! How well vectors find the texts that belong together.

use std::collections::HashMap;

use gradus_autograd::{Var, no_grad};
use gradus_tensor::Tensor;

use super::EncodedPairs;
use super::pairs::PairRow;
use crate::Result;
use crate::data::PairForm;
use crate::encoder::normalize;
use crate::evaluation::{Rank, Regression, Retrieval};

/// Similarities that are held at a time, in elements: 16 MiB.
const BLOCK: usize = 4 << 20;

/// How well the vectors of some pairs' texts find what belongs together.
///
/// **Pairs with a score**: the correlation of the cosines and the scores.
///
/// **Pairs**: each distinct first text ranks all distinct second texts of the set by their cosine.
/// Those of all its pairs are right, and the first of them counts; a copy of the first text is left
/// out unless it is right. Equal cosines count as if in random order. Hard negatives are not among
/// the ranked texts: the triplet accuracy is the share of negatives that are less similar than the
/// second text of their pair; an equal one counts half.
pub struct PairScores {
    form: PairForm,
    /// The cosine of each pair.
    pub cosines: Vec<f64>,
    /// The score of each pair; 0 where pairs have none.
    pub scores: Vec<f64>,
    /// The ranking of each distinct first text; empty where pairs have a score.
    pub rankings: Vec<Ranking>,
    /// Negatives that are less similar than the second text, and all.
    triplets: (f64, usize),
}

/// The ranking by one first text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranking {
    /// Where the first right text stands.
    pub rank: Rank,
    /// The pair that it is the second text of.
    pub pair: usize,
    /// A pair whose second text is wrong and at least as similar, the most similar of them, and its
    /// cosine.
    pub mistaken: Option<(usize, f32)>,
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
            rankings: Vec::new(),
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

    /// Ranks the distinct second texts for every distinct first text, a block of these at a time.
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
        for block in documents.queries.chunks((BLOCK / count.max(1)).max(1)) {
            let anchors: Vec<usize> = block.iter().map(|query| query.anchor).collect();
            let similar = pick(&anchors)?.matmul(&all)?.to_vec::<f32>()?;
            let rows = block.iter().zip(similar.chunks(count));
            self.rankings.extend(rows.map(|(query, similar)| documents.rank(query, similar)));
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
        let mut found = Retrieval::default();
        self.rankings.iter().for_each(|ranking| found.add(ranking.rank));
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

/// The distinct second texts of a set, and the first texts that look for them.
struct Documents {
    /// An encoding of each.
    encodings: Vec<usize>,
    /// A pair whose second text it is.
    pairs: Vec<usize>,
    queries: Vec<Query>,
}

/// A distinct first text.
struct Query {
    /// Its encoding.
    anchor: usize,
    /// The right documents, each with a pair.
    right: Vec<(usize, usize)>,
    /// A copy of the first text among the documents.
    copy: Option<usize>,
}

impl Documents {
    fn of(set: &EncodedPairs) -> Documents {
        let mut documents =
            Documents { encodings: Vec::new(), pairs: Vec::new(), queries: Vec::new() };
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut queries: HashMap<u32, usize> = HashMap::new();
        for (pair, row) in set.rows().iter().enumerate() {
            let place = *places.entry(set.text(row.positive)).or_insert_with(|| {
                documents.encodings.push(row.positive);
                documents.pairs.push(pair);
                documents.pairs.len() - 1
            });
            let query = *queries.entry(set.text(row.anchor)).or_insert_with(|| {
                let anchor = row.anchor;
                documents.queries.push(Query { anchor, right: Vec::new(), copy: None });
                documents.queries.len() - 1
            });
            let right = &mut documents.queries[query].right;
            if right.iter().all(|(known, _)| *known != place) {
                right.push((place, pair));
            }
        }
        for query in &mut documents.queries {
            query.copy = places.get(&set.text(query.anchor)).copied();
        }
        documents
    }

    /// The ranking of a query by its similarities to all documents.
    fn rank(&self, query: &Query, similar: &[f32]) -> Ranking {
        let mut best = query.right[0];
        for &(place, pair) in &query.right {
            if similar[place] > similar[best.0] {
                best = (place, pair);
            }
        }
        let most = similar[best.0];
        let is_right = |place: usize| query.right.iter().any(|(right, _)| *right == place);
        let mut rank = Rank { above: 0, equal: 0, right: 1 };
        let mut mistaken: Option<(usize, f32)> = None;
        for (place, &value) in similar.iter().enumerate() {
            // A cosine that is not a number finds nothing: all others are above it.
            if value < most || place == best.0 {
                continue;
            }
            if is_right(place) {
                rank.right += usize::from(value == most);
                continue;
            }
            if query.copy == Some(place) {
                continue;
            }
            match value == most {
                true => rank.equal += 1,
                false => rank.above += 1,
            }
            if mistaken.is_none_or(|(_, known)| value > known) {
                mistaken = Some((self.pairs[place], value));
            }
        }
        Ranking { rank, pair: best.1, mistaken }
    }
}
