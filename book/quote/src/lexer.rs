//! The tokens of Rust and WGSL, as far as finding items needs them.

/// A token: its bytes in the source, and where it opens or closes a bracket the other token's
/// place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub text: &'a str,
    pub start: usize,
    pub end: usize,
    /// The place of the bracket that belongs to this one.
    pub partner: Option<usize>,
}

impl Token<'_> {
    pub fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$'))
    }
}

/// The tokens of a source, without its comments.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let length = token_length(rest, source[..at].ends_with('\n') || at == 0)?;
        let text = &rest[..length];
        let skipped = text.starts_with(char::is_whitespace) || is_comment(text);
        if !skipped && !is_directive(text) {
            tokens.push(Token { text, start: at, end: at + length, partner: None });
        }
        at += length;
    }
    pair(&mut tokens)?;
    Ok(tokens)
}

fn is_comment(text: &str) -> bool {
    text.starts_with("//") || text.starts_with("/*")
}

/// Whether a whole line is one of the shaders' templates' own: `#if NAME`, `#for …`, `#end`.
fn is_directive(text: &str) -> bool {
    text.strip_prefix("#").is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic()))
}

/// How many bytes the first token takes; whitespace and comments count as tokens here.
fn token_length(rest: &str, line_begins: bool) -> Result<usize, String> {
    let line = || rest.find('\n').unwrap_or(rest.len());
    let first = rest.chars().next().unwrap_or(' ');
    Ok(match first {
        _ if line_begins && is_directive(rest) => line(),
        _ if rest.starts_with("//") => line(),
        _ if rest.starts_with("/*") => rest.find("*/").ok_or("a comment without an end")? + 2,
        '"' => quoted(rest, 1)?,
        'r' | 'b' | 'c' if literal_prefix(rest).is_some() => literal_prefix(rest).unwrap_or(1),
        '\'' => character(rest),
        c if c.is_whitespace() => rest.len() - rest.trim_start().len(),
        // `$NAME` stands for a name in the shaders' templates and in macros.
        c if c.is_alphanumeric() || matches!(c, '_' | '$') => {
            let after = &rest[1..];
            1 + after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len())
        }
        _ if ["=>", "::", "->"].iter().any(|p| rest.starts_with(p)) => 2,
        c => c.len_utf8(),
    })
}

/// The length of a text in quotes that begins at `from`.
fn quoted(rest: &str, from: usize) -> Result<usize, String> {
    let mut escaped = false;
    for (place, c) in rest[from..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok(from + place + 1),
            _ => {}
        }
    }
    Err("a text without an end".into())
}

/// The length of a literal such as `r#"…"#`, `b"…"` or `b'…'`, if it is one.
fn literal_prefix(rest: &str) -> Option<usize> {
    let letters = rest.find(|c: char| !matches!(c, 'r' | 'b' | 'c'))?;
    let after = &rest[letters..];
    if !rest[..letters].contains('r') {
        return match after.chars().next()? {
            '"' => quoted(rest, letters + 1).ok(),
            '\'' => Some(letters + character(after)),
            _ => None,
        };
    }
    let hashes = after.find(|c| c != '#')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = letters + hashes + 1;
    if !after[hashes..].starts_with('"') {
        return None;
    }
    rest[begin..].find(&end).map(|place| begin + place + end.len())
}

/// The length of a character or a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(1, |place| place + 4),
        Some((_, c)) => match chars.next() {
            Some((place, '\'')) => place + 1,
            _ => 1 + if c.is_alphanumeric() { 0 } else { c.len_utf8() },
        },
        None => 1,
    }
}

/// Tells each bracket its partner.
fn pair(tokens: &mut [Token<'_>]) -> Result<(), String> {
    let mut open: Vec<usize> = Vec::new();
    for place in 0..tokens.len() {
        match tokens[place].text {
            "(" | "[" | "{" => open.push(place),
            ")" | "]" | "}" => {
                let opened = open.pop().ok_or("a bracket closes that was never opened")?;
                tokens[place].partner = Some(opened);
                tokens[opened].partner = Some(place);
            }
            _ => {}
        }
    }
    match open.is_empty() {
        true => Ok(()),
        false => Err("a bracket is never closed".into()),
    }
}
