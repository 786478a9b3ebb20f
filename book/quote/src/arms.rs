//! Finding an arm of a `match`.

use std::ops::Range;

use crate::lexer::Token;

/// The arm whose pattern has the word `name`, among the matches in `range`. Of several the one that
/// begins with it.
pub(crate) fn find(
    tokens: &[Token<'_>],
    range: Range<usize>,
    name: &str,
) -> Result<Range<usize>, String> {
    let mut found = Vec::new();
    for place in range.clone() {
        if tokens[place].text == "match"
            && let Some(open) = (place..range.end).find(|&p| tokens[p].text == "{")
            && let Some(close) = tokens[open].partner
        {
            arms(tokens, open + 1..close, name, &mut found);
        }
    }
    match found.as_slice() {
        [] => Err(format!("no arm of a match there names {name}")),
        // The others lie inside it, in matches of its own.
        [first, rest @ ..] if rest.iter().all(|arm| arm.end <= first.end) => Ok(first.clone()),
        all => {
            let begins = |arm: &&Range<usize>| tokens[arm.start].text == name;
            match all.iter().filter(begins).collect::<Vec<_>>().as_slice() {
                [one] => Ok((*one).clone()),
                _ => Err(format!("{} arms there name {name}", found.len())),
            }
        }
    }
}

/// Adds the arms of one `match` whose patterns have the word.
fn arms(tokens: &[Token<'_>], body: Range<usize>, name: &str, found: &mut Vec<Range<usize>>) {
    let mut at = body.start;
    while at < body.end {
        let arrow = skip_to(tokens, at..body.end, "=>");
        let end = arm_end(tokens, arrow + 1..body.end);
        let has_name = tokens[at..arrow].iter().any(|token| token.text == name);
        if has_name {
            found.push(at..end);
        }
        at = end;
    }
}

/// Where the arm ends whose body begins the range: after its `,`.
fn arm_end(tokens: &[Token<'_>], range: Range<usize>) -> usize {
    let first = tokens.get(range.start).filter(|token| token.text == "{");
    let end = match first.and_then(|open| open.partner) {
        Some(close) => close + 1,
        None => skip_to(tokens, range.clone(), ","),
    };
    let comma = end < range.end && tokens[end].text == ",";
    end + comma as usize
}

/// The place of the next `text` that stands in no bracket inside the range, or the range's end.
fn skip_to(tokens: &[Token<'_>], range: Range<usize>, text: &str) -> usize {
    let mut place = range.start;
    let mut angles = 0usize;
    while place < range.end {
        match tokens[place].text {
            found if found == text && angles == 0 => return place,
            // `f::<A, B>(…)`
            "<" if place > 0 && tokens[place - 1].text == "::" => angles += 1,
            "<" if angles > 0 => angles += 1,
            ">" if angles > 0 => angles -= 1,
            "(" | "[" | "{" => place = tokens[place].partner.unwrap_or(place),
            _ => {}
        }
        place += 1;
    }
    range.end
}
