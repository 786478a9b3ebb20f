//! What `train tokens` tells of tags: odd names, and tags that do not reach the model.

use gradus_cli::{SharedArgs, note};
use gradus_models::Labels;
use gradus_models::tasks::TaggedEncoding;

/// Warnings about the tags, each a sentence.
pub fn odd_tags(labels: &Labels) -> Vec<String> {
    let prefixed =
        |tag: &&String| tag.as_str() == "O" || tag.get(1..2).is_some_and(|dash| dash == "-");
    let (like, other): (Vec<&String>, Vec<&String>) = labels.names().iter().partition(prefixed);
    let entities = like.iter().any(|tag| tag.as_str() != "O");
    let mut remarks = Vec::new();
    if let Some(tag) = other.first().filter(|_| entities) {
        remarks.push(format!(
            "the tag `{tag}` is unlike the others, which are O or a letter and a kind (B-PER): is \
             there a comment, or a line with shifted columns?"
        ));
    }
    let mut folded = std::collections::HashMap::new();
    for tag in labels.names() {
        if let Some(known) = folded.insert(tag.to_lowercase(), tag) {
            remarks.push(format!(
                "the tags `{known}` and `{tag}` differ only in upper and lower case"
            ));
        }
    }
    remarks
}

/// Tells how many words of a set have a tag that does not reach the model.
pub fn report_lost(
    shared: &SharedArgs,
    set: &str,
    sentences: &[TaggedEncoding],
    length: usize,
    fate: &str,
) {
    let words: usize = sentences.iter().map(|sentence| sentence.tags.len()).sum();
    let cut: usize = sentences.iter().map(TaggedEncoding::cut).sum();
    let tagged: usize = sentences.iter().map(TaggedEncoding::tagged).sum();
    let bare = words - cut - tagged;
    if cut > 0 {
        let sentences = sentences.iter().filter(|sentence| sentence.cut() > 0).count();
        note(
            shared,
            format!(
                "warning: {cut} of {words} {set} words are beyond {length} tokens (--max-length), \
                 in {sentences} sentences: their tags {fate}"
            ),
        );
    }
    if bare > 0 {
        note(
            shared,
            format!(
                "{bare} of {words} {set} words have no token (spaces, or characters that the \
                 tokenizer removes): their tags {fate}"
            ),
        );
    }
}
