//! The changes that a page asks for.

/// A change that makes the engine wrong, and the command that must notice it.
///
/// On a page it is a block of `diff` that names a file (`--- FILE`) and the lines that it takes away
/// and adds; the next block of `sh` has the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file, from the root of the repository.
    pub file: String,
    /// The lines that it takes away.
    pub old: String,
    /// The lines that it adds.
    pub new: String,
    /// The command that must fail.
    pub test: String,
}

impl Change {
    /// The text of the file with the change.
    ///
    /// # Errors
    /// If the file does not have the old lines once.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.old).count() {
            1 => Ok(text.replacen(&self.old, &self.new, 1)),
            found => Err(format!("{} has {found} times\n{}", self.file, self.old)),
        }
    }
}

/// The changes of a page.
///
/// ```
/// let page = "```diff\n--- a.rs\n-one\n+two\n```\n\nTry\n\n```sh\ncargo test\n```\n";
/// let changes = gradus_quote::changes(page).unwrap();
/// assert_eq!(changes[0].test, "cargo test");
/// assert_eq!(changes[0].apply("one\n").unwrap(), "two\n");
/// assert!(changes[0].apply("one\none\n").is_err());
/// ```
///
/// # Errors
/// What a change lacks.
pub fn changes(page: &str) -> Result<Vec<Change>, String> {
    page.split("```diff\n").skip(1).map(change).collect()
}

/// The change whose block `rest` begins with.
fn change(rest: &str) -> Result<Change, String> {
    let (diff, after) = rest.split_once("```").ok_or("a change without an end")?;
    let test = after.split("```sh\n").nth(1).and_then(|test| test.split("```").next());
    let file = diff.lines().next().and_then(|line| line.strip_prefix("--- "));
    let side = |mark: char| -> String {
        let lines = diff.lines().skip(1).filter_map(|line| line.strip_prefix(mark));
        lines.collect::<Vec<_>>().join("\n")
    };
    Ok(Change {
        file: file.ok_or("a change begins with --- FILE")?.to_string(),
        old: side('-'),
        new: side('+'),
        test: test.ok_or("a change without the test that notices it")?.trim().to_string(),
    })
}
