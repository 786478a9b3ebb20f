//! The registry is complete, and the book's table of operations equals the registry's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gradus_autograd::registry::{NOT_DIFFERENTIABLE, table};
use gradus_autograd::{Op, Saves};
use gradus_tensor::ops::binary::{BinaryOp, CompareOp};
use gradus_tensor::ops::unary::UnaryOp;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources of a folder, without their unit tests.
fn sources(folder: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no sources in {folder}");
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    files.iter().map(|p| read(p).split("#[cfg(test)]").next().unwrap().to_string()).collect()
}

/// Names of the public functions in the `impl Owner` blocks, including those from a table of the
/// form `name => Variant;`.
fn public_functions(sources: &[String], owner: &str) -> BTreeSet<String> {
    let word = |s: &str| -> String {
        s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut names = BTreeSet::new();
    for source in sources {
        let (mut inside, mut in_table) = (false, false);
        for line in source.lines() {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            if code.starts_with(&format!("impl {owner} {{")) {
                inside = true;
            } else if indent == 0 && line.starts_with('}') {
                (inside, in_table) = (false, false);
            } else if line.starts_with("methods! {") {
                in_table = true;
            }
            if inside && let Some(rest) = code.strip_prefix("pub fn ") {
                names.insert(word(rest));
            }
            if in_table {
                let entries = code.split(';').filter_map(|entry| entry.split_once("=>"));
                names.extend(entries.map(|(name, _)| name.trim().to_string()));
            }
        }
    }
    names.remove(""); // `pub fn $name` in a macro
    names
}

#[test]
fn every_function_of_a_tensor_has_a_rule_or_a_reason() {
    let mut tensor = public_functions(&sources("tensor/src/ops"), "Tensor");
    tensor.extend(UnaryOp::ALL.iter().map(|op| op.name().into()));
    tensor.extend(BinaryOp::ALL.iter().map(|op| op.name().into()));
    tensor.extend(CompareOp::ALL.iter().map(|op| op.name().into()));
    let mut var = public_functions(&sources("autograd/src/ops"), "Var");
    var.extend(public_functions(&sources("autograd/src"), "Var"));
    for known in ["matmul", "softmax", "sum", "gather", "cat", "reshape", "eq", "add", "gelu"] {
        assert!(tensor.contains(known), "the scan of the sources misses {known}: {tensor:?}");
    }
    let excluded: BTreeSet<&str> = NOT_DIFFERENTIABLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(excluded.len(), NOT_DIFFERENTIABLE.len(), "a name is on the list twice");
    let missing: Vec<&String> = tensor
        .iter()
        .filter(|name| !var.contains(*name) && !excluded.contains(name.as_str()))
        // In-place operations change values outside graphs; backward kernels belong to the rules.
        .filter(|name| !name.ends_with('_') && !name.ends_with("_backward"))
        .collect();
    assert!(
        missing.is_empty(),
        "{missing:?} of Tensor: give each a backward rule and a method of Var, or a reason in \
         NOT_DIFFERENTIABLE"
    );
    for (name, reason) in NOT_DIFFERENTIABLE {
        assert!(tensor.contains(*name), "{name} ({reason}) is excluded, but Tensor has it not");
        assert!(!var.contains(*name), "{name} ({reason}) is excluded, but Var has it");
    }
}

#[test]
fn operations_are_told_apart() {
    let all = Op::all();
    let names: BTreeSet<&str> = all.iter().map(|op| op.name()).collect();
    assert_eq!(names.len(), all.len());
    for op in all {
        let file = format!("autograd/src/ops/{}.rs", op.family());
        let exists = root().join(&file).exists() || op.family() == "checkpoint";
        assert!(exists, "{} has no {file}", op.name());
        assert!(!op.formula().is_empty());
        assert_ne!((op.saves(), op.family()), (Saves::Inputs, "view"), "{}", op.name());
    }
}

/// `GRADUS_BLESS=1 cargo test` writes the page again.
#[test]
fn the_book_has_the_table_of_operations() {
    let path = root().join("book/src/operations.md");
    let page = format!(
        "# The operations\n\n\
         Every differentiable operation of the engine. The page is made from the registry\n\
         (`autograd/src/registry`); a test fails where they differ, and\n\
         `GRADUS_BLESS=1 cargo test -p gradus-autograd registry` writes it again.\n\n{}",
        table()
    );
    if std::env::var_os("GRADUS_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let old: BTreeSet<&str> = found.lines().collect();
    let new: BTreeSet<&str> = page.lines().collect();
    let gone = old.difference(&new).map(|line| format!("- {line}"));
    let come = new.difference(&old).map(|line| format!("+ {line}"));
    let changes: Vec<String> = gone.chain(come).collect();
    assert!(
        found == page,
        "book/src/operations.md is out of date; run with GRADUS_BLESS=1:\n{}",
        changes.join("\n")
    );
}
