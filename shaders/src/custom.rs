//! Kernels of users: a function of WGSL that gives one element of the result.
//!
//! The user's text defines `fn element(i: u32) -> f32`: the element at flat index i of the result. It
//! reads the inputs, which are row-major, as `in0[j]`, `in1[j]`, …
//!
//! Shapes: any. One thread computes one element, in f32. The device checks every index, and takes one
//! beyond the end of a buffer for another within it; whether an index is right is the kernel's matter.

use crate::{Needs, Shader, WORKGROUP, bindings};

const TEXT: &str = "
struct Arguments { numel: u32 }
var<immediate> arguments: Arguments;

@compute @workgroup_size(WORKGROUP)
fn custom(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * WORKGROUPu + local;
    if (i < arguments.numel) {
        custom_result[i] = element(i);
    }
}
";

/// The kernel `name` of `inputs` buffers and one for the result, by the user's `text`.
pub fn element(name: &str, text: &str, inputs: u32) -> Shader {
    let read: Vec<String> = (0..inputs).map(|i| format!("in{i}")).collect();
    let bindings = bindings(&read, &["custom_result".to_string()]);
    let entry = TEXT.replace("WORKGROUP", &WORKGROUP.to_string());
    Shader {
        label: format!("custom.{name}"),
        // The user's text first, so that errors count its lines.
        source: format!("{text}\n{bindings}{entry}"),
        entry: "custom",
        inputs,
        outputs: 1,
        needs: Needs { checks: true, ..Needs::default() },
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    let sum = "fn element(i: u32) -> f32 { return in0[i] + in1[i]; }";
    vec![element("sum", sum, 2)]
}
