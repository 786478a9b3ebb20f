use proptest::prelude::*;

use super::*;

fn masking(vocab_size: usize, mask_id: u32, probability: f64, seed: u64) -> Masking {
    Masking { vocab_size, mask_id, probability, whole_words: false, seed }
}

const PIECES: [Piece; 3] = [Piece::First, Piece::Later, Piece::Special];

proptest! {
    #[test]
    fn masking_keeps_what_it_must(
        tokens in prop::collection::vec((0u32..50, 0usize..3), 0..200), p in 0.0f64..=1.0,
        seed: u64, step: u64, whole_words: bool
    ) {
        let ids: Vec<u32> = tokens.iter().map(|token| token.0).collect();
        let pieces: Vec<Piece> = tokens.iter().map(|token| PIECES[token.1]).collect();
        let masking = Masking { whole_words, ..masking(50, 4, p, seed) };
        let masked = mask_tokens(&ids, &pieces, &masking, step).unwrap();
        prop_assert_eq!(&masked, &mask_tokens(&ids, &pieces, &masking, step).unwrap());
        let special = |i: usize| pieces[i] == Piece::Special;
        prop_assert_eq!(masked.positions.is_empty(), (0..ids.len()).all(special));
        prop_assert!(masked.positions.is_sorted_by(|a, b| a < b));
        for (&at, &label) in masked.positions.iter().zip(&masked.labels) {
            prop_assert!(!special(at as usize));
            prop_assert_eq!(label, ids[at as usize]);
        }
        for (i, (&before, &after)) in ids.iter().zip(&masked.ids).enumerate() {
            prop_assert!(after < 50);
            prop_assert!(before == after || masked.positions.contains(&(i as u32)));
        }
    }
}

#[test]
fn masking_has_the_rates_of_the_paper() {
    let n = 200_000;
    let (ids, pieces) = (vec![7; n], vec![Piece::First; n]);
    let masked = mask_tokens(&ids, &pieces, &masking(30_000, 4, 0.15, 3), 9).unwrap();
    let picked = masked.positions.len() as f64;
    let share = |test: &dyn Fn(u32) -> bool| {
        masked.positions.iter().filter(|&&i| test(masked.ids[i as usize])).count() as f64 / picked
    };
    assert!((picked / n as f64 - 0.15).abs() < 0.003, "{picked}");
    assert!((share(&|id| id == 4) - 0.8).abs() < 0.01);
    assert!((share(&|id| id == 7) - 0.1).abs() < 0.01);
    let distinct: std::collections::BTreeSet<u32> = masked.ids.iter().copied().collect();
    assert!(distinct.len() > 2000, "random ids must come from the whole vocabulary");
    let other = mask_tokens(&ids, &pieces, &masking(30_000, 4, 0.15, 3), 10).unwrap();
    assert_ne!(masked.positions, other.positions);
}

#[test]
fn arguments_out_of_range_are_errors() {
    assert!(mask_tokens(&[1], &[], &masking(9, 4, 0.15, 0), 0).is_err());
    assert!(mask_tokens(&[1], &[Piece::First], &masking(9, 9, 0.15, 0), 0).is_err());
    assert!(mask_tokens(&[1], &[Piece::First], &masking(9, 4, f64::NAN, 0), 0).is_err());
}

/// The pieces of a word are picked together, and what becomes of each is drawn for itself.
#[test]
fn whole_words() {
    let n = 60_000;
    let ids = vec![7; n];
    // Words of one, two and three pieces.
    let pieces: Vec<Piece> = (0..n)
        .map(|i| {
            [Piece::First, Piece::First, Piece::Later, Piece::First, Piece::Later, Piece::Later]
                [i % 6]
        })
        .collect();
    let masking = Masking { whole_words: true, ..masking(30_000, 4, 0.15, 3) };
    let masked = mask_tokens(&ids, &pieces, &masking, 1).unwrap();
    let picked = |i: usize| masked.positions.binary_search(&(i as u32)).is_ok();
    let mut mixed = 0;
    for i in (0..n).filter(|&i| pieces[i] == Piece::Later) {
        assert_eq!(picked(i), picked(i - 1), "place {i}");
        mixed += usize::from(picked(i) && (masked.ids[i] == 4) != (masked.ids[i - 1] == 4));
    }
    assert!(mixed > 0, "every piece of a word became the same");
    let share = masked.positions.len() as f64 / n as f64;
    assert!((share - 0.15).abs() < 0.01, "{share}");
}
