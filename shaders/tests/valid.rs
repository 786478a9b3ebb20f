//! Every variant of every shader parses and validates, for every set of features that an adapter
//! may have, without any adapter.

use std::collections::HashSet;

use gradus_shaders::{Needs, Shader, variants};
use naga::AddressSpace;
use naga::back::spv;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// The capabilities that an adapter with these features gives a shader.
fn capabilities(features: Needs) -> Capabilities {
    let mut capabilities = Capabilities::IMMEDIATES;
    capabilities.set(Capabilities::SHADER_FLOAT16, features.f16);
    capabilities.set(Capabilities::SUBGROUP, features.subgroups);
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, features.cooperative_matrix);
    capabilities
}

fn validate(shader: &Shader, features: Needs) -> Result<(naga::Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(&shader.source)
        .map_err(|e| e.emit_to_string(&shader.source))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities(features));
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(&shader.source))?;
    if !module.entry_points.iter().any(|e| e.name == shader.entry) {
        return Err(format!("no entry point {}", shader.entry));
    }
    Ok((module, info))
}

/// Bytes of workgroup memory that every device of WebGPU has.
const EVERY_DEVICE: u32 = 16 << 10;

fn workgroup_memory(module: &naga::Module) -> u32 {
    let variables = module.global_variables.iter().map(|(_, variable)| variable);
    let shared = variables.filter(|variable| variable.space == AddressSpace::WorkGroup);
    shared.map(|variable| module.types[variable.ty].inner.size(module.to_ctx())).sum()
}

#[test]
fn every_variant_is_valid() {
    let all = variants();
    assert!(!all.is_empty());
    for shader in &all {
        // Validates with only the declared features, so that every adapter with them runs it.
        let (module, _) = validate(shader, shader.needs)
            .unwrap_or_else(|error| panic!("{}: {error}", shader.label));
        // Kernels with cooperative matrices are chosen by what the device has.
        let bytes = workgroup_memory(&module);
        let fits = bytes <= EVERY_DEVICE || shader.needs.cooperative_matrix;
        assert!(fits, "{} takes {bytes} bytes of workgroup memory", shader.label);
    }
}

#[test]
fn labels_tell_the_variants_apart() {
    let all = variants();
    let labels: HashSet<String> = all.iter().map(|s| format!("{} {}", s.label, s.entry)).collect();
    assert_eq!(labels.len(), all.len());
}

#[test]
fn a_need_is_one() {
    for shader in variants() {
        let of_adapter = Needs { checks: false, ..shader.needs };
        if of_adapter != Needs::default() {
            let refused = validate(&shader, Needs::default()).is_err();
            assert!(refused, "{} says it needs {:?} and does not", shader.label, shader.needs);
        }
    }
}

/// naga cannot write every valid shader as SPIR-V: the arguments of cooperative matrices must be
/// bound to names before. No device of the tests compiles these kernels, so only this test sees
/// it.
#[test]
fn cooperative_matrices_are_written_as_spirv() {
    let options = spv::Options {
        lang_version: (1, 6),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..spv::Options::default()
    };
    let cooperative = |s: &Shader| s.needs.cooperative_matrix;
    let all: Vec<Shader> = variants().into_iter().filter(cooperative).collect();
    assert!(!all.is_empty());
    for shader in all {
        let (module, info) = validate(&shader, shader.needs).expect("tested above");
        let words = spv::write_vec(&module, &info, &options, None);
        let words = words.unwrap_or_else(|e| panic!("{}: {e}", shader.label));
        if let Some(folder) = std::env::var_os("GRADUS_SPIRV") {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let path = std::path::Path::new(&folder).join(format!("{}.spv", shader.label));
            std::fs::write(path, bytes).unwrap();
        }
    }
}
