//! The WGSL kernels of Gradus, one file for each operation family, embedded as text.
//!
//! `NAME.wgsl` holds the text of a family, and `NAME.rs` the functions that make its variants (a
//! dtype, a member of the family). Each function returns a [`Shader`]: complete WGSL, and the facts
//! that `tensor/gpu/src/` needs to launch it. [`template`] expands the text. The families over
//! strided views share `walk.wgsl`, which finds their elements.
//!
//! [`variants`] lists every shader that the engine can ask for. The tests of this crate parse and
//! validate them all with naga, which needs no adapter.

pub mod attention;
pub mod binary;
pub mod concat;
pub mod copy;
pub mod cross_entropy;
pub mod custom;
pub mod dropout;
pub mod glu;
pub mod index;
pub mod layer_norm;
pub mod loss_scale;
pub mod matmul;
pub mod optim;
pub mod reduce;
pub mod rotary;
pub mod softmax;
pub mod sort;
mod sources;
pub mod template;
pub mod unary;

pub use sources::source;

/// Features of the adapter, and checks, that a shader needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// 16-bit floats (`SHADER_F16`).
    pub f16: bool,
    /// Subgroup operations (`SUBGROUP`).
    pub subgroups: bool,
    /// Cooperative matrices (`EXPERIMENTAL_COOPERATIVE_MATRIX`).
    pub cooperative_matrix: bool,
    /// Checks of every index at run time: a user wrote the text.
    pub checks: bool,
}

/// A complete compute shader. Its bindings are storage buffers in group 0: first the inputs (read
/// only), then the outputs (read and write). Small arguments are immediates.
#[derive(Clone, Debug)]
pub struct Shader {
    /// Family and variant, for messages and profiles: `unary.gelu.f32`.
    pub label: String,
    /// WGSL text.
    pub source: String,
    /// Name of the entry point.
    pub entry: &'static str,
    /// Number of read-only buffers.
    pub inputs: u32,
    /// Number of buffers that it writes (and may read).
    pub outputs: u32,
    /// Features that it needs to compile.
    pub needs: Needs,
}

/// The type of the elements in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// 32-bit float.
    F32,
    /// 16-bit float; computed in f32.
    F16,
    /// 32-bit unsigned integer.
    U32,
    /// 8-bit unsigned integer, each in a 32-bit word.
    U8,
}

impl Scalar {
    /// Every type.
    pub const ALL: [Scalar; 4] = [Scalar::F32, Scalar::F16, Scalar::U32, Scalar::U8];
    /// The floating-point types.
    pub const FLOATS: [Scalar; 2] = [Scalar::F32, Scalar::F16];

    /// WGSL's type of an element in a buffer.
    pub fn stored(self) -> &'static str {
        match self {
            Scalar::F32 => "f32",
            Scalar::F16 => "f16",
            Scalar::U32 | Scalar::U8 => "u32",
        }
    }

    /// WGSL's type in which the element is computed.
    pub fn computed(self) -> &'static str {
        match self {
            Scalar::F32 | Scalar::F16 => "f32",
            Scalar::U32 | Scalar::U8 => "u32",
        }
    }

    /// The name for labels.
    pub fn name(self) -> &'static str {
        match self {
            Scalar::F32 => "f32",
            Scalar::F16 => "f16",
            Scalar::U32 => "u32",
            Scalar::U8 => "u8",
        }
    }

    /// A number for each type, for keys of variants.
    pub fn code(self) -> u64 {
        self as u64
    }

    fn needs(self) -> Needs {
        Needs { f16: self == Scalar::F16, ..Needs::default() }
    }
}

/// Threads of a workgroup of the elementwise families; each handles one element.
pub const WORKGROUP: u32 = 256;

/// The shared text with the test for NaN, which [`WALK`] also contains.
const BITS: &str = include_str!("bits.wgsl");
/// The shared text that finds elements of strided views.
const WALK: &str = concat!(include_str!("bits.wgsl"), include_str!("walk.wgsl"));

/// The shared text of the families along rows.
const ROWS: &str = include_str!("rows.wgsl");
/// Threads in a workgroup of the families along rows. Each kernel has a variant for each.
pub const ROW_WIDTHS: [u32; 2] = [64, 256];

/// Numbers of tensors, in descending order, for kernels that handle several in one launch with up
/// to four buffers each. Metal binds 31 buffers at most.
pub const MANY: [u32; 3] = [7, 3, 1];

/// The text of a shader: the `enable` lines, then `parts` expanded with `definitions`.
pub(crate) fn assemble(
    needs: Needs,
    parts: &[&str],
    definitions: &[(&'static str, String)],
) -> String {
    let mut text = String::new();
    if needs.f16 {
        text.push_str("enable f16;\n");
    }
    // Subgroups get no line: naga supports them without one and does not know the extension's name.
    if needs.cooperative_matrix {
        text.push_str("enable wgpu_cooperative_matrix;\n");
    }
    for part in parts {
        text.push_str(&template::expand(part, definitions));
    }
    text
}

/// Declarations of arrays of f32, bound in this order: first the arrays `read`, then the `written`.
pub(crate) fn bindings(read: &[String], written: &[String]) -> String {
    let read = read.iter().map(|name| (name, "read"));
    let all = read.chain(written.iter().map(|name| (name, "read_write")));
    let line = |(i, (name, access)): (usize, (&String, &str))| {
        format!("@group(0) @binding({i}) var<storage, {access}> {name}: array<f32>;\n")
    };
    all.enumerate().map(line).collect()
}

/// Every shader that the engine can ask for.
pub fn variants() -> Vec<Shader> {
    [
        attention::variants(),
        binary::variants(),
        concat::variants(),
        copy::variants(),
        cross_entropy::variants(),
        custom::variants(),
        dropout::variants(),
        glu::variants(),
        index::variants(),
        layer_norm::variants(),
        loss_scale::variants(),
        matmul::variants(),
        optim::variants(),
        reduce::variants(),
        rotary::variants(),
        softmax::variants(),
        sort::variants(),
        unary::variants(),
    ]
    .concat()
}
