//! Kernels that a learner writes as text: read when a test runs, checked by naga, run on a GPU, and
//! compared with the CPU.

use std::fmt::{Display, Formatter};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use gradus_gpu::{CustomShader, View, custom, gpu, transfer};
use gradus_tensor::ops::shader::{self, UserShader};
use gradus_tensor::{Device, Result, Tensor};

use crate::compare::{list, place, report};
use crate::near;

/// Elements behind the end of a buffer, which no kernel may touch.
const BEHIND: usize = 1024;
/// What lies behind the end of a result, and in it at first. A kernel does not make it by chance.
const UNTOUCHED: f32 = -12345.0;

/// The kernel of the exercise in which this is written: `kernels/NAME.wgsl` of
/// `exercises/CHAPTER/NAME.rs`, and `kernels/solutions/NAME.wgsl` of its solution. It does not lie
/// beside it, because rustlings takes only files of Rust there.
#[macro_export]
macro_rules! kernel {
    () => {
        $crate::shader::Kernel::of(file!())
    };
}
pub use kernel;

/// A kernel in a text file.
pub struct Kernel {
    /// The file, as messages show it.
    path: &'static str,
    text: &'static str,
}

/// One launch of a complete shader.
pub struct Launch<'a> {
    /// The arrays that it reads.
    pub inputs: &'a [&'a [f32]],
    /// The shape of the result.
    pub shape: &'a [usize],
    /// Its immediates: words of 32 bits. A float is given by `to_bits()`.
    pub arguments: &'a [u32],
    /// Workgroups.
    pub groups: u32,
    /// Threads of each, as the text's `@workgroup_size` says; only messages show them.
    pub threads: u32,
}

impl Kernel {
    /// The kernel of an exercise or a solution, whose path is the compiler's `file!()`; see
    /// [`kernel!`](crate::kernel).
    ///
    /// # Panics
    /// If there is none.
    pub fn of(file: &str) -> Kernel {
        let lessons = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("check is in a folder");
        let file = Path::new(file);
        let solves = file.components().any(|part| part.as_os_str() == "solutions");
        let folder = if solves { "kernels/solutions" } else { "kernels" };
        let name = file.file_stem().expect("a file of Rust has a name");
        let shown = Path::new(folder).join(name).with_extension("wgsl");
        let text = std::fs::read_to_string(lessons.join(&shown));
        let shown = shown.display().to_string();
        let text = text.unwrap_or_else(|e| panic!("lessons/{shown}: {e}"));
        // The engine keeps kernels as long as the program runs.
        Kernel::new(shown.leak(), text.leak())
    }

    /// A kernel whose file would be called `path`.
    fn new(path: &'static str, text: &'static str) -> Kernel {
        Kernel { path, text }
    }

    fn map_shader(&self, inputs: usize) -> CustomShader {
        CustomShader { name: self.path, wgsl: self.text, inputs: inputs as u32 }
    }

    /// Asserts that the text defines `fn element(i: u32) -> f32` over so many inputs.
    ///
    /// # Panics
    /// If naga refuses it, with its message.
    #[track_caller]
    pub fn validate_map(&self, inputs: usize) {
        let valid = custom::validate(&self.map_shader(inputs));
        valid.unwrap_or_else(|error| self.refuse(&error));
    }

    /// Asserts that the text is a complete shader with the entry point `main`, and returns it.
    ///
    /// # Panics
    /// As [`validate_map`](Kernel::validate_map).
    #[track_caller]
    pub fn validate(&self) -> UserShader {
        let shader = UserShader::parse(self.path, self.text);
        let shader = shader.unwrap_or_else(|error| self.refuse(&error));
        let has_main = shader.entries().iter().any(|name| name == "main");
        assert!(has_main, "{} has no entry point `@compute fn main`", self.path);
        shader
    }

    #[track_caller]
    fn refuse(&self, error: &str) -> ! {
        let note = match error.contains("`todo`") {
            true => "\n`todo` is no function: it stands where your part is still missing.",
            false => "",
        };
        panic!("{} is not yet valid WGSL\n\n{}{note}\n", self.path, error.trim_end());
    }

    /// Asserts that the map gives the `expected` numbers, on a GPU. Without a GPU only the text is
    /// checked, and a line says so.
    ///
    /// # Panics
    /// If the text is not valid, or a number is off by more than `allowed` (times its size, if that is
    /// above 1).
    #[track_caller]
    pub fn map(&self, what: &str, inputs: &[&[f32]], expected: &[f32], allowed: f64) {
        self.validate_map(inputs.len());
        let Some(index) = self.gpu() else { return };
        let run = || -> Result<Vec<f32>> {
            let gpu = gpu(self.path, index)?;
            let arrays = inputs
                .iter()
                .map(|x| transfer::upload(self.path, gpu, &guarded(x), &[x.len() + BEHIND]));
            let arrays = arrays.collect::<Result<Vec<_>>>()?;
            let views = arrays.iter().map(|x| x.view()).collect();
            let result = custom::run(&self.map_shader(inputs.len()), views, &[expected.len()])?;
            read(self.path, result.view())
        };
        let yours = run().unwrap_or_else(|error| panic!("{what}: {error}"));
        let input = format!("{}{}", show(inputs), note_of_nan(&yours, expected));
        near(&self.title(what), input, &yours, &expected.to_vec(), allowed);
    }

    /// Asserts that the complete shader gives the `expected` numbers, on a GPU, and writes nothing
    /// behind them. Without a GPU only the text is checked, and a line says so.
    ///
    /// # Panics
    /// As [`map`](Kernel::map); if an element was not written, or one behind the end was.
    #[track_caller]
    pub fn run(&self, what: &str, launch: &Launch, expected: &[f32], allowed: f64) {
        let shader = self.validate();
        let Some(index) = self.gpu() else { return };
        let (device, numel) = (Device::gpu(index).expect("it is listed"), expected.len());
        let values = values(&shader, device, launch, numel);
        let values = values.unwrap_or_else(|error| panic!("{what}: {error}"));
        let (yours, behind) = values.split_at(numel);
        let input = format!(
            "{}\n{} workgroups of {} threads",
            show(launch.inputs),
            launch.groups,
            launch.threads
        );
        if let Some(at) = behind.iter().position(|&x| x != UNTOUCHED) {
            let first = format!(
                "element {} of the result, which ends at {}: yours wrote {} behind the end, where \
                 another array may lie; is the guard right?",
                numel + at,
                numel - 1,
                behind[at]
            );
            let (shown, wanted) = (list(&values[..numel + at + 1]), list(expected));
            panic!("{}", report(&self.title(what), &input, &shown, &wanted, &first));
        }
        if let Some(at) = yours.iter().position(|&x| x == UNTOUCHED) {
            let first = format!(
                "element {}: no thread wrote it (it holds {UNTOUCHED} from before), expected {}",
                place(at, Some(launch.shape)),
                expected[at]
            );
            let (shown, wanted) = (list(yours), list(expected));
            panic!("{}", report(&self.title(what), &input, &shown, &wanted, &first));
        }
        let shaped = |x: &[f32]| Tensor::from_slice(x, launch.shape).expect("the shape fits");
        let input = input + note_of_nan(yours, expected);
        near(&self.title(what), input, &shaped(yours), &shaped(expected), allowed);
    }

    /// The number of the GPU, if there is one.
    fn gpu(&self) -> Option<usize> {
        let Some(info) = gradus_gpu::gpus().into_iter().next() else {
            let required = std::env::var_os("GRADUS_REQUIRE_GPU").is_some_and(|v| v == "1");
            assert!(!required, "GRADUS_REQUIRE_GPU=1, and there is no GPU");
            tell(&format!("{} is valid, but was not run: there is no GPU here", self.path));
            return None;
        };
        Some(info.index)
    }

    fn title(&self, what: &str) -> String {
        format!("{}: {what}", self.path)
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let gpus = gradus_gpu::gpus();
        let runs = gpus.first().map_or("there is no GPU here", |info| &info.name);
        writeln!(f, "{} ({runs}):\n\n{}", self.path, self.text.trim_end())
    }
}

/// Writes a line that a test shows even if it passes, once.
pub(crate) fn tell(line: &str) {
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if !told.iter().any(|earlier| earlier == line) {
        // Nobody listens: then nobody misses it.
        let _ = writeln!(std::io::stderr(), "{line}");
        told.push(line.to_string());
    }
}

/// What the shader leaves in a buffer that is longer than its result.
fn values(shader: &UserShader, device: Device, launch: &Launch, numel: usize) -> Result<Vec<f32>> {
    let up = |x: &[f32]| Tensor::from_slice(x, &[x.len()])?.to_device(device);
    let inputs = launch.inputs.iter().map(|x| up(&guarded(x))).collect::<Result<Vec<_>>>()?;
    let mut result = up(&vec![UNTOUCHED; numel + BEHIND])?;
    let (inputs, groups) = (inputs.iter().collect::<Vec<_>>(), [launch.groups, 1, 1]);
    shader::launch(shader, "main", &inputs, &mut [&mut result], launch.arguments, groups)?;
    result.to_vec()
}

/// Numbers with NaN behind them, which shows where a kernel reads too far.
fn guarded(x: &[f32]) -> Vec<f32> {
    [x, &[f32::NAN; BEHIND]].concat()
}

fn read(op: &'static str, x: View) -> Result<Vec<f32>> {
    let mut values = vec![0.0; x.numel()];
    transfer::start_reading(op, x)?.wait_into(&mut values)?;
    Ok(values)
}

/// Where NaN may come from, if there is one too many.
fn note_of_nan(yours: &[f32], expected: &[f32]) -> &'static str {
    match yours.iter().zip(expected).any(|(a, b)| a.is_nan() && !b.is_nan()) {
        true => {
            "\nNaN lies behind the inputs: one in the result may come from a read beyond their end"
        }
        false => "",
    }
}

/// Inputs as text.
fn show(inputs: &[&[f32]]) -> String {
    let line = |(i, x): (usize, &&[f32])| format!("input {i} = {}", list(x));
    inputs.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::compare::tests::message_of;

    /// result = x + 1, with this guard.
    fn add_one(guard: &str) -> Kernel {
        let text = "
            var<immediate> n: u32;
            @group(0) @binding(0) var<storage, read> x: array<f32>;
            @group(0) @binding(1) var<storage, read_write> result: array<f32>;
            @compute @workgroup_size(64)
            fn main(@builtin(global_invocation_id) id: vec3<u32>) {
                let i = id.x;
                if (GUARD) { return; }
                result[i] = x[i] + 1.0;
            }";
        Kernel::new("add_one.wgsl", text.replace("GUARD", guard).leak())
    }

    /// The message of the failure on five elements; `None` if there is none.
    fn failure(kernel: &Kernel) -> Option<String> {
        let x: Vec<f32> = (0..5).map(|i| i as f32).collect();
        let expected: Vec<f32> = x.iter().map(|x| x + 1.0).collect();
        let launch = Launch { inputs: &[&x], shape: &[5], arguments: &[5], groups: 1, threads: 64 };
        let run = AssertUnwindSafe(|| kernel.run("x + 1", &launch, &expected, 1e-6));
        catch_unwind(run).err().map(|e| *e.downcast::<String>().expect("a panic with a text"))
    }

    #[test]
    fn a_guard_is_neither_missing_nor_early() {
        if gradus_testing::gpu().is_none() {
            return;
        }
        assert_eq!(failure(&add_one("i >= n")), None);
        for (guard, wanted) in [
            ("false", "element 5 of the result, which ends at 4: yours wrote NaN behind the end"),
            ("i > n", "element 5 of the result, which ends at 4"),
            ("i >= n - 1u", "element [4]: no thread wrote it"),
            ("i >= n || i == 2u", "element [2]: no thread wrote it"),
        ] {
            let message = failure(&add_one(guard)).expect(guard);
            assert!(message.contains(wanted), "{guard}: {message}");
        }
    }

    #[test]
    fn naga_counts_the_lines_of_the_file() {
        let map = Kernel::new(
            "map.wgsl",
            "// A map.\nfn element(i: u32) -> f32 {\n    return todo();\n}",
        );
        let message = message_of(|| map.validate_map(1));
        assert!(message.contains("map.wgsl:3:12"), "{message}");
        assert!(message.contains("stands where your part is still missing"), "{message}");
    }
}
