//! The docs of every public function of tensors, variables and layers show an example that
//! `cargo test --doc` runs.

use std::fs;

use crate::registry::root;

/// The files to scan, and folders whose files are all scanned.
const SOURCES: &[&str] = &[
    "tensor/base/src",
    "tensor/src/data",
    "tensor/src/io",
    "tensor/src/operators.rs",
    "tensor/src/ops",
    "tensor/src/profile.rs",
    "tensor/src/tensor.rs",
    "autograd/src",
    "nn/src",
];

/// Functions that only return a property; their one line of docs is enough.
const GETTERS: &[&str] = &[
    "device", "dtype", "formula", "is_empty", "layout", "len", "name", "numel", "offset", "path",
    "rank", "shape", "strides",
];

/// Other functions without an example, as `file::function` or `folder/*`, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("autograd/src/context.rs::*", "a rule calls them; the example is that of Var::custom"),
    ("autograd/src/registry/*", "inputs for the tests"),
];

/// The Rust files of a file or a folder, by their path from the root.
fn files(path: &str) -> Vec<String> {
    if path.ends_with(".rs") {
        return vec![path.to_string()];
    }
    let entries = fs::read_dir(root().join(path)).unwrap();
    let mut found: Vec<String> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (format!("{path}/{}", entry.file_name().display()), entry.path().is_dir()))
        .filter(|(path, folder)| *folder || path.ends_with(".rs"))
        .flat_map(|(path, _)| files(&path))
        .collect();
    found.sort();
    found
}

/// The function's name in a line `pub fn name…`.
fn public_function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ")?;
    let rest = rest.strip_prefix("const ").unwrap_or(rest).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// Whether lines of docs have a block of code that is tested.
fn has_example(docs: &[&str]) -> bool {
    let fences = docs.iter().filter_map(|line| line.strip_prefix("/// ```"));
    fences.step_by(2).any(|language| language.is_empty()) // the other fences close a block
}

/// The public functions of a source file without its unit tests, and whether each has an example.
fn functions(source: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut docs = Vec::new();
    for line in source.split("#[cfg(test)]").next().unwrap().lines().map(str::trim) {
        if line.starts_with("///") || line.starts_with("#[") {
            docs.push(line);
            continue;
        }
        if let Some(name) = public_function(line)
            && !docs.contains(&"#[doc(hidden)]")
        {
            found.push((name.to_string(), has_example(&docs)));
        }
        docs.clear();
    }
    found
}

/// Whether an exception covers a function.
fn covers(exception: &str, file: &str, name: &str) -> bool {
    match exception.strip_suffix('*') {
        Some(start) => format!("{file}::{name}").starts_with(start),
        None => exception == format!("{file}::{name}"),
    }
}

#[test]
fn every_public_function_has_an_example() {
    let mut without = Vec::new();
    let mut with = 0;
    for file in SOURCES.iter().flat_map(|path| files(path)) {
        for (name, example) in functions(&fs::read_to_string(root().join(&file)).unwrap()) {
            with += usize::from(example);
            if !example && !GETTERS.contains(&name.as_str()) {
                without.push((file.clone(), name));
            }
        }
    }
    assert!(with > 400, "the scan of the sources found only {with} examples");
    for (exception, reason) in EXCEPTIONS {
        let used = without.iter().any(|(file, name)| covers(exception, file, name));
        assert!(used, "{exception} ({reason}) excepts nothing");
    }
    without.retain(|(file, name)| !EXCEPTIONS.iter().any(|(e, _)| covers(e, file, name)));
    let list: Vec<String> = without.iter().map(|(file, name)| format!("{file}: {name}")).collect();
    assert!(
        list.is_empty(),
        "give these functions an example in their docs, or a reason in EXCEPTIONS:\n{}",
        list.join("\n")
    );
}

#[test]
fn the_scan_sees_what_it_should() {
    let source = "
        impl X {
            /// Documented.
            pub fn plain(&self) {}

            /// A formula.
            ///
            /// ```text
            /// x²
            /// ```
            pub fn formula(&self) {}

            /// Shown.
            ///
            /// ```
            /// assert!(true);
            /// ```
            #[inline]
            pub const fn shown<T>(&self) {}

            #[doc(hidden)]
            pub fn hidden(&self) {}

            pub(crate) fn private(&self) {}
        }
        #[cfg(test)]
        mod tests { pub fn helper() {} }";
    let found = functions(source);
    let expected = [("plain", false), ("formula", false), ("shown", true)];
    assert_eq!(found, expected.map(|(name, example)| (name.to_string(), example)));
}
