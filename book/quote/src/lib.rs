//! Quotes sources by symbol: so the book shows the code that runs, and a test fails when a symbol
//! that the book quotes is gone.
//!
//! A symbol is the path of an item inside its file, and perhaps an arm of a `match` in it:
//!
//! | symbol | what it quotes |
//! | --- | --- |
//! | `Walk::run` | a function in any `impl Walk` |
//! | `Var::Debug::fmt` | a function in `impl Debug for Var` |
//! | `derivative/Tanh` | the arm whose pattern names `Tanh`, of the matches in `derivative` |
//! | `derivative/Tanh/true` | an arm in that arm |
//! | `op_add@2` | the second of several with one path, as shaders have for several types |
//! | `//` | the comment with which the file opens |
//!
//! Rust and WGSL are read by the same few rules. A parser would not do for the shaders, which are
//! templates (`#if`, `$T`) that only become WGSL when a kernel is made of them.

mod arms;
mod change;
mod files;
mod items;
mod lexer;
mod page;
mod text;

pub use change::{Change, changes};
pub use files::files;
pub use page::{Link, PathError, Target, links};
pub use text::{difference, lines_to_read, without_tests};

/// Some lines of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The first line's number, from 1.
    pub first: usize,
    /// The last line's number.
    pub last: usize,
    /// The lines, without what all of them are indented by, and without the examples in docs.
    pub code: String,
}

/// The lines of `symbol` in a source.
///
/// ```
/// let source = "/// Doubles.\nfn twice(x: u32) -> u32 {\n    2 * x\n}\n\nfn other() {}\n";
/// let quote = gradus_quote::quote(source, "twice").unwrap();
/// assert_eq!((quote.first, quote.last), (1, 4));
/// assert!(quote.code.ends_with("    2 * x\n}"));
/// ```
///
/// # Errors
/// What is not there, or is there twice.
pub fn quote(source: &str, symbol: &str) -> Result<Quote, String> {
    if symbol == "//" {
        return text::header(source);
    }
    let tokens = lexer::tokens(source)?;
    let (path, arms) = match symbol.split_once('/') {
        Some((path, arms)) => (path, Some(arms)),
        None => (symbol, None),
    };
    let mut range = items::find(&tokens, path)?;
    for arm in arms.into_iter().flat_map(|arms| arms.split('/')) {
        range = arms::find(&tokens, range, arm).map_err(|e| format!("{path}: {e}"))?;
    }
    let start = tokens[range.start].start;
    let end = tokens[range.end - 1].end;
    Ok(text::cut(source, start, end))
}
