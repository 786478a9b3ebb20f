//! The files of the lessons fit together: what `info.toml` lists is there and has the form that
//! rustlings asks for, and a solution differs from its exercise only where the learner writes.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
struct Info {
    exercises: Vec<Exercise>,
}

#[derive(Deserialize)]
struct Exercise {
    name: String,
    dir: String,
    hint: String,
}

impl Exercise {
    /// The file below `exercises` or `solutions`.
    fn file(&self, folder: &str) -> String {
        format!("{folder}/{}/{}.rs", self.dir, self.name)
    }

    fn text(&self, folder: &str) -> String {
        read(&self.file(folder))
    }

    /// The file of the kernel, where the learner writes one: below `kernels`, or its solution.
    fn kernel(&self, folder: &str) -> Option<String> {
        let file = format!("{folder}/{}.wgsl", self.name);
        lessons().join(&file).is_file().then_some(file)
    }
}

fn lessons() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder above").to_path_buf()
}

fn read(file: &str) -> String {
    read_to_string(lessons().join(file)).unwrap_or_else(|e| panic!("lessons/{file}: {e}"))
}

fn exercises() -> Vec<Exercise> {
    toml::from_str::<Info>(&read("info.toml")).expect("info.toml is readable").exercises
}

/// Whether the learner replaces this line of an exercise. WGSL has no macros: `todo()` is not defined.
fn is_to_do(line: &str) -> bool {
    line.contains("TODO") || line.contains("todo!") || line.contains("todo()")
}

/// The first line of the exercise that the learner is not to change, and that the solution lacks at
/// its place. A comment with TODO goes on to the end of the comment.
fn first_stray_line<'a>(exercise: &'a str, solution: &str) -> Option<&'a str> {
    let mut rest = solution.lines();
    let mut in_to_do = false;
    exercise.lines().find(|line| {
        let comment = line.trim_start().starts_with("//");
        in_to_do = (in_to_do && comment) || is_to_do(line);
        !in_to_do && !line.trim().is_empty() && !rest.any(|other| other == *line)
    })
}

/// The tests at the end of a file.
fn tests(text: &str) -> &str {
    &text[text.find("#[cfg(test)]").expect("a file has tests")..]
}

#[test]
fn a_solution_differs_only_where_the_learner_writes() {
    for exercise in exercises() {
        let (task, solution) = (exercise.text("exercises"), exercise.text("solutions"));
        let name = &exercise.name;
        assert!(tests(&task) == tests(&solution), "{name}: the solution has other tests");
        compare(name, &task, &solution);
        let kernels = (exercise.kernel(KERNELS[0]), exercise.kernel(KERNELS[1]));
        match kernels {
            (Some(task), Some(solution)) => compare(&task, &read(&task), &read(&solution)),
            (None, None) => {}
            _ => panic!("{name}: a kernel lacks its solution, or a solution its kernel"),
        }
    }
}

fn compare(name: &str, task: &str, solution: &str) {
    if let Some(line) = first_stray_line(task, solution) {
        panic!(
            "{name}: the solution lacks this line of the exercise, or has it elsewhere; \
             a line that the learner is to change has a TODO\n{line}"
        );
    }
    assert!(!solution.lines().any(is_to_do), "{name}: the solution has something to do");
}

#[test]
fn every_exercise_has_what_rustlings_asks_for() {
    for exercise in exercises() {
        let (name, text) = (&exercise.name, exercise.text("exercises"));
        for needed in ["fn main()", "// TODO", "#[test]\n"] {
            assert!(text.contains(needed), "{name} lacks `{needed}`");
        }
        assert!(!exercise.hint.trim().is_empty(), "{name} has no hint");
        assert!(name.len() <= 32, "{name} is a longer name than rustlings takes");
        assert!(text.starts_with("// Chapter "), "{name} begins with its chapter");
    }
}

#[test]
fn every_file_is_listed() {
    for folder in ["exercises", "solutions"] {
        // rustlings takes no other files there.
        let listed: Vec<String> = exercises().iter().map(|e| e.file(folder)).collect();
        for dir in lessons().join(folder).read_dir().expect("a folder") {
            let dir = dir.expect("an entry").path();
            for file in dir.read_dir().expect("a folder of a chapter") {
                let file = file.expect("an entry").path();
                let here = file.strip_prefix(lessons()).expect("below lessons").to_owned();
                let known = listed.iter().any(|name| Path::new(name) == here);
                assert!(known, "info.toml does not list lessons/{}", here.display());
            }
        }
    }
    for folder in KERNELS {
        let listed: Vec<String> = exercises().iter().filter_map(|e| e.kernel(folder)).collect();
        for file in lessons().join(folder).read_dir().expect("a folder") {
            let file = format!("{folder}/{}", file.expect("an entry").file_name().display());
            let known = listed.contains(&file) || KERNELS.contains(&file.as_str());
            assert!(known, "info.toml lists no exercise of lessons/{file}");
        }
    }
}

/// The kernels of exercises, and their solutions.
const KERNELS: [&str; 2] = ["kernels", "kernels/solutions"];

/// The list that `rustlings dev update` writes.
#[test]
fn the_programs_are_those_of_info_toml() {
    let mut bins = String::from("bin = [\n");
    for exercise in exercises() {
        for (folder, end) in [("exercises", ""), ("solutions", "_sol")] {
            let (name, path) = (&exercise.name, exercise.file(folder));
            bins += &format!("  {{ name = \"{name}{end}\", path = \"{path}\" }},\n");
        }
    }
    let manifest = read("Cargo.toml");
    assert!(manifest.contains(&(bins + "]\n")), "run `rustlings dev update` in lessons/");
}

/// `exercises.rs` and `solutions.rs` beside this file have a module for each exercise. With
/// `GRADUS_BLESS=1` they are written.
#[test]
fn the_test_programs_have_every_exercise() {
    for folder in ["exercises", "solutions"] {
        let file = format!("check/tests/{folder}.rs");
        let old = read(&file);
        let head = old.find("\n#[path").map_or(old.as_str(), |at| &old[..at]);
        let mut new = head.to_string();
        let mut exercises = exercises();
        exercises.sort_by(|a, b| a.name.cmp(&b.name)); // as rustfmt does
        for exercise in exercises {
            let (path, name) = (exercise.file(folder), &exercise.name);
            new += &format!("\n#[path = \"../../{path}\"]\nmod {name};");
        }
        new += "\n";
        if std::env::var_os("GRADUS_BLESS").is_some_and(|v| v == "1") {
            std::fs::write(lessons().join(&file), new).expect("the list is written");
        } else {
            assert!(old == new, "lessons/{file} is old: run this test with GRADUS_BLESS=1");
        }
    }
}

/// A learner builds with `lessons/Cargo.lock`. Other versions than the workspace's would be built
/// beside them, and nobody would have tested them.
#[test]
fn the_versions_are_those_of_the_workspace() {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize, PartialEq)]
    struct Package {
        name: String,
        version: String,
    }
    let parse = |file| toml::from_str::<Lock>(&read(file)).expect("a lock file is readable");
    let workspace = parse("../Cargo.lock").package;
    for package in parse("Cargo.lock").package {
        assert!(
            package.name == "exercises" || workspace.contains(&package),
            "lessons/Cargo.lock has {} {}, the workspace another version: run \
             `cp Cargo.lock lessons/ && cargo metadata --manifest-path lessons/Cargo.toml > /dev/null`",
            package.name,
            package.version
        );
    }
}

#[test]
fn a_stray_line_is_found() {
    let task = "// Text.\nfn f() {\n    // TODO: two,\n    // in words.\n    todo!()\n}\n";
    assert_eq!(first_stray_line(task, "// Text.\nfn f() {\n    2\n}\n"), None);
    assert_eq!(first_stray_line(task, "// Text.\nfn g() {\n    2\n}\n"), Some("fn f() {"));
    assert_eq!(first_stray_line(task, "fn f() {\n    2\n}\n"), Some("// Text."));
}
