// Chapter 10, from text to numbers. Exercise 2: packing.
//
// A batch of texts is one row of tokens, end to end, without padding. Beside the ids of the tokens
// the model needs to know:
//
//     offsets       where each sequence begins, and where the last ends: [sequences + 1]
//     positions     the place of each token in its own sequence, from 0
//     sequence_ids  which sequence each token belongs to: pooling needs it
//
//     sequences [7, 8, 9], [5]:  ids [7, 8, 9, 5], offsets [0, 3, 4], positions [0, 1, 2, 0],
//                                sequence_ids [0, 0, 0, 1]
//
// Read: models/src/batch.rs, `PackedBatch::from_parts`; models/src/encoder/input.rs.

/// Sequences end to end.
#[derive(Debug, Default)]
struct Packed {
    ids: Vec<u32>,
    positions: Vec<u32>,
    sequence_ids: Vec<u32>,
    offsets: Vec<u32>,
}

fn pack(sequences: &[Vec<u32>]) -> Packed {
    // TODO: start with `Packed { offsets: vec![0], ..Packed::default() }`, then add each sequence.
    todo!("pack {} sequences", sequences.len())
}

fn main() {
    println!("{:?}", pack(&[vec![7, 8, 9], vec![5]]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::models::{EncoderConfig, PackedBatch};

    fn beside_the_engine(sequences: &[Vec<u32>]) {
        let config = EncoderConfig::new(50, 1, 8, 2, 16);
        let types = vec![0; 100];
        let parts = sequences.iter().map(|ids| (&ids[..], &types[..ids.len()]));
        let expected = PackedBatch::from_parts(parts, &config).unwrap();
        let numbers = expected.ranges().enumerate();
        let sequence_ids: Vec<u32> =
            numbers.flat_map(|(i, range)| range.map(move |_| i as u32)).collect();
        let (yours, input) = (pack(sequences), format!("{sequences:?}"));
        check::same("the ids", &input, &yours.ids, &expected.ids);
        check::same("the offsets", &input, &yours.offsets, &expected.offsets);
        check::same("the positions", &input, &yours.positions, &expected.position_ids);
        check::same("the sequence ids", &input, &yours.sequence_ids, &sequence_ids);
    }

    #[test]
    fn one_sequence() {
        beside_the_engine(&[vec![2, 7, 9, 3]]);
    }

    #[test]
    fn several_sequences() {
        beside_the_engine(&[vec![2, 7, 9, 3], vec![2, 3], vec![2, 8, 3]]);
    }

    #[test]
    fn sequences_of_one_token() {
        beside_the_engine(&[vec![5], vec![6], vec![7, 8]]);
    }

    #[test]
    fn no_sequence() {
        beside_the_engine(&[]);
    }
}
