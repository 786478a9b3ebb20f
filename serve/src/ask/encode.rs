//! Inputs as sequences of tokens.

use gradus_models::Encoding;
use gradus_models::tokenizer::Side;

use crate::error::{Kind, Problem, Result};
use crate::pipeline::{Pipeline, Sequence, Task, View, Want};
use crate::question::{EncodeOptions, Text};
use crate::served::Served;

/// Most numbers of an answer with attention. Their count grows with the square of the tokens.
pub const MAX_ATTENTION: usize = 1 << 20;

impl Served {
    /// Encodes an input.
    ///
    /// # Errors
    /// When it is empty, too long although it must not be cut, or does not suit this model.
    pub fn sequence(&self, text: Text, options: &EncodeOptions, want: Want) -> Result<Sequence> {
        let pipeline = self.pipeline();
        let prompt = match want {
            // Prompts are for vectors.
            Want::Fills(_) | Want::Targets(_) if options.prompt.is_none() => None,
            _ => self.prompt(options)?,
        };
        if matches!(text, Text::Pair(..)) {
            self.check_pair(options, &want)?;
        }
        let side = if options.left { Side::Left } else { pipeline.tokenizer().side() };
        let (text, mut encoding) = self.encoded(text, prompt, side)?;
        // A text that is cut at its beginning has lost its prompt first.
        if let (Pipeline::Embed(p), Some(prompt)) = (pipeline, prompt)
            && !(encoding.truncated && side == Side::Left)
        {
            encoding.prompt = p.prompt_tokens(prompt).map_err(|e| Problem::of_input(&e))?;
        }
        self.fit(&mut encoding, side, options.truncate)?;
        if let Want::Attention(view) = want {
            self.check_view(view, encoding.len())?;
        } else if let (Pipeline::FillMask(p), Want::Fills(_) | Want::Targets(_)) = (pipeline, &want)
        {
            p.check(&text, &encoding).map_err(|e| Problem::of_input(&e))?;
        }
        let text = match &want {
            Want::Fills(_) | Want::Targets(_) | Want::Tags(_) | Want::Attention(_) => text,
            // These answers do not need the text, which may have megabytes and wait long.
            Want::Vector | Want::States | Want::Logits | Want::Sparse => String::new(),
        };
        Ok(Sequence { text, encoding, want })
    }

    /// Refuses a pair of texts where the model takes single texts.
    fn check_pair(&self, options: &EncodeOptions, want: &Want) -> Result<()> {
        if options.prompt.is_some() {
            let message = "goes before a single text; send no prompt with a pair";
            return Err(Problem::field("prompt_name", message));
        }
        match (self.task(), want) {
            (Task::Classify, _) | (_, Want::Attention(_)) => Ok(()),
            (task, _) => Err(Problem::invalid(format!(
                "the request has pairs of texts (text_pair), but the model `{}`, for {}, takes \
                 single texts",
                self.name,
                task.name()
            ))),
        }
    }

    /// The text (the first of a pair) with its prompt, and the tokens.
    fn encoded(&self, text: Text, prompt: Option<&str>, side: Side) -> Result<(String, Encoding)> {
        let (tokenizer, most) = (self.pipeline().tokenizer(), self.pipeline().max_length());
        // `encode_cut` reads no more of a long text than it keeps.
        let encode = |text: &str, pair: Option<&str>| {
            let encoded = tokenizer.encode_cut(text, pair, most, side);
            encoded.map_err(|e| Problem::invalid(format!("the text cannot be encoded: {e}")))
        };
        let text = match (text, prompt) {
            (Text::Pair(a, b), _) => {
                let encoding = encode(&a, Some(&b))?;
                return Ok((a, encoding));
            }
            (Text::Ids(ids), None) => return Ok((String::new(), self.encode_ids(ids)?)),
            (Text::Plain(text), None) => text,
            (Text::Plain(text), Some(prompt)) => format!("{prompt}{text}"),
            // A prompt goes before a text, so the ids become a text again.
            (Text::Ids(ids), Some(prompt)) => {
                self.check_ids(&ids)?;
                let text = tokenizer.decode(&ids, true);
                format!("{prompt}{}", text.map_err(|e| Problem::invalid(e.to_string()))?)
            }
        };
        let encoding = encode(&text, None)?;
        Ok((text, encoding))
    }

    /// Cuts a sequence to the length that the model takes, or refuses it.
    fn fit(&self, encoding: &mut Encoding, side: Side, truncate: bool) -> Result<()> {
        let most = self.pipeline().max_length();
        let too_long = encoding.truncated || encoding.len() > most;
        if too_long && !truncate {
            let message = format!(
                "an input has too many tokens: the model `{}` takes at most {most}; shorten it, \
                 or ask for truncation",
                self.name
            );
            return Err(Problem::new(Kind::TooLong, message));
        }
        // Texts have been cut already.
        if encoding.len() > most {
            cut(encoding, most, side);
        }
        Ok(())
    }

    /// Refuses a layer or a head that the model lacks, and an answer of too many numbers.
    fn check_view(&self, view: View, tokens: usize) -> Result<()> {
        let config = self.pipeline().config();
        let all = [
            ("layer", view.layer, config.num_hidden_layers),
            ("head", view.head, config.num_attention_heads),
        ];
        if let Some((name, Some(wanted), has)) =
            all.into_iter().find(|(_, wanted, has)| wanted.is_some_and(|n| n >= *has))
        {
            let message = format!("is {wanted}; the model has {name}s 0 to {}", has - 1);
            return Err(Problem::field(name, message));
        }
        let layers = view.layers(config.num_hidden_layers).len();
        let heads = view.heads(config.num_attention_heads).len();
        let numbers = layers.saturating_mul(heads).saturating_mul(tokens.saturating_mul(tokens));
        match numbers <= MAX_ATTENTION {
            true => Ok(()),
            false => Err(Problem::new(
                Kind::TooLong,
                format!(
                    "the attention of {layers} layers with {heads} heads over {tokens} tokens has {numbers} numbers; \
                     at most {MAX_ATTENTION} are sent: ask for a `layer`, for a `head` too, or shorten the text"
                ),
            )),
        }
    }

    /// The prompt that goes before each text: the requested one, otherwise the model's default.
    ///
    /// # Errors
    /// When the model has no such prompt.
    pub fn prompt(&self, options: &EncodeOptions) -> Result<Option<&str>> {
        let prompt = self.prompts.get(options.prompt.as_deref());
        prompt.map_err(|message| {
            let message: String = message.chars().take(400).collect();
            Problem::field("prompt_name", message)
        })
    }

    /// Checks that token ids are in the vocabulary.
    ///
    /// # Errors
    /// When one is not.
    pub fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let vocab = self.pipeline().config().vocab_size;
        match ids.iter().find(|&&id| id as usize >= vocab) {
            None => Ok(()),
            Some(id) => Err(Problem::invalid(format!(
                "the token id {id} is outside the vocabulary of {vocab} of the model `{}`; send the text instead",
                self.name
            ))),
        }
    }

    /// Token ids as a sequence. Missing special ones are added.
    fn encode_ids(&self, mut ids: Vec<u32>) -> Result<Encoding> {
        self.check_ids(&ids)?;
        let tokenizer = self.pipeline().tokenizer();
        if let (Some(cls), Some(sep)) = (tokenizer.cls_id(), tokenizer.sep_id()) {
            if ids.first() != Some(&cls) {
                ids.insert(0, cls);
            }
            if ids.last() != Some(&sep) || ids.len() == 1 {
                ids.push(sep);
            }
        }
        let count = ids.len();
        let special = |id: &u32| Some(*id) == tokenizer.cls_id() || Some(*id) == tokenizer.sep_id();
        Ok(Encoding {
            type_ids: vec![0; count],
            offsets: vec![(0, 0); count],
            tokens: ids.iter().map(|&id| tokenizer.token(id).unwrap_or_default()).collect(),
            words: vec![None; count],
            special: ids.iter().map(special).collect(),
            truncated: false,
            prompt: 0,
            ids,
        })
    }
}

/// Cuts a sequence of ids to `most` tokens, at its beginning or its end. Special tokens at both
/// ends stay.
fn cut(encoding: &mut Encoding, most: usize, side: Side) {
    let length = encoding.len();
    let head = encoding.special.iter().take_while(|&&special| special).count();
    let tail = encoding.special.iter().rev().take_while(|&&special| special).count();
    let extra = length.saturating_sub(most);
    let from = if side == Side::Left { head } else { length.saturating_sub(tail + extra) };
    let range = from..(from + extra).min(length);
    encoding.ids.drain(range.clone());
    encoding.type_ids.drain(range.clone());
    encoding.offsets.drain(range.clone());
    encoding.tokens.drain(range.clone());
    encoding.words.drain(range.clone());
    encoding.special.drain(range);
    encoding.truncated = true;
}
