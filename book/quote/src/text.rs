//! Cutting lines out of a source.

use crate::Quote;

/// The lines from `start` to `end` (bytes), with the comments and attributes right above them.
pub(crate) fn cut(source: &str, start: usize, end: usize) -> Quote {
    let lines: Vec<&str> = source.lines().collect();
    let number = |byte: usize| source[..byte].matches('\n').count();
    let (mut first, last) = (number(start), number(end));
    let above = |line: &str| {
        let line = line.trim_start();
        ["///", "// ", "#["].iter().any(|mark| line.starts_with(mark))
    };
    while first > 0 && above(lines[first - 1]) {
        first -= 1;
    }
    let shown = without_examples(&lines[first..=last]);
    let indent = shown
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or(0);
    let code: Vec<&str> = shown.iter().map(|line| line.get(indent..).unwrap_or("")).collect();
    Quote { first: first + 1, last: last + 1, code: code.join("\n") }
}

/// Of each comment of documentation only the first paragraph: the rest is examples and errors.
fn without_examples<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut left = false;
    let mut kept = Vec::new();
    for line in lines {
        let text = line.trim_start();
        if !text.starts_with("///") {
            left = false;
        } else if text == "///" || text.starts_with("/// ```") {
            left = true;
        }
        if !left {
            kept.push(*line);
        }
    }
    kept
}

/// The comment with which a file opens, without its marks.
pub(crate) fn header(source: &str) -> Result<Quote, String> {
    let lines = source.lines().take_while(|line| line.starts_with("//"));
    let text: Vec<&str> = lines
        .map(|line| line.trim_start_matches('/').trim_start_matches('!'))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    match text.is_empty() {
        true => Err("the file opens with no comment".into()),
        false => Ok(Quote { first: 1, last: text.len(), code: text.join("\n") }),
    }
}

/// A source without its unit tests, which stand at its end.
pub fn without_tests(source: &str) -> &str {
    source.split("\n#[cfg(test)]\nmod ").next().unwrap_or(source)
}

/// How many lines a reader has to read: those of code and of prose. Blank lines and the examples in
/// docs do not count.
///
/// ```
/// let source = "/// Doubles.\n///\n/// ```\n/// twice(1);\n/// ```\nfn twice() {}\n\nfn f() {}\n";
/// assert_eq!(gradus_quote::lines_to_read(source), 3);
/// ```
pub fn lines_to_read(source: &str) -> usize {
    let mut example = false;
    let mut count = 0;
    for line in source.lines().map(str::trim) {
        let fence = line.starts_with("/// ```") || line.starts_with("//! ```");
        example ^= fence;
        let blank = matches!(line, "" | "///" | "//!");
        count += (!blank && !fence && !example) as usize;
    }
    count
}

/// What a message shows of two texts that differ: the first line that does, old and new. Nothing if
/// they are equal.
///
/// ```
/// use gradus_quote::difference;
/// assert_eq!(difference("a\nb\n", "a\nc\n").as_deref(), Some("- b\n+ c"));
/// assert_eq!(difference("a\n", "a\nb\n").as_deref(), Some("- (no more lines)\n+ b"));
/// assert_eq!(difference("a\n", "a\n"), None);
/// ```
pub fn difference(old: &str, new: &str) -> Option<String> {
    if old == new {
        return None;
    }
    let (mut olds, mut news) = (old.lines(), new.lines());
    loop {
        let end = "(no more lines)";
        match (olds.next(), news.next()) {
            (None, None) => return Some("- another end of the last line".into()),
            (a, b) if a == b => {}
            (a, b) => return Some(format!("- {}\n+ {}", a.unwrap_or(end), b.unwrap_or(end))),
        }
    }
}
