//! The links of the finished pages.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Error, Result};

/// What a page offers to links, and where its own lead.
struct Page {
    ids: HashSet<String>,
    links: Vec<String>,
}

/// Checks that each link of each page leads to a file, and to a place of it where it names one.
/// Returns the number of pages.
pub fn check_links(folder: &Path) -> Result<usize> {
    let mut pages = HashMap::new();
    read(folder, &mut pages)?;
    let mut broken: Vec<String> = Vec::new();
    for (path, page) in &pages {
        let wrong = page.links.iter().filter(|link| !leads(link, path, &pages));
        broken.extend(wrong.map(|link| format!("{}: {link}", path.display())));
    }
    broken.sort();
    match broken.is_empty() {
        true => Ok(pages.len()),
        false => Err(Error::msg(format!("links lead nowhere:\n{}", broken.join("\n")))),
    }
}

fn read(folder: &Path, pages: &mut HashMap<PathBuf, Page>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "html")
            && !path.ends_with("print.html")
            && !path.ends_with("404.html")
        {
            let text = std::fs::read_to_string(&path)?;
            let ids = values(&text, " id=\"").collect();
            let links = values(&text, " href=\"").collect();
            pages.insert(path, Page { ids, links });
        }
    }
    Ok(())
}

/// The values of an attribute.
fn values<'a>(text: &'a str, begin: &'a str) -> impl Iterator<Item = String> + 'a {
    text.split(begin).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.replace("&amp;", "&")))
}

fn leads(link: &str, page: &Path, pages: &HashMap<PathBuf, Page>) -> bool {
    if link.contains("://") || link.starts_with("mailto:") || link.starts_with("data:") {
        return true;
    }
    let (path, place) = link.split_once('#').unwrap_or((link, ""));
    let mut target = page.to_path_buf();
    if !path.is_empty() {
        target.pop();
        for part in Path::new(&path.replace("%2E", ".")).components() {
            match part {
                Component::ParentDir => drop(target.pop()),
                part => target.push(part),
            }
        }
    }
    match pages.get(&target) {
        Some(page) => place.is_empty() || page.ids.contains(place),
        None => target.exists(),
    }
}
