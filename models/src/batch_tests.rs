use proptest::prelude::*;

use super::*;

fn pack(sequences: &[Vec<u32>]) -> Result<PackedBatch> {
    let config = EncoderConfig { max_position_embeddings: 4, ..EncoderConfig::new(10, 1, 4, 1, 4) };
    let types: Vec<Vec<u32>> = sequences.iter().map(|s| vec![0; s.len()]).collect();
    let parts = sequences.iter().zip(&types).map(|(i, t)| (i.as_slice(), t.as_slice()));
    PackedBatch::from_parts(parts, &config)
}

#[test]
fn packs_end_to_end() {
    let batch = pack(&[vec![1, 2], vec![3], vec![4, 5, 6]]).unwrap();
    assert_eq!(batch.ids, [1, 2, 3, 4, 5, 6]);
    assert_eq!(batch.position_ids, [0, 1, 0, 0, 1, 2]);
    assert_eq!(batch.offsets, [0, 2, 3, 6]);
    assert_eq!((batch.tokens(), batch.sequences(), batch.longest()), (6, 3, 3));
    assert_eq!(batch.ranges().last(), Some(3..6));
    let none = pack(&[]).unwrap();
    assert_eq!((none.sequences(), none.longest(), none.offsets), (0, 0, vec![0]));
}

#[test]
fn what_does_not_fit_is_named() {
    for (sequences, expected) in [
        (vec![vec![1], vec![2, 10]], "sequence 1, token 1: id 10 is outside the model's 10"),
        (vec![vec![1; 5]], "sequence 0 has 5 tokens, the model takes at most 4"),
        (vec![vec![]], "sequence 0 has no tokens"),
    ] {
        let error = pack(&sequences).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let config = EncoderConfig::new(10, 1, 4, 1, 4);
    let error = PackedBatch::from_parts([(&[1u32][..], &[2u32][..])], &config).unwrap_err();
    assert!(error.to_string().contains("type id 2"), "{error}");
    let error = PackedBatch::from_parts([(&[1u32][..], &[][..])], &config).unwrap_err();
    assert!(error.to_string().contains("1 ids and 0 type ids"), "{error}");
}

#[test]
fn an_epoch_is_a_function_of_seed_and_epoch() {
    let lengths: Vec<usize> = (0..500).map(|i| 3 + i * 7 % 40).collect();
    let epoch = |seed, epoch| bucketed_batches(&lengths, 4, seed, epoch).unwrap();
    assert_eq!(epoch(1, 2), epoch(1, 2));
    assert_ne!(epoch(1, 2), epoch(1, 3));
    assert_ne!(epoch(1, 2), epoch(2, 2));
    // The numbers themselves are fixed: a resumed run must see the batches of the run it resumes.
    let mut order: Vec<usize> = (0..8).collect();
    shuffle(&mut order, 42, 7);
    assert_eq!(order, FIXED);
}

const FIXED: [usize; 8] = [3, 1, 5, 7, 2, 0, 6, 4];

#[test]
fn buckets_hold_texts_of_like_length() {
    let lengths: Vec<usize> = (0..3200).map(|i| i % 64).collect();
    let spread = |batch: &Vec<usize>| {
        let of = |i: &usize| lengths[*i];
        batch.iter().map(of).max().unwrap() - batch.iter().map(of).min().unwrap()
    };
    let batches = bucketed_batches(&lengths, 32, 0, 0).unwrap();
    let mean = batches.iter().map(spread).sum::<usize>() / batches.len();
    assert!(mean <= 4, "a batch spans {mean} lengths on average");
    let firsts: Vec<usize> = batches.iter().map(|b| lengths[b[0]]).collect();
    assert!(!firsts.is_sorted(), "the order of the batches must be random");
}

proptest! {
    #[test]
    fn every_example_occurs_once(
        lengths in prop::collection::vec(1usize..60, 0..300), size in 1usize..20, seed: u64, epoch in 0u64..9
    ) {
        for batches in [bucketed_batches(&lengths, size, seed, epoch).unwrap(), sorted_batches(&lengths, size).unwrap()] {
            prop_assert!(batches.iter().all(|b| !b.is_empty() && b.len() <= size));
            prop_assert_eq!(batches.len(), lengths.len().div_ceil(size));
            let results: Vec<usize> = batches.iter().flatten().copied().collect();
            prop_assert_eq!(restore_order(&batches, results).unwrap(), (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn arguments_out_of_range_are_errors() {
    assert!(bucketed_batches(&[1], 0, 0, 0).is_err());
    assert!(sorted_batches(&[1], 0).is_err());
    assert!(restore_order(&[vec![0, 1]], vec![1]).is_err());
    assert!(restore_order(&[vec![0, 0]], vec![1, 2]).is_err());
    assert!(bucketed_batches(&[1, 2], usize::MAX, 0, 0).is_ok());
    assert!(bucketed_batches(&[], 3, 0, u64::MAX / 2).unwrap().is_empty());
}

#[test]
fn a_short_batch_gets_examples_of_another() {
    let lengths: Vec<usize> = (0..25).map(|i| i % 7 + 1).collect();
    for (least, sizes) in
        [(1, [8, 8, 8, 1]), (2, [8, 8, 7, 2]), (5, [8, 8, 5, 4]), (9, [8, 8, 8, 1])]
    {
        let batches = batches_of_at_least(least, &lengths, 8, 3, 0).unwrap();
        let mut found: Vec<usize> = batches.iter().map(Vec::len).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(found, sizes, "at least {least}");
        let mut all = batches.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..25));
    }
}
