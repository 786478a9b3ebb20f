//! Quotes of a CSV file that swallow rows.
//!
//! A field that begins with a quote goes on to the next quote, over any number of lines (RFC 4180).
//! A stray quote at the beginning of a field therefore makes one text of all rows up to the next
//! quote, and the file still parses. Such a field differs from one that is meant to have several
//! lines:
//!
//! - the quote never closes, or the quote that closes it is followed by more text;
//! - or lines within the field are rows: as wide as the header, with a label of the data set in the
//!   label's place.

use std::collections::HashSet;

/// A field in quotes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quoted {
    /// Its column.
    pub column: usize,
    /// Where its text begins, in bytes: after the opening quote.
    pub from: usize,
    /// Where its text ends: at the closing quote.
    pub to: usize,
}

/// A quote that RFC 4180 does not allow, with places in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stray {
    /// It opens a field and never closes it.
    Open { at: usize },
    /// It opens a field at `at`; the quote that closes the field, at `closes`, is followed by more
    /// text.
    Followed { at: usize, closes: usize },
}

/// The quoted fields of a CSV text, in order.
pub(super) fn quoted_fields(text: &str) -> Result<Vec<Quoted>, Stray> {
    let bytes = text.as_bytes();
    let (mut at, mut column, mut found) = (0, 0, Vec::new());
    while at < bytes.len() {
        if bytes[at] == b'"' {
            let to = closing_quote(bytes, at + 1).ok_or(Stray::Open { at })?;
            if !matches!(bytes.get(to + 1), None | Some(b',' | b'\r' | b'\n')) {
                return Err(Stray::Followed { at, closes: to });
            }
            found.push(Quoted { column, from: at + 1, to });
            at = to + 1;
        }
        let rest = &bytes[at..];
        let Some(end) = rest.iter().position(|b| matches!(b, b',' | b'\r' | b'\n')) else { break };
        column = if rest[end] == b',' { column + 1 } else { 0 };
        at += end + 1;
    }
    Ok(found)
}

/// The first quote at or after `from` that is not one of a pair.
fn closing_quote(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == b'"')?;
        match bytes.get(at + 1) {
            Some(b'"') => at += 2,
            _ => return Some(at),
        }
    }
}

/// How many rows a quoted field seems to have swallowed: how many of its lines are rows. `width` is
/// the header's, `place` the column of the label, `labels` the labels of the data set.
pub(super) fn swallowed_rows(
    text: &str,
    column: usize,
    width: usize,
    place: usize,
    labels: &HashSet<String>,
) -> usize {
    let last = text.lines().count().saturating_sub(1);
    if last == 0 {
        return 0;
    }
    let is_row = |(i, line): (usize, &str)| {
        // The first line begins in the field's own column, the last one ends there.
        let begin = if i == 0 { column } else { 0 };
        let end = if i == last { column + 1 } else { width };
        let mut cells = line.split(',');
        let label = place.checked_sub(begin).and_then(|i| cells.clone().nth(i));
        // The field's own column holds the text.
        place != column
            && cells.by_ref().count() == end - begin
            && label.is_some_and(|label| labels.contains(label))
    };
    text.lines().enumerate().filter(|&line| is_row(line)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(usize, &str)> {
        let found = quoted_fields(text).unwrap();
        found.iter().map(|f| (f.column, &text[f.from..f.to])).collect()
    }

    #[test]
    fn quoted_fields_are_found_with_their_columns() {
        assert_eq!(
            fields("a,b\n1,\"x, \"\"y\"\"\nz\"\r\n\"\",2\n"),
            [(1, "x, \"\"y\"\"\nz"), (0, "")]
        );
        assert_eq!(fields("5\" wide,\"last\""), [(1, "last")]);
        assert_eq!(fields(""), []);
    }

    #[test]
    fn stray_quotes_are_found() {
        assert_eq!(quoted_fields("a,\"b\nc\n"), Err(Stray::Open { at: 2 }));
        assert_eq!(quoted_fields("\"a\"\""), Err(Stray::Open { at: 0 }));
        assert_eq!(quoted_fields("\"a\nb\"c"), Err(Stray::Followed { at: 0, closes: 4 }));
        assert_eq!(quoted_fields("\"a\" ,b"), Err(Stray::Followed { at: 0, closes: 2 }));
    }

    #[test]
    fn rows_within_a_field_are_told_from_lines_of_a_text() {
        let labels: HashSet<String> = ["pos", "neg"].map(String::from).into();
        let rows = |text, column, place| swallowed_rows(text, column, 2, place, &labels);
        assert_eq!(rows("Best phone ever,pos\nthe battery died,neg\nit is 5", 0, 1), 2);
        // The label first: the lines after the opening one are the rows.
        assert_eq!(rows("Best phone ever\nneg,the battery died\nneg,it is 5", 1, 0), 2);
        for text in ["one line,pos", "Dear all,\nit is good, pos", "a\nb", "pos\nneg", "a,b,pos\nc"]
        {
            assert_eq!(rows(text, 0, 1), 0, "{text}");
            assert_eq!(rows(text, 1, 0), 0, "{text}");
        }
    }
}
