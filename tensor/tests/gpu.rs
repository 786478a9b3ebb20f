//! The GPU's memory, transfers and errors. The workspace's `tests/all/device_parity.rs` compares
//! the results of kernels with the CPU's.

use gradus_tensor::{DType, Device, RngKey, Tensor};
use gradus_testing::gpu;

#[test]
fn tensors_move_there_and_back() {
    let Some(device) = gpu() else { return };
    for dtype in [DType::F32, DType::U32, DType::U8] {
        for n in [0, 1, 3, 257, 70_001] {
            let x = Tensor::arange(0.0, n as f64, 1.0, dtype).unwrap();
            let there = x.to_device(device).unwrap();
            assert_eq!(there.device(), device);
            // A copy made on the GPU has no CPU original.
            let back = there.copy().unwrap().to_device(Device::Cpu).unwrap();
            assert_eq!(back.to_f64_vec(), x.to_f64_vec(), "{dtype} {n}");
            assert_eq!(back.dtype(), dtype);
        }
    }
    let x = Tensor::arange(0.0, 24.0, 1.0, DType::F32).unwrap().reshape(&[2, 3, 4]).unwrap();
    let there = x.to_device(device).unwrap();
    let (a, b) = (x.permute(&[2, 0, 1]).unwrap(), there.permute(&[2, 0, 1]).unwrap());
    assert_eq!(a.to_f64_vec(), b.to_f64_vec());
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
}

#[test]
fn more_dimensions_than_a_kernel_walks() {
    let Some(device) = gpu() else { return };
    let x = Tensor::arange(0.0, 256.0, 1.0, DType::F32).unwrap().reshape(&[2; 8]).unwrap();
    let back: Vec<isize> = (0..8).rev().collect();
    let (a, b) = (x.permute(&back).unwrap(), x.to_device(device).unwrap().permute(&back).unwrap());
    assert_eq!(a.to_f64_vec(), b.to_f64_vec());
    let there = x.to_device(device).unwrap();
    assert_eq!(a.add(&x).unwrap().to_f64_vec(), b.add(&there).unwrap().to_f64_vec());
}

#[test]
fn conversions_round_and_saturate_as_on_the_cpu() {
    let Some(device) = gpu() else { return };
    let odd = [
        0.0f32,
        -1.5,
        0.4,
        255.9,
        256.0,
        1e9,
        4294967040.0,
        5e9,
        f32::NAN,
        -0.0,
        3.7,
        f32::INFINITY,
    ];
    let x = Tensor::from_slice(&odd, &[odd.len()]).unwrap();
    let there = x.to_device(device).unwrap();
    for dtype in [DType::U32, DType::U8, DType::F32] {
        let (a, b) = (x.to_dtype(dtype).unwrap(), there.to_dtype(dtype).unwrap());
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
        let (a, b) = (a.to_dtype(DType::F32).unwrap(), b.to_dtype(DType::F32).unwrap());
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }
}

#[test]
fn what_a_gpu_cannot_is_said() {
    let Some(device) = gpu() else { return };
    let message = |r: gradus_tensor::Result<Tensor>| r.err().unwrap().to_string();
    let x = Tensor::zeros(&[2, 3], DType::F32).unwrap();
    let there = x.to_device(device).unwrap();
    let mixed = message(there.add(&x));
    assert!(mixed.starts_with("[add] operands lie on gpu:0 ([2, 3]) and on cpu"), "{mixed}");
    assert!(message(Tensor::zeros(&[1], DType::F64).unwrap().to_device(device)).contains("f64"));
    assert!(message(Tensor::zeros(&[1], DType::BF16).unwrap().to_device(device)).contains("bf16"));
    let absent = message(x.to_device(Device::Gpu(1000)));
    assert!(absent.contains("gpu:1000"), "{absent}");
    // A tensor larger than a binding is refused, not attempted.
    let large = Tensor::zeros_on(&[1 << 20, 1 << 11], DType::F32, device);
    let large = message(large);
    assert!(large.contains("MiB") && large.contains("binding"), "{large}");
}

#[test]
fn changes_in_place_are_nobody_elses() {
    let Some(device) = gpu() else { return };
    let mut x = Tensor::ones(&[4], DType::F32).unwrap().to_device(device).unwrap();
    let shared = x.clone();
    x.add_(&shared, 2.0).unwrap();
    x.mul_scalar_(0.5).unwrap();
    assert_eq!(x.to_f64_vec(), [1.5; 4]);
    assert_eq!(shared.to_f64_vec(), [1.0; 4]);
    x.copy_(&shared).unwrap();
    assert_eq!(x.to_f64_vec(), [1.0; 4]);
    // Ids keep an original on the CPU; a change in place drops it.
    let mut ids = Tensor::from_slice(&[1u32, 2, 3], &[3]).unwrap().to_device(device).unwrap();
    let other = Tensor::from_slice(&[4u32, 5, 6], &[3]).unwrap().to_device(device).unwrap();
    ids.copy_(&other.copy().unwrap()).unwrap();
    assert_eq!(ids.to_f64_vec(), [4.0, 5.0, 6.0]);
}

#[test]
fn dropout_drops_what_the_cpu_drops() {
    let Some(device) = gpu() else { return };
    for n in [1, 5, 4099] {
        let key = RngKey::new(3).step(n as u64);
        let x = Tensor::randn(&[n], DType::F32, key).unwrap();
        let there = x.to_device(device).unwrap();
        let (a, b) = (x.dropout(0.3, key).unwrap(), there.dropout(0.3, key).unwrap());
        assert_eq!(a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
        let mask = Tensor::bernoulli_mask_on(&[n], 0.3, key, device).unwrap();
        let here = Tensor::bernoulli_mask(&[n], 0.3, key).unwrap();
        assert_eq!(mask.to_f64_vec(), here.to_f64_vec());
    }
}

/// More elements than 65,535 workgroups can handle.
#[test]
fn larger_than_a_dispatch_dimension() {
    let Some(device) = gpu() else { return };
    let n = 65_536 * 256 + 300;
    let one = Tensor::full_on(&[1], 1.0, DType::U8, device).unwrap();
    let mask = one.broadcast_to(&[n]).unwrap().copy().unwrap();
    let last = mask.narrow(0, n - 300, 300).unwrap();
    assert_eq!(last.to_f64_vec(), [1.0; 300]);
}

/// One test, because the counters belong to the device and the tests of this file run in parallel.
#[test]
fn a_step_of_the_same_shapes_creates_nothing() {
    // Runs in a separate process, so that no other test changes the counters.
    if std::env::var_os("GRADUS_TEST_COUNTERS").is_none() {
        let program = std::env::current_exe().unwrap();
        let status = std::process::Command::new(program)
            .args(["--exact", "a_step_of_the_same_shapes_creates_nothing", "--nocapture"])
            .env("GRADUS_TEST_COUNTERS", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let Some(device) = gpu() else { return };
    let mut weight = Tensor::ones(&[32, 16], DType::F32).unwrap().to_device(device).unwrap();
    let mut step = |i: usize| {
        // Every step has new values, uploaded while earlier steps still wait to run.
        let x = Tensor::full(&[8, 16], i as f64, DType::F32).unwrap().to_device(device).unwrap();
        let y = x.matmul(&weight.t().unwrap()).unwrap().gelu().unwrap();
        let z = y.dropout(0.1, RngKey::new(i as u64)).unwrap().add(&y).unwrap();
        weight.mul_scalar_(0.5).unwrap();
        weight.add_(&Tensor::full_on(&[1], 0.5, DType::F32, device).unwrap(), 1.0).unwrap();
        (x, z)
    };
    let counters = || device.counters().unwrap().unwrap();
    for i in 0..4 {
        step(i).1.to_f64_vec();
    }
    let before = counters();
    for i in 4..10 {
        let (x, z) = step(i);
        assert_eq!(z.to_f64_vec().len(), 8 * 32);
        assert_eq!(x.to_f64_vec(), vec![i as f64; 8 * 16]);
    }
    let after = counters();
    assert_eq!(after.buffers, before.buffers);
    assert_eq!(after.bind_groups, before.bind_groups);
    assert_eq!(after.pipelines, before.pipelines);
    assert_eq!(after.submits - before.submits, 12, "one a read");
    assert_eq!(after.live_bytes, before.live_bytes);
    // Without reads there is no submit, and every upload still reaches its place.
    let kept: Vec<_> = (10..20).map(|i| step(i).0).collect();
    assert_eq!(counters().submits, after.submits);
    for (i, x) in kept.iter().enumerate() {
        assert_eq!(x.to_f64_vec()[0], (10 + i) as f64);
    }
}

#[test]
fn large_products_agree_with_the_cpu() {
    let Some(device) = gpu() else { return };
    let random =
        |shape: &[usize], seed| Tensor::randn(shape, DType::F32, RngKey::new(seed)).unwrap();
    let there = |t: &Tensor| t.to_device(device).unwrap();
    let agree = |ours: &Tensor, truth: &Tensor| {
        assert_eq!(ours.shape(), truth.shape());
        for (a, b) in ours.to_f64_vec().into_iter().zip(truth.to_f64_vec()) {
            assert!((a - b).abs() < 1e-4, "{a} and {b}");
        }
    };
    // Large enough for the large tiles, and no multiple of them; each operand also transposed.
    let (m, k, n) = (515, 37, 530);
    let (a, b) = (random(&[m, k], 1), random(&[k, n], 2));
    let (a_t, b_t) = (a.t().unwrap().copy().unwrap(), b.t().unwrap().copy().unwrap());
    let truth = a.matmul(&b).unwrap();
    for x in [there(&a), there(&a_t).t().unwrap()] {
        for y in [there(&b), there(&b_t).t().unwrap()] {
            agree(&x.matmul(&y).unwrap(), &truth);
        }
    }
    let bias = random(&[n], 3);
    let (y, before) = there(&a).linear_gelu(&there(&b_t), Some(&there(&bias)), true).unwrap();
    let linear = a.linear(&b_t, Some(&bias)).unwrap();
    agree(&before.unwrap(), &linear);
    agree(&y, &linear.gelu().unwrap());
    agree(&there(&a).linear_gelu(&there(&b_t), None, false).unwrap().0, &truth.gelu().unwrap());
}
