//! Ranks of pairs, counted one by one.

use gradus_models::data::TextPair;
use gradus_models::folder::Prompts;
use gradus_models::tasks::{EncodedPairs, PairEncoder, PairScores};
use gradus_models::{Split, Tokenizer};
use gradus_tensor::Tensor;

fn pair(anchor: &str, positive: &str, negatives: &[&str], score: Option<&str>) -> TextPair {
    TextPair {
        anchor: anchor.into(),
        positive: positive.into(),
        negatives: negatives.iter().map(|text| text.to_string()).collect(),
        score: score.map(str::to_string),
        line: 2,
    }
}

fn encode(examples: Vec<TextPair>, prompts: &Prompts) -> EncodedPairs {
    let tokenizer = Tokenizer::train_wordpiece(&["a b c d e f 0 1 2 3 4 5 6 7 8 9"], 60).unwrap();
    let encoder =
        PairEncoder { tokenizer: &tokenizer, prompts, max_length: 16, score_scale: Some(1.0) };
    encoder.encode(&Split { path: "pairs.csv".into(), examples }).unwrap()
}

fn scores(examples: Vec<TextPair>, vectors: &[[f32; 2]]) -> PairScores {
    let set = encode(examples, &Prompts::default());
    assert_eq!(set.encodings().len(), vectors.len());
    let vectors = Tensor::from_slice(&vectors.concat(), &[vectors.len(), 2]).unwrap();
    PairScores::of(&set, &vectors).unwrap()
}

/// A direction in degrees, of any length.
fn at(degrees: f32) -> [f32; 2] {
    let radians = degrees.to_radians();
    [3.0 * radians.cos(), 3.0 * radians.sin()]
}

fn value(scores: &PairScores, name: &str) -> f64 {
    scores.values().into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn what_belongs_together_is_no_mistake() {
    let examples = vec![
        pair("a", "b", &["f"], None), // e is nearer than b, but c belongs to a too
        pair("a", "c", &["f", "e"], None),
        pair("d", "d", &["a"], None), // its own copy is the right answer
        pair("e", "d", &["a"], None), // b is nearer
        pair("b", "c", &[], None),    // b itself is a copy of the first text; d is nearer
    ];
    // In the order of their first occurrence: a, b, f, c, e, d.
    let vectors = [at(0.0), at(25.0), at(42.0), at(1.0), at(20.0), at(31.0)];
    let scores = scores(examples, &vectors[..]);
    // By a, d, e and b, which each rank b, c and d.
    let above: Vec<usize> = scores.rankings.iter().map(|ranking| ranking.rank.above).collect();
    assert_eq!(above, [0, 0, 1, 1]);
    let pairs: Vec<usize> = scores.rankings.iter().map(|ranking| ranking.pair).collect();
    assert_eq!(pairs, [1, 2, 3, 4], "the pair of the most similar right text");
    let mistaken: Vec<Option<usize>> =
        scores.rankings.iter().map(|ranking| ranking.mistaken.map(|(pair, _)| pair)).collect();
    assert_eq!(mistaken, [None, None, Some(0), Some(2)]);
    assert_eq!(value(&scores, "triplet_accuracy"), 1.0);
    assert_eq!(value(&scores, "recall_at_1"), 0.5);
    assert_eq!(value(&scores, "mrr"), 0.75);
}

#[test]
fn scores_correlate_with_cosines() {
    let examples = vec![
        pair("a", "b", &[], Some("0.1")),
        pair("a", "c", &[], Some("0.9")),
        pair("b", "c", &[], Some("0.5")),
    ];
    let scores = scores(examples, &[at(0.0), at(80.0), at(10.0)]);
    assert_eq!(value(&scores, "spearman"), 1.0);
    let cosines = [80f64, 10.0, 70.0].map(|degrees| degrees.to_radians().cos());
    for (found, wanted) in scores.cosines.iter().zip(cosines) {
        assert!((found - wanted).abs() < 1e-6, "{found}, not {wanted}");
    }
}

/// Vectors whose ranks sentence-transformers counted: `InformationRetrievalEvaluator` and
/// `TripletEvaluator`.
#[test]
fn metrics_are_those_of_sentence_transformers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/embed.safetensors");
    let golden = gradus_tensor::io::safetensors::SafeTensors::open(path).unwrap();
    let tensor = |name: &str| golden.tensor(&format!("metrics.{name}")).unwrap();
    // Each row: a query, a document, a negative.
    let triplets = tensor("triplets").to_f64_vec();
    let examples: Vec<TextPair> = triplets
        .chunks(3)
        .map(|row| {
            let [query, document, negative] = [row[0], row[1], row[2]].map(|i| i as usize);
            pair(&format!("a {query}"), &format!("b {document}"), &[&format!("b {negative}")], None)
        })
        .collect();
    let set = encode(examples.clone(), &Prompts::default());
    // The vectors of the texts in the order of their first occurrence.
    let rows = |name: &str| -> Vec<Vec<f32>> {
        tensor(name).to_vec::<f32>().unwrap().chunks(4).map(<[f32]>::to_vec).collect()
    };
    let (queries, documents) = (rows("queries"), rows("documents"));
    let mut seen = std::collections::HashSet::new();
    let texts = examples.iter().flat_map(TextPair::texts).filter(|text| seen.insert(*text));
    let vectors: Vec<f32> = texts
        .flat_map(|text| {
            let (kind, number) = text.split_once(' ').unwrap();
            let all = if kind == "a" { &queries } else { &documents };
            all[number.parse::<usize>().unwrap()].clone()
        })
        .collect();
    let vectors = Tensor::from_slice(&vectors, &[vectors.len() / 4, 4]).unwrap();
    let scores = PairScores::of(&set, &vectors).unwrap();
    for (name, wanted) in ["recall_at_1", "recall_at_5", "recall_at_10", "mrr", "triplet_accuracy"]
        .into_iter()
        .zip(tensor("values").to_f64_vec())
    {
        let found = value(&scores, name);
        assert!((found - wanted).abs() < 1e-9, "{name} is {found}, not {wanted}");
    }
}

/// More similarities than a block holds.
#[test]
fn blocks_count_as_one() {
    let count = 2200;
    let examples: Vec<TextPair> =
        (0..count).map(|i| pair(&format!("a {i}"), &format!("b {i}"), &[], None)).collect();
    let set = encode(examples, &Prompts::default());
    // Texts a i and b i at one place on a circle, a step apart: each finds its own.
    let place = |i: usize| (i / 2) as f32 / count as f32 * std::f32::consts::TAU;
    let vectors: Vec<f32> = (0..2 * count).flat_map(|i| [place(i).cos(), place(i).sin()]).collect();
    let vectors = Tensor::from_slice(&vectors, &[2 * count, 2]).unwrap();
    let scores = PairScores::of(&set, &vectors).unwrap();
    assert_eq!(scores.rankings.len(), count);
    let pairs = scores.rankings.iter().enumerate().all(|(i, ranking)| ranking.pair == i);
    assert!(pairs, "a ranking belongs to another pair");
    // Neighbours are 4e-6 apart in cosine, which f32 tells.
    assert!(value(&scores, "recall_at_1") > 0.99, "{:?}", scores.values());
}

#[test]
fn texts_are_encoded_once_for_each_prompt() {
    let examples = || vec![pair("a", "b", &["c"], None), pair("b", "a", &["c"], None)];
    assert_eq!(encode(examples(), &Prompts::default()).encodings().len(), 3);
    let mut prompts = Prompts::default();
    prompts.named.insert("query".into(), "e f ".into());
    let set = encode(examples(), &prompts);
    assert_eq!(set.encodings().len(), 5);
    let lengths: Vec<(usize, usize)> =
        set.encodings().iter().map(|encoding| (encoding.len(), encoding.prompt)).collect();
    assert_eq!(lengths, [(5, 3), (3, 0), (3, 0), (5, 3), (3, 0)]);
    // Texts with scores are alike: they have the default prompt.
    prompts.default = Some("query".into());
    let set = encode(vec![pair("a", "b", &[], Some("1"))], &prompts);
    assert!(set.encodings().iter().all(|encoding| encoding.prompt == 3));
}
