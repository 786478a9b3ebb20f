//! Texts at which a generation stops.

/// The texts, and the end of the generated text that may be the beginning of one.
pub(crate) struct Stops<'a> {
    texts: &'a [String],
    held: String,
}

impl<'a> Stops<'a> {
    pub fn new(texts: &'a [String]) -> Self {
        Stops { texts, held: String::new() }
    }

    /// The text that may be shown after `piece` was generated, and whether one of the texts has
    /// come: the text before it is then the last.
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        let found = self.texts.iter().filter_map(|text| self.held.find(text.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let safe = self.held.len() - self.begun();
        let later = self.held.split_off(safe);
        (std::mem::replace(&mut self.held, later), false)
    }

    /// The bytes at the end that one of the texts begins with.
    fn begun(&self) -> usize {
        let of = |text: &String| {
            let ends = text.char_indices().map(|(at, _)| at).filter(|&at| at > 0);
            ends.filter(|&at| self.held.ends_with(&text[..at])).max()
        };
        self.texts.iter().filter_map(of).max().unwrap_or(0)
    }

    /// What was held back, at the end of the generation.
    pub fn end(self) -> String {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_before_a_stop_is_shown_and_no_more() {
        let texts = ["\n\n".to_string(), "ENDE".to_string()];
        let mut stops = Stops::new(&texts);
        assert_eq!(stops.push("so\n"), ("so".into(), false));
        assert_eq!(stops.push("EN"), ("\n".into(), false));
        assert_eq!(stops.push("EN"), ("EN".into(), false));
        assert_eq!(stops.push("DEN"), (String::new(), true));
        let mut stops = Stops::new(&texts);
        assert_eq!(stops.push("ü\nEND"), ("ü\n".into(), false));
        assert_eq!(stops.end(), "END");
        assert_eq!(Stops::new(&[]).push("all"), ("all".into(), false));
    }
}
