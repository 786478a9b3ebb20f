//! Finding an item by its path.

use std::ops::Range;

use crate::lexer::Token;

/// An item: its tokens, its names, and the tokens inside its braces.
#[derive(Debug)]
struct Item<'a> {
    tokens: Range<usize>,
    /// The name; for an `impl` its type, and then its trait.
    names: Vec<&'a str>,
    is_impl: bool,
    inside: Range<usize>,
}

/// The tokens of the item with this path. `path@2` is the second of several.
pub(crate) fn find(tokens: &[Token<'_>], path: &str) -> Result<Range<usize>, String> {
    let (path, number) = match path.split_once('@') {
        Some((path, number)) => (path, number.parse::<usize>().ok()),
        None => (path, None),
    };
    let segments: Vec<&str> = path.split("::").collect();
    let mut found = Vec::new();
    search(tokens, 0..tokens.len(), &segments, &mut found);
    match (found.as_slice(), number) {
        (all, Some(number)) => all.get(number.wrapping_sub(1)).cloned(),
        ([one], None) => Some(one.clone()),
        ([], None) => None,
        (all, None) => {
            let count = all.len();
            return Err(format!("there are {count} of {path}; name the trait, or say {path}@1"));
        }
    }
    .ok_or_else(|| format!("there is no {path}"))
}

fn search(tokens: &[Token<'_>], scope: Range<usize>, path: &[&str], found: &mut Vec<Range<usize>>) {
    let Some((first, rest)) = path.split_first() else { return };
    for item in items(tokens, scope) {
        if item.names.first() != Some(first) {
            continue;
        }
        let of_trait = rest.first().is_some_and(|name| item.names.get(1) == Some(name));
        let inner = if of_trait { &rest[1..] } else { rest };
        match inner {
            [] if !item.is_impl || of_trait => found.push(item.tokens),
            [] => {}
            _ => search(tokens, item.inside, inner, found),
        }
    }
}

/// The items of a scope, one after the other.
fn items<'a>(tokens: &[Token<'a>], scope: Range<usize>) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    let mut at = scope.start;
    while at < scope.end {
        let end = item_end(tokens, at, scope.end);
        items.extend(item(tokens, at..end));
        at = end;
    }
    items
}

/// Where the item ends that begins at `at`: after its `;` or its `}`.
fn item_end(tokens: &[Token<'_>], at: usize, end: usize) -> usize {
    let mut place = at;
    // Braces are a part of values and paths, which end with `;`.
    let (mut is_value, mut is_body) = (false, false);
    while place < end {
        let token = tokens[place];
        match token.text {
            ";" => return place + 1,
            "fn" | "impl" | "struct" | "enum" | "trait" if !is_value => is_body = true,
            "const" if tokens.get(place + 1).is_some_and(|next| next.text == "fn") => {}
            "const" | "static" | "use" | "type" | "override" if !is_body => is_value = true,
            "{" if !is_value => {
                let close = token.partner.unwrap_or(place);
                // WGSL allows a `;` after a struct.
                let semicolon = close + 1 < end && tokens[close + 1].text == ";";
                return close + 1 + semicolon as usize;
            }
            "(" | "[" | "{" => place = token.partner.unwrap_or(place),
            _ => {}
        }
        place += 1;
    }
    end
}

/// What stands in a range of tokens, if it has a name.
fn item<'a>(tokens: &[Token<'a>], range: Range<usize>) -> Option<Item<'a>> {
    let mut place = range.start;
    while place < range.end {
        let token = tokens[place];
        let next = tokens.get(place + 1).filter(|_| place + 1 < range.end);
        let named = |names: Vec<&'a str>, is_impl| {
            let inside = body(tokens, place, range.end);
            Some(Item { tokens: range.clone(), names, is_impl, inside })
        };
        match token.text {
            "(" | "[" => place = token.partner.unwrap_or(place),
            "{" => return None,
            "impl" => return named(implemented(&tokens[place + 1..range.end]), true),
            "fn" | "struct" | "enum" | "union" | "trait" | "mod" | "static" | "type" | "alias" => {
                return named(vec![next?.text], false);
            }
            "const" if !matches!(next?.text, "fn" | "unsafe") => {
                return named(vec![next?.text], false);
            }
            "macro_rules" => return named(vec![tokens.get(place + 2)?.text], false),
            // `var<storage, read> x: …;` of WGSL.
            "var" => {
                let close = (place..range.end).find(|&p| tokens[p].text == ">");
                return named(vec![tokens.get(close.unwrap_or(place) + 1)?.text], false);
            }
            // `methods! { … }`
            _ if token.is_word() && next.is_some_and(|next| next.text == "!") => {
                return named(vec![token.text], false);
            }
            _ => {}
        }
        place += 1;
    }
    None
}

/// The tokens inside the braces that follow `from`.
fn body(tokens: &[Token<'_>], from: usize, end: usize) -> Range<usize> {
    match (from..end).find(|&place| tokens[place].text == "{") {
        Some(open) => open + 1..tokens[open].partner.unwrap_or(open + 1),
        None => end..end,
    }
}

/// The type of an `impl`, and its trait: the last names of their paths.
fn implemented<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    let mut names = vec![""];
    let mut angles = 0usize;
    for (place, token) in tokens.iter().enumerate() {
        match token.text {
            "{" | "where" => break,
            "<" => angles += 1,
            // `->` is a token of its own.
            ">" => angles = angles.saturating_sub(1),
            // `for<'a>` is a part of a bound.
            "for" if angles == 0 && tokens[place + 1].text != "<" => names.insert(0, ""),
            _ if angles == 0 && token.is_word() => names[0] = token.text,
            _ => {}
        }
    }
    names
}
