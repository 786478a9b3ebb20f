//! Tags that a file writes as numbers.

use std::path::Path;

use super::TaggedSentence;
use crate::error::{Error, Result};

/// Puts names in the place of tags that are all numbers; the first name is that of 0.
///
/// # Errors
/// [`Error::Data`] for numbers without a name, and for names where the tags are no numbers.
pub(super) fn of_numbers(
    path: &Path,
    sentences: &mut [TaggedSentence],
    names: &[String],
) -> Result<()> {
    let mut tags = sentences.iter().flat_map(|sentence| &sentence.tags).peekable();
    let some = tags.peek().is_some();
    let other = tags.find(|tag| !is_number(tag)).cloned();
    match (other, names.is_empty()) {
        (Some(_), true) => return Ok(()),
        (Some(tag), false) => {
            let message = format!(
                "the tag `{tag}` is no number: names of tags are for files whose tags are all \
                 numbers; leave them out"
            );
            return Err(Error::data(path, None, message));
        }
        (None, true) if some => {
            return Err(Error::TagNumbers { path: path.to_path_buf() });
        }
        (None, _) => {}
    }
    for sentence in sentences {
        for word in 0..sentence.tags.len() {
            let number = &sentence.tags[word];
            let name = number.parse::<usize>().ok().and_then(|number| names.get(number));
            let name = name.cloned().ok_or_else(|| {
                let message =
                    format!("the tag {number} has no name: there are {} names", names.len());
                Error::data(path, sentence.line_of(word), message)
            })?;
            sentence.tags[word] = name;
        }
    }
    Ok(())
}

fn is_number(tag: &str) -> bool {
    !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_digit())
}
