//! Masked words.

use std::borrow::Borrow;

use gradus_autograd::Var;
use gradus_nn::Forward;
use gradus_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::runner::{Runner, derefs_to_runner, same_number};
use crate::folder::{Prompts, Splade};
use crate::masking::MaskedTokens;
use crate::tasks::{Guess, guesses};
use crate::tokenizer::{Piece, trimmed};
use crate::{
    Encoder, EncoderInput, Encoding, Error, MaskedLm, ModelRef, PackedBatch, Pretrained, Result,
    Task,
};

/// A token that may stand for a mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    /// The token, as the vocabulary spells it (`##` before the continuation of a word, `Ġ` or `▁`
    /// for the space before one).
    pub token: String,
    /// The token as text, with the space before it where it has one: `token_str` of `transformers`.
    pub token_str: String,
    /// Its id.
    pub id: u32,
    /// Its probability among all tokens.
    pub score: f32,
    /// The text with this token in the place of this mask; other masks stay.
    pub sequence: String,
}

/// Texts with masks to the words that fill them.
pub struct FillMask {
    runner: Runner,
    model: MaskedLm,
    mask_id: u32,
    mask: String,
    pub(super) splade: Splade,
    is_sparse: bool,
    /// The folder's prompts for sparse vectors.
    prompts: Prompts,
}

derefs_to_runner!(FillMask);

impl FillMask {
    /// Opens a model folder or a hub id.
    ///
    /// # Errors
    /// When the model cannot be opened, its tokenizer has no mask token, or it lacks parameters
    /// ([`Error::MissingHead`] for the head's).
    pub fn open<'m>(model: impl Into<ModelRef<'m>>) -> Result<Self> {
        Self::of(Pretrained::open(model)?)
    }

    pub(super) fn of(pretrained: Pretrained) -> Result<Self> {
        pretrained.check_decoder()?;
        let (runner, splade, prompts) = match pretrained.is_sparse()? {
            true => {
                let (runner, sentence) = Runner::with_sentence(pretrained)?;
                (runner, sentence.splade, sentence.prompts)
            }
            false => (Runner::new(pretrained), None, Prompts::default()),
        };
        let (is_sparse, splade) = (splade.is_some(), splade.unwrap_or_default());
        let mask_id = runner.tokenizer.mask_id();
        let Some((mask_id, mask)) = mask_id.and_then(|id| Some((id, runner.tokenizer.token(id)?)))
        else {
            return Err(Error::tokenizer(
                &runner.folder,
                "the tokenizer has no mask token; the model cannot fill masks",
            ));
        };
        let model = MaskedLm::new(&runner.store().root(), &runner.config)?;
        runner.complete(Task::FillMask)?;
        Ok(FillMask { runner, model, mask_id, mask, splade, is_sparse, prompts })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        self.model.encoder()
    }

    /// The logits of all tokens of a batch: tokens × vocabulary.
    pub(super) fn all_logits(&self, input: &EncoderInput, packed: &PackedBatch) -> Result<Var> {
        let positions: Vec<u32> = (0..packed.ids.len() as u32).collect();
        self.output(input, &positions)
    }

    /// Whether the folder is a sparse encoder of sentence-transformers.
    pub fn is_sparse(&self) -> bool {
        self.is_sparse
    }

    /// The prompts that the folder of a sparse encoder names.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    pub(super) fn mask_id(&self) -> u32 {
        self.mask_id
    }

    /// The id of a word that a mask may stand for.
    ///
    /// # Errors
    /// When the word has more than one token.
    pub(super) fn token_of(&self, word: &str) -> Result<u32> {
        let tokenizer = &self.runner.tokenizer;
        // A word that follows another begins with its blank in some vocabularies.
        let blank = if tokenizer.takes_space(self.mask_id) { " " } else { "" };
        let encoding = tokenizer.encode(&format!("{blank}{word}"), None, usize::MAX)?;
        let own = encoding.ids.iter().zip(&encoding.special).filter(|(_, special)| !**special);
        match own.map(|(&id, _)| id).collect::<Vec<_>>()[..] {
            [id] => Ok(id),
            ref ids => Err(Error::Input(format!(
                "the word {word:?} has {} tokens, and a mask stands for one",
                ids.len()
            ))),
        }
    }

    /// The token to write where a word is missing: `[MASK]`.
    pub fn mask(&self) -> &str {
        &self.mask
    }

    /// What the model says of each masked token of some blocks, in their order; see
    /// [`Masked::set`](crate::tasks::Masked::set).
    ///
    /// # Errors
    /// When a block is too long for the model, or an output is not a number.
    pub fn guess(&self, blocks: &[MaskedTokens]) -> Result<Vec<Guess>> {
        let encoding = |block: &MaskedTokens| Encoding {
            type_ids: vec![0; block.ids.len()],
            ids: block.ids.clone(),
            ..Encoding::default()
        };
        let encodings: Vec<Encoding> = blocks.iter().map(encoding).collect();
        let found = self.runner.run(&encodings, |input, packed, batch| {
            let chosen: Vec<&MaskedTokens> = batch.iter().map(|&i| &blocks[i]).collect();
            let read = |tensor: &Tensor| self.runner.numbers(tensor);
            guesses(&self.model, &chosen, (input, packed), read)
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The `top_k` most probable tokens for each mask of the text, in the order of the masks.
    ///
    /// # Errors
    /// As [`FillMask::fill_all`].
    pub fn fill(&self, text: &str, top_k: usize) -> Result<Vec<Vec<Fill>>> {
        Ok(self.fill_all(&[text], top_k)?.pop().unwrap_or_default())
    }

    /// As [`FillMask::fill`], for many texts at once.
    ///
    /// # Errors
    /// When a text has no mask, or only beyond the maximum length; when an output is not a number
    /// (the error names the weight to blame).
    pub fn fill_all<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        top_k: usize,
    ) -> Result<Vec<Vec<Vec<Fill>>>> {
        let pairs: Vec<(&str, Option<&str>)> = texts.iter().map(|t| (t.as_ref(), None)).collect();
        let encodings = self.runner.encode(&pairs)?;
        let texts: Vec<&str> = texts.iter().map(S::as_ref).collect();
        self.fill_encoded(&texts, &encodings, top_k)
    }

    /// As [`FillMask::fill_all`], for texts that are encoded already.
    ///
    /// # Errors
    /// As [`FillMask::fill_all`]; also when there is not one encoding for each text.
    pub fn fill_encoded<E: Borrow<Encoding> + Sync>(
        &self,
        texts: &[&str],
        encodings: &[E],
        top_k: usize,
    ) -> Result<Vec<Vec<Vec<Fill>>>> {
        self.check_all(texts, encodings)?;
        let vocab = self.runner.config.vocab_size;
        self.runner.run(encodings, |input, packed, batch| {
            let scores = self.probabilities(input, packed)?;
            let (scores, ids) = scores.topk(top_k.clamp(1, vocab), -1, true)?;
            let width = scores.size(-1)?;
            let (scores, ids) = (self.runner.numbers(&scores)?, ids.to_vec::<u32>()?);
            let mut masks = ids.chunks(width).zip(scores.chunks(width));
            let fills = batch.iter().map(|&i| {
                let encoding = encodings[i].borrow();
                let places = encoding.ids.iter().zip(&encoding.offsets);
                places
                    .filter(|&(&id, _)| id == self.mask_id)
                    .zip(&mut masks)
                    .map(|((_, &place), (ids, scores))| {
                        let text = texts[i];
                        ids.iter()
                            .zip(scores)
                            .map(|(&id, &s)| self.one(text, place, id, s))
                            .collect()
                    })
                    .collect()
            });
            Ok(fills.collect())
        })
    }

    /// Only the tokens of `targets` for each mask, the most probable first; `targets` has the ids
    /// for each text. The scores stay probabilities among all tokens, as those of `targets` in
    /// `transformers` do.
    ///
    /// # Errors
    /// As [`FillMask::fill_encoded`]; also when there are no targets for a text, or an id is not in
    /// the vocabulary.
    pub fn fill_targets<E: Borrow<Encoding> + Sync>(
        &self,
        texts: &[&str],
        encodings: &[E],
        targets: &[&[u32]],
    ) -> Result<Vec<Vec<Vec<Fill>>>> {
        self.check_all(texts, encodings)?;
        same_number(texts, targets)?;
        let vocab = self.runner.config.vocab_size;
        if targets.iter().any(|ids| ids.is_empty() || ids.iter().any(|&id| id as usize >= vocab)) {
            let message = format!(
                "the targets must be ids of the vocabulary of {vocab}, one or more for each text"
            );
            return Err(Error::Input(message));
        }
        self.runner.run(encodings, |input, packed, batch| {
            let scores = self.runner.numbers(&self.probabilities(input, packed)?)?;
            let mut rows = scores.chunks(vocab);
            let fills = batch.iter().map(|&i| {
                let encoding = encodings[i].borrow();
                let places = encoding.ids.iter().zip(&encoding.offsets);
                let masks = places.filter(|&(&id, _)| id == self.mask_id).zip(&mut rows);
                let best = |row: &[f32], place: (usize, usize)| {
                    let mut ids = targets[i].to_vec();
                    ids.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
                    ids.iter().map(|&id| self.one(texts[i], place, id, row[id as usize])).collect()
                };
                masks.map(|((_, &place), row)| best(row, place)).collect()
            });
            Ok(fills.collect())
        })
    }

    /// The probabilities of all tokens for each mask of a batch: masks × vocabulary.
    fn probabilities(&self, input: &EncoderInput, packed: &PackedBatch) -> Result<Tensor> {
        let is_mask = |&(_, &id): &(u32, &u32)| id == self.mask_id;
        let positions: Vec<u32> =
            (0..).zip(&packed.ids).filter(is_mask).map(|(at, _)| at).collect();
        Ok(self.output(input, &positions)?.tensor().softmax(-1)?)
    }

    /// The logits of the tokens at these places of a batch, with their places in the graph.
    pub(super) fn output(&self, input: &EncoderInput, positions: &[u32]) -> Result<Var> {
        let at = Tensor::from_slice(positions, &[positions.len()])?;
        let at = at.to_device(self.runner.device())?;
        self.model.forward(input, &at, &Forward::inference())
    }

    /// Checks that there is an encoding for each text, and a mask in each.
    fn check_all<E: Borrow<Encoding>>(&self, texts: &[&str], encodings: &[E]) -> Result<()> {
        same_number(texts, encodings)?;
        texts.iter().zip(encodings).try_for_each(|(text, e)| self.check(text, e.borrow()))
    }

    fn one(&self, text: &str, place: (usize, usize), id: u32, score: f32) -> Fill {
        let tokenizer = &self.runner.tokenizer;
        let token = tokenizer.token(id).unwrap_or_default();
        let token_str = tokenizer.decode(&[id], false).unwrap_or_else(|_| token.clone());
        let takes_space = tokenizer.takes_space(self.mask_id);
        // A special token stands for no text, as in `transformers`.
        let sequence = match tokenizer.decode(&[id], true).is_ok_and(|text| text.is_empty()) {
            true => filled(text, place, &Piece::Continuation(String::new()), takes_space),
            false => filled(text, place, &tokenizer.piece(id), takes_space),
        };
        Fill { token, token_str, id, score, sequence }
    }

    /// Checks that a text has a mask among the tokens that the model reads.
    ///
    /// # Errors
    /// When it has none, or only beyond the maximum length.
    pub fn check(&self, text: &str, encoding: &Encoding) -> Result<()> {
        if encoding.ids.contains(&self.mask_id) {
            return Ok(());
        }
        let mask = &self.mask;
        Err(Error::Input(match encoding.truncated && text.contains(mask.as_str()) {
            true => format!(
                "{mask} stands after the first {} tokens of the text, and the model reads no \
                 more; shorten the text",
                self.runner.max_length()
            ),
            false => format!(
                "no {mask} in the text: {:?}; write {mask} where the word is missing",
                beginning(text)
            ),
        }))
    }
}

/// The text with a piece in the place of a mask. A continuation (`##ing`) joins the word before it;
/// so does a piece without a space where the mask `takes_space` before it.
fn filled(text: &str, place: (usize, usize), piece: &Piece, takes_space: bool) -> String {
    let place = trimmed(text, place);
    let before = text.get(..place.start).unwrap_or_default();
    let after = text.get(place.end..).unwrap_or_default();
    match piece {
        Piece::Word(word) => format!("{before}{word}{after}"),
        Piece::Continuation(rest) => format!("{}{rest}{after}", before.trim_end()),
        Piece::Exact(piece) if takes_space => format!("{}{piece}{after}", before.trim_end()),
        Piece::Exact(piece) => match before.ends_with(char::is_whitespace) {
            true => format!("{before}{}{after}", piece.trim_start()),
            false => format!("{before}{piece}{after}"),
        },
    }
}

/// The first characters of a text, for an error message.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_replaced_in_its_place() {
        let word = |word: &str| Piece::Word(word.into());
        let rest = |rest: &str| Piece::Continuation(rest.into());
        assert_eq!(filled("Ä [MASK], b", (3, 9), &word("dog"), false), "Ä dog, b");
        assert_eq!(filled("Ä <mask>, b", (2, 9), &word("dog"), true), "Ä dog, b");
        assert_eq!(filled("walk [MASK].", (5, 11), &rest("ing"), false), "walking.");
        assert_eq!(filled("[MASK]", (0, 6), &rest("ing"), false), "ing");
        let exact = |text: &str, takes_space| {
            filled("a <mask>.", (2, 8), &Piece::Exact(text.into()), takes_space)
        };
        assert_eq!([exact(" dog", true), exact("dog", true)], ["a dog.", "adog."]);
        assert_eq!([exact(" dog", false), exact("dog", false)], ["a dog.", "a dog."]);
    }

    #[test]
    fn long_texts_are_shortened_between_characters() {
        assert_eq!(beginning("short"), "short");
        assert_eq!(beginning(&"é".repeat(100)), format!("{}…", "é".repeat(60)));
    }
}
