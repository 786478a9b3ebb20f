// Chapter 10, from text to numbers. Exercise 1: WordPiece.
//
// A model knows a fixed list of pieces, its vocabulary: common words, and parts of words down to
// single letters. A piece that continues a word begins with ##. WordPiece splits a word greedily:
// take the longest piece that the rest of the word begins with, go on behind it, until the word is
// used up.
//
//     "charging", with "charg", "char", "##ging", "##ing", "##g":  charg ##ing
//
// If at some place no piece fits, the whole word becomes [UNK], not only its rest.
//
// A place in a Rust string is a number of bytes, and a letter may have several: ß has two. A slice
// that cuts a letter in two is a panic; `word.is_char_boundary(at)` tells.
//
// Paper: Wu et al., arXiv:1609.08144; BERT's own code, tokenization.py. Read:
// models/src/tokenizer/wordpiece.rs learns a vocabulary; splitting is done by the `tokenizers` crate.

use std::collections::HashSet;

/// The pieces of a word.
fn wordpiece(word: &str, vocabulary: &HashSet<String>) -> Vec<String> {
    // TODO: the longest piece that the rest of the word begins with, again and again.
    todo!("the pieces of {word}")
}

fn main() {
    let vocabulary = ["charg", "char", "##ging", "##ing", "##g", "##e"].map(String::from);
    let vocabulary = HashSet::from(vocabulary);
    for word in ["charging", "charge", "char", "charm"] {
        println!("{word}: {}", wordpiece(word, &vocabulary).join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::models::Tokenizer;

    /// A vocabulary that the engine learns from a few texts.
    fn tokenizer() -> Tokenizer {
        let texts = ["the charge on the card", "charging the cards", "he charged a fee for cash"];
        let texts = [&texts[..], &["größe und straße", "große straßen", "die größten"]].concat();
        Tokenizer::train_wordpiece(&texts, 120).unwrap()
    }

    fn beside_the_engine(words: &[&str]) {
        let tokenizer = tokenizer();
        let all = (0..tokenizer.vocab_size()).filter_map(|id| tokenizer.token(id as u32));
        let vocabulary: HashSet<String> = all.collect();
        for word in words {
            let tokens = tokenizer.encode(word, None, 512).unwrap().tokens;
            let expected = &tokens[1..tokens.len() - 1]; // without [CLS] and [SEP]
            let yours = wordpiece(word, &vocabulary);
            check::same(&format!("the pieces of {word}"), word, &yours, expected);
        }
    }

    #[test]
    fn a_small_vocabulary() {
        let vocabulary =
            HashSet::from(["charg", "char", "##ging", "##ing", "##g"].map(String::from));
        let yours = wordpiece("charging", &vocabulary);
        check::same(
            "the pieces of charging",
            "charging",
            &yours,
            &["charg", "##ing"].map(String::from),
        );
    }

    #[test]
    fn words_of_the_texts() {
        beside_the_engine(&["the", "charge", "charging", "cards", "fee"]);
    }

    #[test]
    fn new_words() {
        beside_the_engine(&["charger", "cardcharge", "feed", "hearth", "aaaa"]);
    }

    #[test]
    fn letters_of_several_bytes() {
        beside_the_engine(&["straße", "straßenkarte", "ß", "tß"]);
    }

    #[test]
    fn a_letter_that_nobody_knows() {
        beside_the_engine(&["card€", "€", "qqq"]);
    }
}
