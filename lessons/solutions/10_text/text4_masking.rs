// Chapter 10, from text to numbers. Exercise 4: masks, 80/10/10.
//
// BERT learns by filling gaps. Of a text's tokens 15% are picked, and the model must guess what stood
// there. Of the picked ones
//
//     80% become [MASK],
//     10% become a random token,
//     10% stay as they are:
//
// otherwise the model would learn nothing about texts without [MASK], and no other text is ever asked
// of it later. Tokens such as [CLS] and [SEP] are never picked.
//
// The random numbers come from `draw(place, which)`, uniform in [0, 1). It is a function of the place
// alone, so the same seed always gives the same masks. The convention, which is the engine's:
//
//     draw(place, 0) < 0.15        the token is picked
//     draw(place, 1) < 0.8         it becomes the mask; from 0.8 to 0.9 a random token; else it stays
//     draw(place, 2)·vocab_size    the random token, rounded down
//
// Paper: Devlin et al., arXiv:1810.04805, section 3.1. Read: models/src/masking.rs, `mask_tokens`.

/// The result: the changed ids, the places to guess, and what stood there.
#[derive(Debug, Default, PartialEq)]
struct Masked {
    ids: Vec<u32>,
    positions: Vec<u32>,
    labels: Vec<u32>,
}

/// Masks `ids`; `special` says which tokens are never picked.
fn mask(
    ids: &[u32],
    special: &[bool],
    draw: impl Fn(usize, usize) -> f64,
    mask_id: u32,
    vocab_size: u32,
) -> Masked {
    let mut masked = Masked { ids: ids.to_vec(), ..Masked::default() };
    for place in 0..ids.len() {
        if special[place] || draw(place, 0) >= 0.15 {
            continue;
        }
        masked.positions.push(place as u32);
        masked.labels.push(ids[place]);
        let kind = draw(place, 1);
        if kind < 0.8 {
            masked.ids[place] = mask_id;
        } else if kind < 0.9 {
            masked.ids[place] = (draw(place, 2) * f64::from(vocab_size)) as u32;
        }
    }
    masked
}

fn main() {
    let draw = |place: usize, which: usize| (place * 7 + which * 3) as f64 * 0.618 % 1.0;
    println!("{:?}", mask(&[10, 11, 12, 13, 14, 15, 16, 17], &[false; 8], draw, 3, 100));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::models::masking::{Masking, Piece, mask_tokens};
    use gradus::prelude::*;

    const MASK: u32 = 3;
    const VOCABULARY: u32 = 1000;

    /// The engine's random numbers.
    fn draw(seed: u64, step: u64) -> impl Fn(usize, usize) -> f64 {
        let key = RngKey::new(seed).place("masks").step(step);
        move |place, which| f64::from(key.block([place as u32, 0, 0, 0])[which]) / 2f64.powi(32)
    }

    /// A text of `n` tokens that begins with [CLS] and ends with [SEP].
    fn text(n: usize) -> (Vec<u32>, Vec<bool>) {
        let ids = (0..n).map(|i| 100 + (i * 37 % 800) as u32).collect();
        (ids, (0..n).map(|i| i == 0 || i == n - 1).collect())
    }

    fn beside_the_engine(n: usize, step: u64) {
        let (ids, special) = text(n);
        let piece = |&special: &bool| if special { Piece::Special } else { Piece::First };
        let pieces: Vec<Piece> = special.iter().map(piece).collect();
        let masking = Masking {
            vocab_size: VOCABULARY as usize,
            mask_id: MASK,
            probability: 0.15,
            whole_words: false,
            seed: 9,
        };
        let expected = mask_tokens(&ids, &pieces, &masking, step).unwrap();
        let draw = draw(9, step);
        let yours = mask(&ids, &special, &draw, MASK, VOCABULARY);
        let shown: Vec<String> = (expected.positions.iter().map(|&at| at as usize))
            .map(|at| format!("{at}: {:.3} {:.3} {:.3}", draw(at, 0), draw(at, 1), draw(at, 2)))
            .collect();
        let shown = shown.join(", ");
        let input = format!("ids {ids:?}\nthe three draws of each token to be picked: {shown}");
        check::same("the places that are picked", &input, &yours.positions, &expected.positions);
        check::same("what stood there", &input, &yours.labels, &expected.labels);
        check::same("the masked ids", &input, &yours.ids, &expected.ids);
    }

    #[test]
    fn agrees_with_the_engine() {
        (0..4).for_each(|step| beside_the_engine(40, step));
    }

    #[test]
    fn special_tokens_are_never_picked() {
        let masked = mask(&[1, 50, 2], &[true, false, true], |_, _| 0.0, MASK, VOCABULARY);
        let expected = Masked { ids: vec![1, MASK, 2], positions: vec![1], labels: vec![50] };
        check::same("the result", "ids [1, 50, 2], every draw 0", &[masked], &[expected]);
    }

    #[test]
    fn the_shares_are_right() {
        let (ids, special) = text(40_000);
        let masked = mask(&ids, &special, draw(1, 0), MASK, VOCABULARY);
        let picked = masked.positions.len() as f64;
        let now = masked.positions.iter().map(|&at| masked.ids[at as usize]);
        let (mut masks, mut kept) = (0.0, 0.0);
        for (now, label) in now.zip(&masked.labels) {
            masks += f64::from(u8::from(now == MASK));
            kept += f64::from(u8::from(now == *label));
        }
        let yours = [picked / 40_000.0, masks / picked, kept / picked];
        let what = "the shares [picked of all, [MASK] of picked, kept of picked]";
        check::near(what, "40,000 tokens", &yours[..], &[0.15, 0.8, 0.1][..], 0.02);
    }
}
