//! A step of a family: one source file with a header, from which everything that is told of it is
//! quoted.

use std::path::Path;

/// A file of this repository, as it was compiled in.
#[derive(Clone, Copy)]
pub struct Source {
    /// From the repository's root.
    pub path: &'static str,
    pub text: &'static str,
}

/// The file `PATH`, from the repository's root.
macro_rules! source {
    ($path:literal) => {
        $crate::step::Source {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $path)),
        }
    };
}
pub(crate) use source;

/// The step of the file `PATH`, which also shows the files `MORE`.
macro_rules! step {
    ($path:literal $(, $more:literal)*) => {
        $crate::step::Step {
            source: $crate::step::source!($path),
            more: &[$($crate::step::source!($more)),*],
        }
    };
}
pub(crate) use step;

/// A step: its file, and the files that it shows besides.
#[derive(Clone, Copy)]
pub struct Step {
    pub source: Source,
    /// What `--show` prints after it: the kernel that a shipped step calls.
    pub more: &'static [Source],
}

impl Step {
    /// One's own shader. It lives as long as the program, like the others.
    pub fn mine(path: &Path, text: &str) -> Step {
        let forever = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let path = forever(path.display().to_string());
        Step { source: Source { path, text: forever(text.to_string()) }, more: &[] }
    }

    pub fn header(&self) -> Header {
        Header::of(self.source.text)
    }
}

/// The comment at the head of a step's file: `name: summary`, then `Adds:`, `Why:`, `Order:`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// What it adds to the step before.
    pub adds: String,
    /// Why it is faster, or slow.
    pub why: String,
    /// The order in which it sums.
    pub order: String,
}

impl Header {
    /// Parts that are missing stay empty.
    pub fn of(text: &str) -> Header {
        let comment = |line: &'_ str| -> Option<String> {
            let line = line.strip_prefix("//")?;
            Some(line.strip_prefix('!').unwrap_or(line).trim().to_string())
        };
        let lines = text.lines().map_while(comment);
        let mut parts: Vec<(String, String)> = Vec::new();
        for line in lines {
            let labelled = line
                .split_once(": ")
                .filter(|(label, _)| parts.is_empty() || ["Adds", "Why", "Order"].contains(label));
            match (labelled, parts.last_mut()) {
                (Some((label, rest)), _) => parts.push((label.into(), rest.into())),
                (None, Some((_, text))) if !line.is_empty() => {
                    text.push(' ');
                    text.push_str(&line);
                }
                _ => {}
            }
        }
        let part = |label: &str| {
            let found = parts.iter().skip(1).find(|(l, _)| l == label);
            found.map(|(_, text)| text.clone()).unwrap_or_default()
        };
        let (name, summary) = parts.first().cloned().unwrap_or_default();
        Header { name, summary, adds: part("Adds"), why: part("Why"), order: part("Order") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_parts() {
        let text = "//! ikj: the same loops.\n//!\n//! Adds: one: two\n//!   lines.\n//! Why: so.\n//! Order: k\n\nuse x;\n// Why: not this";
        let header = Header::of(text);
        assert_eq!((header.name.as_str(), header.summary.as_str()), ("ikj", "the same loops."));
        assert_eq!((header.adds.as_str(), header.why.as_str()), ("one: two lines.", "so."));
        assert_eq!(header.order, "k");
        assert_eq!(Header::of("@compute fn f() {}"), Header::default());
    }
}
