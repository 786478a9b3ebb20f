//! Every variant of every shader parses and validates, for every set of features that an adapter may
//! have, without any adapter.

use std::collections::HashSet;

use gradus_shaders::{Needs, Shader, variants};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// What an adapter with these features lets a shader do.
fn capabilities(features: Needs) -> Capabilities {
    let mut capabilities = Capabilities::IMMEDIATES;
    capabilities.set(Capabilities::SHADER_FLOAT16, features.f16);
    capabilities.set(Capabilities::SUBGROUP, features.subgroups);
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, features.cooperative_matrix);
    capabilities
}

fn validate(shader: &Shader, features: Needs) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(&shader.source)
        .map_err(|e| e.emit_to_string(&shader.source))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities(features));
    validator.validate(&module).map_err(|e| e.emit_to_string(&shader.source))?;
    let entry = module.entry_points.iter().find(|e| e.name == shader.entry);
    entry.map(|_| ()).ok_or_else(|| format!("no entry point {}", shader.entry))
}

#[test]
fn every_variant_is_valid() {
    let all = variants();
    assert!(!all.is_empty());
    for shader in &all {
        // With just what it says it needs: so it runs on every adapter that has that.
        if let Err(error) = validate(shader, shader.needs) {
            panic!("{}: {error}", shader.label);
        }
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
        if shader.needs != Needs::default() {
            let refused = validate(&shader, Needs::default()).is_err();
            assert!(refused, "{} says it needs {:?} and does not", shader.label, shader.needs);
        }
    }
}
