//! The links of a Markdown page, as far as checking them needs.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// A link or an image of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The line on which it stands, from 1.
    pub line: usize,
    /// Where it leads, as the page has it.
    pub target: String,
    /// Whether it is a paragraph of its own.
    pub alone: bool,
}

/// A file of the repository to which a link leads, and the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The file, from the root of the repository.
    pub file: PathBuf,
    /// What follows the `#`: a heading of a page, a symbol of a source.
    pub place: Option<String>,
}

/// A link that leads out of the repository.
#[derive(Debug, PartialEq, Eq)]
pub struct PathError(String);

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} leads out of the repository", self.0)
    }
}

impl std::error::Error for PathError {}

impl Target {
    /// Where `link` leads on the page `page` (from the root of the repository); nothing if it leads
    /// to a web site.
    ///
    /// ```
    /// use gradus_quote::Target;
    /// let page = std::path::Path::new("book/src/tape.md");
    /// let target = Target::of("../../autograd/src/walk.rs#Walk::run", page).unwrap().unwrap();
    /// assert_eq!(target.file, std::path::Path::new("autograd/src/walk.rs"));
    /// assert_eq!(target.place.as_deref(), Some("Walk::run"));
    /// ```
    ///
    /// # Errors
    /// If it leads out of the repository.
    pub fn of(link: &str, page: &Path) -> Result<Option<Target>, PathError> {
        if link.contains("://") || link.starts_with("mailto:") {
            return Ok(None);
        }
        let (path, place) = match link.split_once('#') {
            Some((path, place)) => (path, Some(place.to_string())),
            None => (link, None),
        };
        let mut file = page.to_path_buf();
        if !path.is_empty() {
            file.pop();
            for part in Path::new(path).components() {
                match part {
                    Component::ParentDir if file.pop() => {}
                    Component::Normal(name) => file.push(name),
                    Component::CurDir => {}
                    _ => return Err(PathError(link.into())),
                }
            }
        }
        Ok(Some(Target { file, place }))
    }

    /// The symbol, where the link leads to one in a source.
    ///
    /// ```
    /// use gradus_quote::Target;
    /// let target = Target { file: "a.wgsl".into(), place: Some("forward".into()) };
    /// assert_eq!(target.symbol(), Some("forward"));
    /// ```
    pub fn symbol(&self) -> Option<&str> {
        let extension = self.file.extension()?.to_str()?;
        self.place.as_deref().filter(|_| matches!(extension, "rs" | "wgsl"))
    }
}

/// The links and images of a page, outside of code.
///
/// ```
/// let links = gradus_quote::links("See [a](a.md).\n\n[`f`](f.rs#f)\n\n`[b](b.md)`\n");
/// assert_eq!(links.len(), 2);
/// assert!(!links[0].alone && links[1].alone);
/// ```
pub fn links(page: &str) -> Vec<Link> {
    let lines: Vec<&str> = page.lines().collect();
    let blank = |at: Option<&&str>| at.is_none_or(|line| line.trim().is_empty());
    let mut found = Vec::new();
    let mut fenced = false;
    for (place, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let around =
            blank(place.checked_sub(1).and_then(|p| lines.get(p))) && blank(lines.get(place + 1));
        let text = without_code(line);
        for (begin, _) in text.match_indices("](") {
            let Some(length) = text[begin..].find(')') else { continue };
            let target = text[begin + 2..begin + length].to_string();
            let whole = line.starts_with('[') && begin + length + 1 == text.len();
            let alone = around && whole && text.matches("](").count() == 1;
            found.push(Link { line: place + 1, target, alone });
        }
    }
    found
}

/// A line in which the texts of code spans are blanks.
fn without_code(line: &str) -> String {
    let mut code = false;
    let blank = |c: char| match c {
        '`' => {
            code = !code;
            ' '
        }
        c if code && c.is_ascii() => ' ',
        c => c,
    };
    line.chars().map(blank).collect()
}
