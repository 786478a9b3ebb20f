//! The program as its users see it. Sizes are tiny: nothing is measured here.

use std::path::Path;
use std::process::{Command, Output};

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output().unwrap()
}

/// Standard output of a run that succeeds.
fn printed(arguments: &[&str]) -> String {
    let output = lab(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code and standard error of a run that fails.
fn failed(arguments: &[&str]) -> (i32, String) {
    let output = lab(arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

const TINY: [&str; 7] = ["--size", "9x17x12", "--seconds", "0", "--threads", "2", "-q"];

fn tiny<'a>(family: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[family][..], &TINY, more].concat()
}

#[test]
fn the_table_has_every_step_and_the_machine() {
    let table = printed(&tiny("matmul", &[]));
    for word in ["ijk", "shipped", "int8", "GFLOP/s", "difference", "2 threads", "of a stream"] {
        assert!(table.contains(word), "{word} in {table}");
    }
    assert!(!table.contains('\u{1b}'), "no colours in a pipe");
    let markdown = printed(&tiny("matmul", &["--table", "--steps", "1-3"]));
    assert_eq!(markdown.lines().filter(|line| line.starts_with("| ")).count(), 5, "{markdown}");
}

#[test]
fn json_holds_the_numbers_of_the_table() {
    let text = printed(&tiny("matmul", &["--json", "--steps", "1,2,9"]));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let steps = report["steps"].as_array().unwrap();
    let names: Vec<&str> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ijk", "ikj", "with epilogue"]);
    assert_eq!(steps[1]["same_bits_as"], 1, "one order of summation");
    assert!(steps.iter().all(|step| step["speed"]["gflops"].as_f64().unwrap() > 0.0));
    assert_eq!(report["rounds"], 3);
}

#[test]
fn a_plot_is_svg() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plot.svg");
    printed(&tiny("matmul", &["--steps", "1,2", "--plot", path.to_str().unwrap()]));
    let svg = std::fs::read_to_string(path).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("2 ikj") && svg.contains("currentColor"));
}

/// What is shown is the file itself.
#[test]
fn a_step_shows_its_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (arguments, path) in [
        (&["matmul", "--show", "3"][..], "bench/lab/src/matmul/register_tile.rs"),
        (&["matmul", "--device", "gpu", "--show", "2"], "bench/lab/src/matmul/gpu/coalesced.wgsl"),
    ] {
        let text = std::fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(printed(arguments).trim_end(), format!("// {path}\n{text}").trim_end());
    }
    assert!(printed(&["list"]).contains("online"));
}

#[test]
fn wrong_flags_are_refused_by_name() {
    for (arguments, word) in [
        (&["matmul", "--steps", "99"][..], "1 to 11"),
        (&["matmul", "--show", "99"], "1 to 11"),
        (&["matmul", "--size", "0"], "--size 0"),
        (&["matmul", "--size", "3x3"], "MxKxN"),
        (&["matmul", "--seconds=-1"], "--seconds"),
        (&["matmul", "--watch"], "--mine"),
        (&["matmul", "--mine", "x.wgsl", "--device", "cpu"], "--device gpu"),
        (&["attention", "--device", "cpu", "--size", "1x2"], "HEADSxNxD"),
    ] {
        let (code, message) = failed(arguments);
        assert!(code == 2 && message.contains(word), "{arguments:?}: {message}");
    }
}

/// A kernel of one's own is checked before it is timed: its text, its buffers, its numbers.
#[test]
fn a_kernel_of_ones_own_is_checked_first() {
    if gradus_testing::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.wgsl");
    let right = printed(&["matmul", "--device", "gpu", "--show", "2"]);
    let run = |text: &str, more: &[&str]| {
        std::fs::write(&path, text).unwrap();
        let mine = ["--mine", path.to_str().unwrap(), "--steps", "2"];
        lab(&tiny("matmul", &[&mine[..], more].concat()))
    };
    let output = run(&right, &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mine = &report["steps"][1];
    assert_eq!((&mine["step"], &mine["same_bits_as"]), (&serde_json::Value::Null, &2.into()));
    for (from, to, words) in [
        ("sum = 0.0", "sum = nothing", &["mine.wgsl:", "nothing"][..]),
        ("p < args.k", "p + 1u < args.k", &["C[0, 0] is", "the reference says"]),
        ("c[row", "if (row > 3u) { return; } c[row", &["C[4, 0] is NaN"]),
        ("TILE_ROWS", "T", &["TILE_ROWS"]),
        ("var<storage, read> b", "var<storage, read_write> b", &["reads 1 buffers"]),
    ] {
        assert!(right.contains(from));
        let mut text = right.replace(from, to);
        if from == "TILE_ROWS" {
            text = text.replace("TILE_COLUMNS", "U");
        }
        let output = run(&text, &[]);
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(!told.contains("error: error"), "{told}");
        assert_eq!(output.status.code(), Some(1), "{to}: {told}");
        assert!(words.iter().all(|word| told.contains(word)), "{to}: {told}");
    }
}

/// The other families take one's own kernels too; their passes and what lies between them are in one
/// text.
#[test]
fn kernels_of_several_passes() {
    if gradus_testing::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.wgsl");
    let tiny = ["--seconds", "0", "-q", "--json", "--steps", "2", "--mine", path.to_str().unwrap()];
    for (family, size, from, to, words) in [
        ("layer-norm", "19x130", "row < end", "row + 1u < end", &["dx[15, 0] is NaN"][..]),
        ("layer-norm", "19x130", "row += BACKWARD_ROWS", "row += 32u", &["dw["]),
        (
            "attention",
            "2x21x5",
            "* args.scale;\n            let higher",
            ";\n            let higher",
            &["O["],
        ),
    ] {
        let right = printed(&[family, "--device", "gpu", "--show", "3"]);
        for (text, words) in [(right.clone(), &[][..]), (right.replace(from, to), words)] {
            std::fs::write(&path, &text).unwrap();
            let output = lab(&[&[family, "--size", size][..], &tiny].concat());
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8_lossy(&told).into_owned();
            let changed = !words.is_empty();
            assert!(!changed || text != right, "{from} is not in the text");
            assert_eq!(output.status.code(), Some(changed as i32), "{family}: {told}");
            assert!(words.iter().all(|word| told.contains(word)), "{to}: {told}");
        }
    }
}

/// A thread that keeps rows has no room for longer ones.
#[test]
fn a_step_that_cannot_have_a_size_says_so() {
    if gradus_testing::gpu().is_none() {
        return;
    }
    let size = ["--size", "1x3x130", "--seconds", "0", "-q", "--json", "--steps", "1-2"];
    let text = printed(&[&["attention", "--device", "gpu"][..], &size].concat());
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["steps"][0]["without"], serde_json::Value::Null);
    let why = report["steps"][1]["without"].as_str().unwrap();
    assert!(why.contains("at most 128") && why.contains("130"), "{why}");
}
