//! The small template language of the shaders.
//!
//! - `$NAME` is replaced by the definition of `NAME` (letters, digits, `_`).
//! - `#if NAME` … `#else` … `#end` keeps its lines where `NAME` is defined and not `0`;
//!   `#if NAME == VALUE` where it is defined as `VALUE`.
//! - `#for NAME in A..B` … `#end` repeats its lines with `$NAME` from A to B − 1. It unrolls loops
//!   that index registers, because a compiler that does not unroll them spills the registers.
//!
//! Blocks nest. A line that begins with `#` belongs to the template; everything else is WGSL.

use std::fmt::Write;

/// Definitions: names and their values.
pub type Definitions = [(&'static str, String)];

/// Expands `text`.
///
/// # Panics
/// If the template is malformed (a block without end, an unknown name). That is a mistake in a
/// shader of this crate, and its tests find it.
pub fn expand(text: &str, definitions: &Definitions) -> String {
    let scope: Vec<(&str, String)> = definitions.iter().map(|(n, v)| (*n, v.clone())).collect();
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::with_capacity(text.len());
    block(&lines, &scope, &mut out);
    out
}

fn block<'a>(lines: &[&'a str], scope: &[(&'a str, String)], out: &mut String) {
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i].trim_start();
        if let Some(condition) = line.strip_prefix("#if ") {
            let (middle, end) = matching(lines, i);
            let taken = if holds(condition.trim(), scope) {
                &lines[i + 1..middle.unwrap_or(end)]
            } else {
                &lines[middle.map_or(end, |m| m + 1)..end]
            };
            block(taken, scope, out);
            i = end;
        } else if let Some(header) = line.strip_prefix("#for ") {
            let (_, end) = matching(lines, i);
            let (name, range) = header.split_once(" in ").expect("#for NAME in A..B");
            let range = substitute(range, scope);
            let (from, to) = range.split_once("..").expect("#for NAME in A..B");
            let number = |s: &str| s.trim().parse::<u32>().expect("a bound of #for is a number");
            for value in number(from)..number(to) {
                let mut inner = vec![(name.trim(), value.to_string())];
                inner.extend_from_slice(scope);
                block(&lines[i + 1..end], &inner, out);
            }
            i = end;
        } else {
            assert!(!line.starts_with('#'), "unknown directive: {line}");
            out.push_str(&substitute(lines[i], scope));
            out.push('\n');
        }
        i += 1;
    }
}

/// The lines of `#else` (if any) and `#end` that belong to the block opened in line `open`.
fn matching(lines: &[&str], open: usize) -> (Option<usize>, usize) {
    let (mut depth, mut middle) = (0, None);
    for (i, line) in lines.iter().enumerate().skip(open + 1) {
        let line = line.trim();
        if line.starts_with("#if ") || line.starts_with("#for ") {
            depth += 1;
        } else if line == "#else" && depth == 0 {
            middle = Some(i);
        } else if line == "#end" {
            if depth == 0 {
                return (middle, i);
            }
            depth -= 1;
        }
    }
    panic!("no #end for: {}", lines[open]);
}

fn holds(condition: &str, scope: &[(&str, String)]) -> bool {
    let value = |name: &str| scope.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
    match condition.split_once("==") {
        Some((name, wanted)) => value(name.trim()) == Some(wanted.trim()),
        None => value(condition).is_some_and(|v| v != "0"),
    }
}

fn substitute(line: &str, scope: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(line.len());
    let mut pieces = line.split('$');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let end =
            piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let name = &piece[..end];
        let (_, value) = scope
            .iter()
            .find(|(n, _)| *n == name)
            .unwrap_or_else(|| panic!("${name} is not defined: {line}"));
        write!(out, "{value}{}", &piece[end..]).expect("a string can be written");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn blocks_nest_and_names_are_replaced() {
        let text = "#if A\na $A\n#for i in 0..$N\n#if B\nno\n#else\nx$i = $A;\n#end\n#end\n#else\nno\n#end\n#if K == two\nyes\n#end";
        let definitions =
            [("A", "7".to_string()), ("N", "2".to_string()), ("K", "two".to_string())];
        assert_eq!(expand(text, &definitions), "a 7\nx0 = 7;\nx1 = 7;\nyes\n");
        assert_eq!(expand("#if A\na\n#end\nb", &[("A", "0".to_string())]), "b\n");
    }

    #[test]
    #[should_panic(expected = "$T is not defined")]
    fn an_unknown_name_is_found() {
        expand("array<$T>", &[]);
    }
}
