//! The batches of a step, cut smaller where the memory is short.

use gradus_tensor::ErrorKind;

use crate::Error;

/// A batch of a step, or a piece of one.
pub(super) struct Piece {
    /// The examples.
    pub examples: Vec<usize>,
    /// The batch of the step, from 0.
    pub batch: u64,
    /// The piece of the batch, from 0.
    pub piece: u64,
}

impl Piece {
    /// The stream of random numbers of this piece in a step whose first batch has the stream
    /// `first`: the first piece of a batch has the batch's own.
    pub fn stream(&self, first: u64) -> u64 {
        first + self.batch + (self.piece << 40)
    }
}

/// Cuts batches into pieces of at most `limit` tokens, an example at least. Without a limit each
/// batch is one piece.
pub(super) fn pieces(
    batches: &[Vec<usize>],
    lengths: &[usize],
    limit: Option<usize>,
) -> Vec<Piece> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for (batch, examples) in (0..).zip(batches) {
        let (mut piece, mut tokens) = (0, 0);
        let mut held = Vec::new();
        for &example in examples {
            if !held.is_empty() && tokens + lengths[example] > limit {
                all.push(Piece { examples: std::mem::take(&mut held), batch, piece });
                (piece, tokens) = (piece + 1, 0);
            }
            held.push(example);
            tokens += lengths[example];
        }
        all.push(Piece { examples: held, batch, piece });
    }
    all
}

/// Half the tokens of the largest piece that has several examples: the limit to try after one that
/// did not fit. `None` where no piece can be cut.
pub(super) fn smaller(pieces: &[Piece], lengths: &[usize]) -> Option<usize> {
    let several = pieces.iter().filter(|piece| piece.examples.len() > 1);
    let tokens = several.map(|piece| piece.examples.iter().map(|&i| lengths[i]).sum::<usize>());
    Some(tokens.max()?.div_ceil(2))
}

/// Whether an error says that the memory is exhausted.
pub(super) fn is_exhausted(error: &Error) -> bool {
    matches!(error, Error::Tensor(error) if error.kind() == ErrorKind::OutOfMemory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(batches: &[Vec<usize>], lengths: &[usize], limit: Option<usize>) -> Vec<Vec<usize>> {
        pieces(batches, lengths, limit).into_iter().map(|piece| piece.examples).collect()
    }

    #[test]
    fn pieces_hold_every_example_once_in_order() {
        let batches = [vec![0, 1, 2, 3], vec![4, 5]];
        let lengths = [3, 3, 3, 9, 1, 1];
        assert_eq!(cut(&batches, &lengths, None), batches);
        assert_eq!(cut(&batches, &lengths, Some(6)), [vec![0, 1], vec![2], vec![3], vec![4, 5]]);
        assert_eq!(cut(&batches, &lengths, Some(1)).len(), 6);
    }

    #[test]
    fn every_piece_has_its_own_stream() {
        let batches = [vec![0, 1], vec![2, 3]];
        let streams: Vec<u64> =
            pieces(&batches, &[1; 4], Some(1)).iter().map(|piece| piece.stream(10)).collect();
        assert_eq!(streams, [10, 10 + (1 << 40), 11, 11 + (1 << 40)]);
    }

    #[test]
    fn the_limit_halves_until_each_example_is_alone() {
        let batches = [vec![0, 1, 2, 3], vec![4]];
        let lengths = [3, 3, 3, 3, 50];
        let (mut limit, mut limits) = (None, Vec::new());
        while let Some(next) = smaller(&pieces(&batches, &lengths, limit), &lengths) {
            limit = Some(next);
            limits.push(next);
        }
        assert_eq!(limits, [6, 3]);
    }
}
