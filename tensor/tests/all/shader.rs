//! Whole shaders of users: what they write, and what is refused by name.

use gradus_tensor::ops::shader::{UserShader, launch};
use gradus_tensor::{Device, Tensor};
use gradus_testing::gpu;

const SCALE: &str = "
    struct Arguments { n: u32, factor: f32 }
    var<immediate> arguments: Arguments;
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64)
    fn scale(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x < arguments.n) { y[id.x] = arguments.factor * x[id.x]; }
    }";

fn tensor(x: &[f32], device: Device) -> Tensor {
    Tensor::from_slice(x, &[x.len()]).unwrap().to_device(device).unwrap()
}

#[test]
fn it_writes_a_part_of_the_result() {
    let Some(device) = gpu() else { return };
    let shader = UserShader::parse("scale.wgsl", SCALE).unwrap();
    let (x, mut y) = (tensor(&[1.0, 2.0, 3.0], device), tensor(&[7.0; 5], device));
    let arguments = [3, 2f32.to_bits()];
    launch(&shader, "scale", &[&x], &mut [&mut y], &arguments, [1, 1, 1]).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [2.0, 4.0, 6.0, 7.0, 7.0]);
}

#[test]
fn what_does_not_fit_is_named() {
    let wgsl = "@compute @workgroup_size(1) fn main() { lanes[0] = 1.0; }";
    let error = UserShader::parse("lanes.wgsl", wgsl).unwrap_err();
    assert!(error.contains("lanes.wgsl:1:41"), "{error}");
    let Some(device) = gpu() else { return };
    let shader = UserShader::parse("scale.wgsl", SCALE).unwrap();
    let (x, mut y) = (tensor(&[1.0, 2.0, 3.0], device), tensor(&[7.0; 3], device));
    let mut refused = |entry: &str, inputs: &[&Tensor], arguments: &[u32], wanted: &str| {
        let result = launch(&shader, entry, inputs, &mut [&mut y], arguments, [1, 1, 1]);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    refused("run", &[&x], &[3, 0], "scale.wgsl has no entry point `run`");
    refused("scale", &[&x], &[3], "scale.wgsl wants 8 bytes of immediates, but gets 4");
    refused("scale", &[], &[3, 0], "scale.wgsl reads 1 buffers and writes 1; it got (0, 1)");
    refused("scale", &[&x.narrow(0, 1, 2).unwrap()], &[2, 0], "is a view; make it contiguous");
}
