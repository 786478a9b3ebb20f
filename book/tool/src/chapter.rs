//! What happens to a page before mdBook sees it.
//!
//! The pages read well as plain Markdown. In the book
//! - a link to a symbol of a source that is a paragraph of its own becomes the code,
//! - a picture of the book becomes a part of the page, so that it takes the theme's colours,
//! - `$…$` and `$$…$$` become MathML,
//! - links out of the book lead to the files of the repository.

use std::ops::Range;
use std::path::Path;

use gradus_quote::{Target, quote};
use mdbook_markdown::pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

use crate::math::mathml;

/// Code with more lines is folded.
const MAX_LINES: usize = 60;

/// A part of a page and what takes its place.
type Change = (Range<usize>, String);

/// The page as mdBook gets it. `file` is its path from the root of the repository.
pub fn render(page: &str, file: &Path, repository: &Path) -> Result<String, String> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_MATH;
    let events: Vec<(Event<'_>, Range<usize>)> =
        Parser::new_ext(page, options).into_offset_iter().collect();
    let mut changes: Vec<Change> = Vec::new();
    let mut place = 0;
    while place < events.len() {
        let paragraph = paragraph(&events[place..]);
        if let Some((link, text)) = paragraph.as_ref().and_then(|inner| only_link(inner))
            && let Some(block) = block(&link, &text, file, repository)?
        {
            changes.push((events[place].1.clone(), block));
            place += paragraph.map_or(1, |inner| inner.len() + 2);
            continue;
        }
        let (event, range) = &events[place];
        changes.extend(change(event, range, page, file)?);
        place += 1;
    }
    Ok(apply(page, changes))
}

fn apply(page: &str, changes: Vec<Change>) -> String {
    let mut out = String::new();
    let mut at = 0;
    for (range, new) in changes {
        out += &page[at..range.start];
        out += &new;
        at = range.end;
    }
    out + &page[at..]
}

/// What a paragraph that begins here contains.
fn paragraph<'a>(events: &[(Event<'a>, Range<usize>)]) -> Option<Vec<Event<'a>>> {
    if !matches!(events[0].0, Event::Start(Tag::Paragraph)) {
        return None;
    }
    let inner = events[1..].iter().map(|(event, _)| event.clone());
    Some(inner.take_while(|e| !matches!(e, Event::End(TagEnd::Paragraph))).collect())
}

/// Where a link or an image leads.
enum Leads<'a> {
    Link(CowStr<'a>),
    Image(CowStr<'a>),
}

/// The link or image that is all of a paragraph, and its text as HTML.
fn only_link<'a>(inner: &[Event<'a>]) -> Option<(Leads<'a>, String)> {
    let leads = match inner.first()? {
        Event::Start(Tag::Link { dest_url, .. }) => Leads::Link(dest_url.clone()),
        Event::Start(Tag::Image { dest_url, .. }) => Leads::Image(dest_url.clone()),
        _ => return None,
    };
    if !matches!(inner.last()?, Event::End(TagEnd::Link | TagEnd::Image)) {
        return None;
    }
    let mut text = String::new();
    for event in &inner[1..inner.len() - 1] {
        match event {
            Event::Text(words) => text += &escaped(words),
            Event::Code(code) => text += &format!("<code>{}</code>", escaped(code)),
            Event::SoftBreak => text.push(' '),
            _ => return None,
        }
    }
    Some((leads, text))
}

/// The code or the picture that takes the place of a paragraph.
fn block(
    leads: &Leads<'_>,
    text: &str,
    file: &Path,
    repository: &Path,
) -> Result<Option<String>, String> {
    let (Leads::Link(url) | Leads::Image(url)) = leads;
    let Some(target) = Target::of(url, file).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let read = || {
        std::fs::read_to_string(repository.join(&target.file))
            .map_err(|error| format!("{}: {error}", target.file.display()))
    };
    match leads {
        Leads::Link(url) => match target.symbol() {
            Some(symbol) => code(text, url, &target, symbol, &read()?).map(Some),
            None => Ok(None),
        },
        Leads::Image(url) if url.ends_with(".svg") => Ok(Some(picture(text, &read()?))),
        Leads::Image(_) => Ok(None),
    }
}

/// The code of a symbol, under a line that says what it is and where it stands.
fn code(
    text: &str,
    url: &str,
    target: &Target,
    symbol: &str,
    source: &str,
) -> Result<String, String> {
    let name = target.file.display();
    let quote = quote(source, symbol).map_err(|error| format!("{name}: {error}"))?;
    let link = file_link(url.split('#').next().unwrap_or(url));
    let lines = match quote.first == quote.last {
        true => format!("line {}", quote.first),
        false => format!("lines {}–{}", quote.first, quote.last),
    };
    let place = format!("<a href=\"{link}\">{name}</a>, {lines}");
    if symbol == "//" {
        // Comments quote mathematics, which is no Markdown.
        let words = escaped(&quote.code);
        return Ok(format!(
            "<figure class=\"quote\"><figcaption>{text} <span>{place}</span></figcaption>\n\
             <pre class=\"header\">{}</pre></figure>\n",
            words.replace("\n\n", "\n&#8203;\n")
        ));
    }
    // WGSL is coloured as Rust: the highlighter has no rules for it.
    let block = format!("\n\n`````rust\n{}\n`````\n\n", quote.code);
    Ok(match quote.code.lines().count() > MAX_LINES {
        true => format!(
            "<figure class=\"quote\"><details><summary>{text} <span>{place}</span></summary>\
             {block}</details></figure>\n"
        ),
        false => format!(
            "<figure class=\"quote\"><figcaption>{text} <span>{place}</span></figcaption>\
             {block}</figure>\n"
        ),
    })
}

/// A picture of the book. Its own style is for readers without the book, whose theme gives colours.
fn picture(text: &str, svg: &str) -> String {
    let style = svg.find("<style>").zip(svg.find("</style>"));
    let plain = match style {
        Some((begin, end)) => format!("{}{}", &svg[..begin], &svg[end + "</style>".len()..]),
        None => svg.to_string(),
    };
    let lines: Vec<&str> = plain.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!(
        "<figure class=\"picture\">\n{}\n<figcaption>{text}</figcaption></figure>\n",
        lines.join("\n")
    )
}

/// What takes the place of one event of Markdown, if anything does.
fn change(
    event: &Event<'_>,
    range: &Range<usize>,
    page: &str,
    file: &Path,
) -> Result<Option<Change>, String> {
    Ok(match event {
        Event::InlineMath(latex) => Some((range.clone(), mathml(latex, false)?)),
        Event::DisplayMath(latex) => Some((range.clone(), mathml(latex, true)?)),
        Event::Start(Tag::Link { dest_url, .. }) => {
            let target = Target::of(dest_url, file).map_err(|error| error.to_string())?;
            let path = dest_url.split('#').next().unwrap_or(dest_url);
            let new = target.and_then(|target| match target.file.starts_with("book/src") {
                false => Some(file_link(path)),
                // mdBook names that page so.
                true if path.ends_with("README.md") => Some(path.replace("README.md", "index.md")),
                true => None,
            });
            let place = page[range.clone()].rfind(dest_url.as_ref());
            new.zip(place).map(|(new, place)| {
                let begin = range.start + place;
                (begin..begin + dest_url.len(), new)
            })
        }
        _ => None,
    })
}

/// A link to a file of the repository. mdBook takes every `.md` for a page of the book, but not when
/// the dot is written so.
fn file_link(path: &str) -> String {
    path.replace(".md", "%2Emd")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
