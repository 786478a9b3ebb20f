//! A GPU with low limits: launches of more workgroups than one dimension has, and tensors larger
//! than one binding. It is a separate program, because a GPU's limits hold for the whole process.

mod common;

use std::sync::OnceLock;

use common::parity::compare_long;
use gradus::autograd::Var;
use gradus::tensor::{CrossEntropy, DType, Device, GpuLimits, RngKey, Tensor, gpus};
use gradus_testing::{adamw, assert_devices_agree, cases};
use proptest::prelude::*;

/// Workgroups along one dimension: few enough that long cases need several rows, and enough for all
/// cases.
const GROUPS: u32 = 32;
const BYTES: u64 = 512 << 10;

fn limited() -> Option<Device> {
    static OPENED: OnceLock<Option<Device>> = OnceLock::new();
    *OPENED.get_or_init(|| {
        if gpus().is_empty() {
            return gradus_testing::gpu(); // says that the test is skipped, or fails
        }
        let limits = GpuLimits {
            max_tensor_bytes: Some(BYTES),
            max_workgroups_per_dimension: Some(GROUPS),
            ..GpuLimits::default()
        };
        Some(Device::gpu_within(0, limits).expect("a GPU that is listed can be opened"))
    })
}

proptest! {
    #![proptest_config(cases(1))]

    /// Long dimensions, with one view for each case.
    #[test]
    fn every_operation_agrees_over_folded_launches(seed in any::<u64>().no_shrink()) {
        let Some(device) = limited() else { return Ok(()) };
        compare_long(device, seed);
    }
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, DType::F32, RngKey::new(seed)).unwrap()
}

/// Optimisers and the norm split their elements into chunks, one for each workgroup.
#[test]
fn optimiser_and_norm_agree_over_folded_launches() {
    let Some(device) = limited() else { return };
    let n = 131_003;
    let [cpu, gpu] = [Device::Cpu, device].map(|device| {
        let place = |seed| random(&[n], seed).to_device(device).unwrap();
        let (mut p, g) = (place(1), place(2));
        let (mut m, mut v) = (p.zeros_like().unwrap(), p.zeros_like().unwrap());
        let norm = Tensor::global_norm(&[&g, &p]).unwrap();
        p.adamw_(&g, &mut m, &mut v, &adamw(1), None).unwrap();
        [norm, p, m, v].map(|t| t.to_device(Device::Cpu).unwrap())
    });
    for (name, (cpu, gpu)) in ["norm", "parameter", "m", "v"].iter().zip(cpu.iter().zip(&gpu)) {
        assert_devices_agree(name, cpu, gpu);
    }
}

/// A tensor too large for one binding is refused by name, and the device keeps working. The loss of
/// a large head, whose logits would not fit, is computed in parts.
#[test]
fn what_is_larger_than_a_binding_is_refused_or_computed_in_parts() {
    let Some(device) = limited() else { return };
    let (n, width, classes) = (600, 8, 1000); // logits of 2.3 MiB
    let targets = Tensor::randint(0, classes as u32, &[n], RngKey::new(3)).unwrap();
    let [cpu, gpu] = [Device::Cpu, device].map(|device| {
        let leaf =
            |shape: &[usize], seed| Var::leaf(random(shape, seed).to_device(device).unwrap());
        let (x, w) = (leaf(&[n, width], 1), leaf(&[classes, width], 2));
        let targets = targets.to_device(device).unwrap();
        if device != Device::Cpu {
            let refused = x.linear(&w, None).err().unwrap().to_string();
            for part in ["[linear]", "a tensor of 2.3 MiB", "(0.5 MiB)", "use a smaller batch"] {
                assert!(refused.contains(part), "{refused}");
            }
        }
        let options = CrossEntropy::default();
        let loss = x.linear_cross_entropy(&w, None, &targets, &options, 100).unwrap();
        let grads = loss.backward().unwrap();
        [loss.tensor(), grads.get(&x).unwrap(), grads.get(&w).unwrap()]
            .map(|t| t.to_device(Device::Cpu).unwrap())
    });
    for (name, (cpu, gpu)) in ["loss", "dX", "dW"].iter().zip(cpu.iter().zip(&gpu)) {
        assert_devices_agree(name, cpu, gpu);
    }
    let upload = random(&[200_000], 4).to_device(device).err().unwrap().to_string();
    assert!(upload.contains("[to_device]") && upload.contains("0.8 MiB"), "{upload}");
    let copy = random(&[1000], 5).to_device(device).unwrap().broadcast_to(&[600, 1000]).unwrap();
    let copy = copy.copy().err().unwrap().to_string();
    assert!(copy.contains("a tensor of 2.3 MiB"), "{copy}");
    // The largest tensor that fits can be uploaded and read.
    let most = random(&[BYTES as usize / 4], 6);
    let back = most.to_device(device).unwrap().neg().unwrap().to_device(Device::Cpu).unwrap();
    assert_eq!(back.to_vec::<f32>().unwrap(), most.neg().unwrap().to_vec::<f32>().unwrap());
    let late = Device::gpu_within(0, GpuLimits::default()).err().unwrap().to_string();
    assert!(late.contains("open already"), "{late}");
}
