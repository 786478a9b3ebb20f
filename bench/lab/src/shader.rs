//! A step on a GPU: a shader of the lab, or one's own, with its buffers.

use std::path::Path;
use std::sync::Arc;

use gradus_cli::{Failure, Outcome};
use gradus_tensor::ops::shader::{UserShader, launch};
use gradus_tensor::{DType, Device, Tensor};

use crate::family::Run;
use crate::machine;
use crate::step::Step;

/// Parses and validates a shader. The error shows the place in the text.
pub fn parse(path: &str, text: &str) -> Outcome<Arc<UserShader>> {
    let shader = UserShader::parse(path, text);
    // The program writes `error: ` itself.
    let told = |message: String| {
        let message = message.trim_end();
        Failure::error(message.strip_prefix("error: ").unwrap_or(message).to_string())
    };
    shader.map(Arc::new).map_err(told)
}

/// One's own shader.
pub fn read(path: &Path) -> Outcome<Step> {
    std::fs::read_to_string(path).map(|text| Step::mine(path, &text)).map_err(|error| {
        let path = path.display();
        Failure::error(format!(
            "{path}: {error}; begin with a step: lab FAMILY --device gpu --show N > {path}"
        ))
    })
}

/// Whether a GPU's threads can work together in subgroups.
pub fn has_subgroups(device: Device) -> bool {
    machine::gpu(device).is_some_and(|gpu| gpu.features.subgroups)
}

/// The workgroups of each entry point, in the order of the text, for a result of `rows` ×
/// `columns`.
///
/// How much of the result a workgroup computes is told by the text's own constants: `TILE_ROWS` and
/// `TILE_COLUMNS`, or for an entry point `f` among several `F_ROWS` and `F_COLUMNS`. One of the two
/// may be missing: then a workgroup computes all of that dimension.
pub fn grid(
    shader: &UserShader,
    (rows, columns): (usize, usize),
) -> Outcome<Vec<(String, [u32; 3])>> {
    let of = |entry: &String| {
        let constant = |what: &str| {
            let own = shader.constant(&format!("{}_{what}", entry.to_uppercase()));
            own.or_else(|| shader.constant(&format!("TILE_{what}"))).filter(|&size| size > 0)
        };
        let (tile_rows, tile_columns) = (constant("ROWS"), constant("COLUMNS"));
        if tile_rows.is_none() && tile_columns.is_none() {
            return Err(Failure::error(format!(
                "the shader does not say how much of the result a workgroup of `{entry}` computes; \
                 give it `const TILE_ROWS = …u;` and `const TILE_COLUMNS = …u;`"
            )));
        }
        let count = |size: usize, tile: Option<u32>| {
            tile.map_or(1, |tile| size.div_ceil(tile as usize) as u32)
        };
        Ok((entry.clone(), [count(columns, tile_columns), count(rows, tile_rows), 1]))
    };
    shader.entries().iter().map(of).collect()
}

/// A shader with its buffers: runs its entry points one after the other.
pub struct Shader {
    shader: Arc<UserShader>,
    passes: Vec<(String, [u32; 3])>,
    inputs: Vec<Tensor>,
    /// The results, then what else is written.
    outputs: Vec<Tensor>,
    results: usize,
    arguments: Vec<u32>,
}

/// What a shader gets.
pub struct Buffers<'a> {
    pub device: Device,
    pub inputs: &'a [Tensor],
    /// Sizes of the results, then of what else may be written, in f32: a shader has as many of
    /// these as it needs.
    pub outputs: Vec<usize>,
    /// How many of them are results.
    pub results: usize,
    pub arguments: Vec<u32>,
}

impl Shader {
    /// For a result of `rows` × `columns`, which `grid` cuts into workgroups.
    pub fn new(
        shader: Arc<UserShader>,
        sizes: (usize, usize),
        mut buffers: Buffers,
    ) -> Outcome<Shader> {
        let (reads, writes) = shader.buffers();
        let (inputs, least, most) = (buffers.inputs.len(), buffers.results, buffers.outputs.len());
        if reads != inputs || !(least..=most).contains(&writes) {
            let or = if least == most { "" } else { " or a few more" };
            return Err(Failure::error(format!(
                "the shader reads {reads} buffers and writes {writes}; it must read {inputs} and \
                 write {least}{or}, as the steps of the lab do"
            )));
        }
        buffers.outputs.truncate(writes);
        let passes = grid(&shader, sizes)?;
        Ok(Shader::with_passes(shader, passes, buffers)?)
    }

    /// With workgroups that were counted otherwise.
    pub fn with_passes(
        shader: Arc<UserShader>,
        passes: Vec<(String, [u32; 3])>,
        Buffers { device, inputs, outputs, results, arguments }: Buffers,
    ) -> gradus_tensor::Result<Shader> {
        let new = |size: usize| Tensor::full_on(&[size], f64::NAN, DType::F32, device);
        let outputs = outputs.into_iter().map(new).collect::<Result<_, _>>()?;
        Ok(Shader { shader, passes, inputs: inputs.to_vec(), outputs, results, arguments })
    }
}

impl Run for Shader {
    fn run(&mut self) -> Outcome {
        let inputs: Vec<&Tensor> = self.inputs.iter().collect();
        let mut outputs: Vec<&mut Tensor> = self.outputs.iter_mut().collect();
        for (entry, groups) in &self.passes {
            launch(&self.shader, entry, &inputs, &mut outputs, &self.arguments, *groups)?;
        }
        Ok(())
    }

    fn outputs(&mut self) -> Outcome<Vec<Vec<f32>>> {
        let results = self.outputs.iter().take(self.results);
        Ok(results.map(|x| x.to_vec::<f32>()).collect::<Result<_, _>>()?)
    }

    fn spoil(&mut self) -> Outcome {
        for output in &mut self.outputs {
            *output = Tensor::full_on(output.shape(), f64::NAN, DType::F32, output.device())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_a_workgroup_computes() {
        let text = "const F_ROWS = 2u; const TILE_COLUMNS = 64u; const G_ROWS = 8u;
            @group(0) @binding(0) var<storage, read_write> y: array<f32>;
            @compute @workgroup_size(64) fn f() { y[0] = 1.0; }
            @compute @workgroup_size(64) fn g() { y[0] = 1.0; }";
        let shader = parse("x.wgsl", text).unwrap();
        let passes = grid(&shader, (10, 65)).unwrap();
        assert_eq!(passes, [("f".to_string(), [2, 5, 1]), ("g".to_string(), [2, 2, 1])]);
        let silent = text.replace("TILE_COLUMNS", "X").replace("F_ROWS", "Y");
        let error = grid(&parse("x.wgsl", &silent).unwrap(), (1, 1)).unwrap_err().to_string();
        assert!(error.contains("`f`") && error.contains("TILE_ROWS"), "{error}");
    }

    #[test]
    fn an_error_shows_the_place() {
        let error =
            parse("mine.wgsl", "@compute @workgroup_size(1)\nfn f() { x = 1; }").unwrap_err();
        let error = error.to_string();
        assert!(error.contains("mine.wgsl:2:10") && error.contains("x"), "{error}");
        let error = parse("mine.wgsl", "@compute @workgroup_size(1) fn f() {}").unwrap_err();
        assert!(error.to_string().contains("writes no buffer"), "{error}");
    }

    /// Buffers stand in one order: those that are read, then those that are written, from binding 0
    /// on.
    #[test]
    fn buffers_out_of_order_are_refused_by_name() {
        let body = "@compute @workgroup_size(1) fn f() { out[0] = data[0]; }";
        let with = |at: [u32; 2], more: &str| {
            let [data, out] = at;
            parse(
                "mine.wgsl",
                &format!(
                    "@group(0) @binding({data}) var<storage, read> data: array<f32>;
                     @group(0) @binding({out}) var<storage, read_write> out: array<f32>;
                     {more} {body}"
                ),
            )
        };
        assert_eq!(with([0, 1], "").unwrap().buffers(), (1, 1));
        let uniform = "@group(0) @binding(2) var<uniform> size: u32;";
        for (at, more, word) in
            [([1, 0], "", "`data`"), ([0, 2], "", "binding 2"), ([0, 1], uniform, "`size`")]
        {
            let error = with(at, more).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    /// What the device would take for something else is refused before.
    #[test]
    fn launches_that_do_not_fit_are_refused() {
        let Some(device) = gradus_testing::gpu() else { return };
        let text = "@group(0) @binding(0) var<storage, read> x: array<f32>;
            @group(0) @binding(1) var<storage, read_write> y: array<f32>;
            @compute @workgroup_size(1) fn f() { y[0] = x[0]; }";
        let shader = parse("mine.wgsl", text).unwrap();
        let x = Tensor::full_on(&[4, 2], 3.0, DType::F32, device).unwrap();
        let on_cpu = Tensor::zeros(&[1], DType::F32).unwrap();
        let turned = x.t().unwrap();
        let mut y = Tensor::zeros_on(&[1], DType::F32, device).unwrap();
        for (entry, inputs, groups, word) in [
            ("g", vec![&x], [1, 1, 1], "`g`"),
            ("f", vec![], [1, 1, 1], "reads 1 buffers"),
            ("f", vec![&turned], [1, 1, 1], "contiguous"),
            ("f", vec![&on_cpu], [1, 1, 1], "lie on"),
            ("f", vec![&x], [0, 1, 1], "workgroups"),
            ("f", vec![&x], [1, u32::MAX, 1], "workgroups"),
        ] {
            let error = launch(&shader, entry, &inputs, &mut [&mut y], &[], groups).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        launch(&shader, "f", &[&x], &mut [&mut y], &[], [1, 1, 1]).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [3.0]);
    }
}
