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
    let epoch = |seed, epoch| shuffled_batches(500, 4, seed, epoch).unwrap();
    assert_eq!(epoch(1, 2), epoch(1, 2));
    assert_ne!(epoch(1, 2), epoch(1, 3));
    assert_ne!(epoch(1, 2), epoch(2, 2));
    // The numbers themselves are fixed: a resumed run must see the batches of the run it resumes.
    let mut order: Vec<usize> = (0..8).collect();
    shuffle(&mut order, 42, 7);
    assert_eq!(order, FIXED);
}

const FIXED: [usize; 8] = [3, 1, 5, 7, 2, 0, 6, 4];

/// A batch is a fair sample: its mean is near that of all examples, and examples that are neighbours
/// in the data are in no batch together more often than by chance.
#[test]
fn a_batch_is_a_sample_of_all() {
    let batches = shuffled_batches(3200, 32, 0, 0).unwrap();
    let mean = |batch: &Vec<usize>| batch.iter().sum::<usize>() as f64 / 32.0;
    // The mean of 32 of 3,200 numbers deviates by 163; none of 100 batches by four times that.
    assert!(batches.iter().all(|batch| (mean(batch) - 1599.5).abs() < 652.0));
    let neighbours =
        |batch: &Vec<usize>| batch.iter().filter(|i| batch.contains(&(**i + 1))).count();
    let all: usize = batches.iter().map(neighbours).sum();
    assert!(all < 64, "{all} neighbours share a batch, by chance about 31");
}

proptest! {
    #[test]
    fn every_example_occurs_once(
        lengths in prop::collection::vec(1usize..60, 0..300), size in 1usize..20, seed: u64, epoch in 0u64..9
    ) {
        for batches in [shuffled_batches(lengths.len(), size, seed, epoch).unwrap(), sorted_batches(&lengths, size).unwrap()] {
            prop_assert!(batches.iter().all(|b| !b.is_empty() && b.len() <= size));
            prop_assert_eq!(batches.len(), lengths.len().div_ceil(size));
            let results: Vec<usize> = batches.iter().flatten().copied().collect();
            prop_assert_eq!(restore_order(&batches, results).unwrap(), (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn arguments_out_of_range_are_errors() {
    assert!(shuffled_batches(1, 0, 0, 0).is_err());
    assert!(sorted_batches(&[1], 0).is_err());
    assert!(restore_order(&[vec![0, 1]], vec![1]).is_err());
    assert!(restore_order(&[vec![0, 0]], vec![1, 2]).is_err());
    assert!(shuffled_batches(2, usize::MAX, 0, 0).is_ok());
    assert!(shuffled_batches(0, 3, 0, u64::MAX).unwrap().is_empty());
}

#[test]
fn a_short_batch_gets_examples_of_another() {
    for (least, sizes) in
        [(1, [8, 8, 8, 1]), (2, [8, 8, 7, 2]), (5, [8, 8, 5, 4]), (9, [8, 8, 8, 1])]
    {
        let batches = batches_of_at_least(least, 25, 8, 3, 0).unwrap();
        let mut found: Vec<usize> = batches.iter().map(Vec::len).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(found, sizes, "at least {least}");
        let mut all = batches.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..25));
    }
}
