//! Whole compute shaders of users, launched as they are: workgroups, workgroup memory, any indices.
//!
//! Its buffers are storage buffers of group 0: first those that it reads, then those that it
//! writes, at bindings 0, 1, 2, …; its small arguments are one `var<immediate>`. The device checks
//! every index and ends every loop, because a user wrote the text: the engine's own kernels run
//! without these checks.

use std::hash::{Hash, Hasher};

use gradus_base::{Result, bail};
use gradus_shaders::{Needs, Shader};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess};
use rustc_hash::FxHasher;

use super::context::Launch;
use super::pipelines::IMMEDIATES;
use super::view::{View, ViewMut};

/// A text in WGSL that was parsed and validated.
#[derive(Clone, Debug)]
pub struct UserShader {
    text: String,
    label: String,
    entries: Vec<String>,
    constants: Vec<(String, u32)>,
    inputs: u32,
    outputs: u32,
    /// Bytes.
    immediates: usize,
    f16: bool,
    hash: u64,
}

impl UserShader {
    /// Parses and validates `text`. `path` names it in messages.
    ///
    /// # Errors
    /// With the place in the text: if it is not valid WGSL, has no compute entry point, or its
    /// buffers are not as this module's head says.
    pub fn parse(path: &str, text: &str) -> Result<UserShader, String> {
        let capabilities = Capabilities::IMMEDIATES
            | Capabilities::SUBGROUP
            | Capabilities::SUBGROUP_BARRIER
            | Capabilities::SHADER_FLOAT16;
        let module = validated(path, text, capabilities)?;
        let entries: Vec<String> = (module.entry_points.iter())
            .filter(|entry| entry.stage == ShaderStage::Compute)
            .map(|entry| entry.name.clone())
            .collect();
        if entries.is_empty() {
            return Err(format!("{path}: no entry point; mark a function @compute"));
        }
        let (inputs, outputs) = buffers(&module).map_err(|error| format!("{path}: {error}"))?;
        let mut hasher = FxHasher::default();
        text.hash(&mut hasher);
        Ok(UserShader {
            text: text.to_string(),
            label: path.to_string(),
            entries,
            constants: constants(&module),
            inputs,
            outputs,
            immediates: immediates(&module),
            f16: text.contains("enable f16"),
            hash: hasher.finish(),
        })
    }

    /// The compute entry points, in the order of the text.
    pub fn entries(&self) -> &[String] {
        &self.entries
    }

    /// The value of a `const NAME` that is a number without sign.
    pub fn constant(&self, name: &str) -> Option<u32> {
        self.constants.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    /// How many buffers it reads, and how many it writes.
    pub fn buffers(&self) -> (usize, usize) {
        (self.inputs as usize, self.outputs as usize)
    }

    fn shader(&self, entry: &str) -> Shader {
        Shader {
            label: format!("{} {entry}", self.label),
            source: self.text.clone(),
            // A few names for the life of the program, each once a compiled kernel.
            entry: Box::leak(entry.to_string().into_boxed_str()),
            inputs: self.inputs,
            outputs: self.outputs,
            needs: Needs { f16: self.f16, checks: true, ..Needs::default() },
        }
    }
}

/// The module of a text that is valid WGSL. An error shows the place in a file called `path`.
pub(super) fn validated(
    path: &str,
    text: &str,
    capabilities: Capabilities,
) -> Result<Module, String> {
    let module = naga::front::wgsl::parse_str(text)
        .map_err(|error| error.emit_to_string_with_path(text, path))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator.validate(&module).map_err(|error| error.emit_to_string_with_path(text, path))?;
    Ok(module)
}

/// The numbers of buffers that are read and written.
fn buffers(module: &Module) -> Result<(u32, u32), String> {
    let mut found = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        let name = variable.name.as_deref().unwrap_or("a buffer");
        match (variable.space, &variable.binding) {
            (AddressSpace::Storage { access }, Some(place)) if place.group == 0 => {
                found.push((place.binding, access.contains(StorageAccess::STORE), name));
            }
            (AddressSpace::WorkGroup | AddressSpace::Private | AddressSpace::Immediate, _) => {}
            _ => {
                return Err(format!(
                    "`{name}` is no var<storage> of group 0, and no var<immediate>"
                ));
            }
        }
    }
    found.sort();
    for (i, (binding, written, name)) in found.iter().enumerate() {
        if *binding as usize != i {
            return Err(format!(
                "`{name}` is at binding {binding}; bindings are 0, 1, 2, … in turn"
            ));
        }
        if i > 0 && found[i - 1].1 && !written {
            return Err(format!("`{name}` is only read: bind it before those that are written"));
        }
    }
    let written = found.iter().filter(|(_, written, _)| *written).count();
    match written {
        0 => Err("it writes no buffer: declare one as var<storage, read_write>".into()),
        _ => Ok(((found.len() - written) as u32, written as u32)),
    }
}

/// The bytes of a module's immediates.
fn immediates(module: &Module) -> usize {
    let of = |(_, variable): (_, &naga::GlobalVariable)| match variable.space {
        AddressSpace::Immediate => module.types[variable.ty].inner.size(module.to_ctx()) as usize,
        _ => 0,
    };
    module.global_variables.iter().map(of).sum()
}

/// The constants of the module that are whole numbers.
fn constants(module: &Module) -> Vec<(String, u32)> {
    let value = |constant: &naga::Constant| match module.global_expressions[constant.init] {
        naga::Expression::Literal(naga::Literal::U32(value)) => Some(value),
        naga::Expression::Literal(naga::Literal::I32(value)) => u32::try_from(value).ok(),
        naga::Expression::Literal(naga::Literal::AbstractInt(value)) => u32::try_from(value).ok(),
        _ => None,
    };
    let all = module.constants.iter();
    all.filter_map(|(_, constant)| Some((constant.name.clone()?, value(constant)?))).collect()
}

/// Launches the entry point `entry` over `groups` workgroups.
///
/// # Errors
/// Of `op`, if the buffers are not as many as the shader has, an input does not lie in row-major
/// order from its storage's first element on, the device takes fewer workgroups or immediates, or
/// does not compile the text.
pub fn launch(
    op: &'static str,
    shader: &UserShader,
    entry: &str,
    (inputs, outputs): (Vec<View>, Vec<ViewMut>),
    immediates: &[u8],
    groups: [u32; 3],
) -> Result<()> {
    let given = (inputs.len(), outputs.len());
    if given != shader.buffers() {
        let (label, (reads, writes)) = (&shader.label, shader.buffers());
        bail!(op, "{label} reads {reads} buffers and writes {writes}; it got {given:?}");
    }
    if let Some(input) = inputs.iter().find(|input| !input.is_whole()) {
        bail!(op, "an input of {:?} is a view; make it contiguous", input.shape());
    }
    if !shader.entries.iter().any(|name| name == entry) {
        bail!(op, "{} has no entry point `{entry}`", shader.label);
    }
    if immediates.len() > IMMEDIATES as usize {
        bail!(op, "{} bytes of immediates are more than {IMMEDIATES}", immediates.len());
    }
    if shader.immediates > immediates.len() {
        let (label, wanted) = (&shader.label, shader.immediates);
        bail!(op, "{label} wants {wanted} bytes of immediates, but gets {}", immediates.len());
    }
    let gpu = outputs[0].gpu();
    let most = gpu.driver.device.limits().max_compute_workgroups_per_dimension;
    if groups.iter().any(|&count| count == 0 || count > most) {
        bail!(
            op,
            Device,
            "{groups:?} workgroups; {} takes 1 to {most} a dimension",
            gpu.driver.name
        );
    }
    let mut hasher = FxHasher::default();
    (shader.hash, entry).hash(&mut hasher);
    let launch = Launch {
        op,
        key: (op, hasher.finish()),
        inputs: &inputs.iter().map(|input| input.buffer()).collect::<Vec<_>>(),
        outputs: &outputs.iter().map(ViewMut::buffer).collect::<Vec<_>>(),
        immediates,
        groups,
    };
    gpu.launch(&launch, || shader.shader(entry))
}
