//! Tokens as answers show them.

use serde::Serialize;

/// A token of a text, and its place in characters. Special tokens have no place.
#[derive(Serialize)]
pub struct Token {
    id: u32,
    text: String,
    special: bool,
    start: Option<usize>,
    stop: Option<usize>,
}

impl Token {
    /// A token.
    pub fn new(id: u32, text: String, special: bool, place: (usize, usize)) -> Token {
        let (start, stop) = (!special).then_some(place).unzip();
        Token { id, text, special, start, stop }
    }
}
