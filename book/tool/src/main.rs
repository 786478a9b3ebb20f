//! Builds the book, renews the outputs that it shows, and checks both.
//!
//! ```sh
//! cargo run --manifest-path book/tool/Cargo.toml            # the book, in target/book/
//! cargo run --manifest-path book/tool/Cargo.toml -- renew   # runs what the pages show
//! cargo run --manifest-path book/tool/Cargo.toml -- check   # the book, its links, its outputs
//! cargo run --manifest-path book/tool/Cargo.toml -- break   # makes each change that must be noticed
//! ```

mod breaks;
mod chapter;
mod html;
mod math;
mod runs;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Error, Result};
use mdbook_driver::MDBook;
use mdbook_driver::book::{Book, BookItem};
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};

fn main() -> ExitCode {
    let command = std::env::args().nth(1);
    let done = match command.as_deref() {
        None | Some("build") => build(),
        Some("renew") => runs::renew(&repository()),
        Some("check") => build().and_then(|()| runs::check(&repository())),
        Some("break") => breaks::run(&repository(), &std::env::args().nth(2).unwrap_or_default()),
        Some(other) => Err(Error::msg(format!(
            "{other} is no command; they are build, renew, check and break"
        ))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Builds the book and checks the links of its pages.
fn build() -> Result<()> {
    let mut book = MDBook::load(repository().join("book"))?;
    book.with_preprocessor(Gradus);
    book.build()?;
    let folder = book.build_dir_for("html");
    let pages = html::check_links(&folder)?;
    println!("{pages} pages in {}", folder.canonicalize()?.join("index.html").display());
    Ok(())
}

/// Quotes sources, draws formulas and pictures, and links the sources.
struct Gradus;

impl Preprocessor for Gradus {
    fn name(&self) -> &str {
        "gradus"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        let mut failures = Vec::new();
        book.for_each_mut(|item| {
            if let BookItem::Chapter(page) = item
                && let Some(path) = &page.path
            {
                let file = Path::new("book/src").join(path);
                match chapter::render(&page.content, &file, &repository()) {
                    Ok(content) => page.content = content,
                    Err(error) => failures.push(format!("{}: {error}", file.display())),
                }
            }
        });
        match failures.is_empty() {
            true => Ok(book),
            false => Err(Error::msg(failures.join("\n"))),
        }
    }
}
