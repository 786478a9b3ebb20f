//! The profile. One test, because a process has one profile.

use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{DType, Device, Tensor, gpus, profile};
use gradus_testing::gpu;

#[test]
fn calls_and_kernels_are_recorded_with_their_time_and_work() {
    let x = Tensor::arange(0.0, 96.0, 1.0, DType::F32).unwrap().reshape(&[8, 12]).unwrap();

    assert!(profile::stop().is_none(), "nothing was begun");
    x.exp().unwrap();
    profile::start();
    let y = x.t().unwrap().matmul(&x).unwrap();
    y.permute(&[1, 0]).unwrap().copy().unwrap();
    assert!(x.matmul(&x).is_err(), "the sizes do not fit");
    let record = profile::stop().unwrap();
    let ops: Vec<&str> = record.calls.iter().map(|call| call.op).collect();
    assert_eq!(ops, ["matmul", "copy"]);
    let matmul = &record.calls[0];
    assert_eq!((matmul.device, matmul.thread), (Device::Cpu, 0));
    assert_eq!(matmul.flops, 2 * 12 * 12 * 8);
    assert_eq!(matmul.bytes, 4 * (96 + 96 + 144));
    assert_eq!(matmul.shapes, [vec![12, 8], vec![8, 12]]);
    assert!(matmul.own_ns > 0 && matmul.own_ns <= matmul.wall_ns);
    assert!(record.calls[1].begin_ns >= matmul.begin_ns + matmul.wall_ns);
    assert!(record.wall_ns >= record.calls.iter().map(|call| call.wall_ns).sum());
    assert!(record.kernels.is_empty());

    // Only the rows of a table that are looked up count.
    profile::start();
    let ids = Tensor::arange(0.0, 2.0, 1.0, DType::U32).unwrap();
    x.embedding(&ids).unwrap();
    let record = profile::stop().unwrap();
    let call = record.calls.iter().find(|call| call.op == "embedding").unwrap();
    assert_eq!(call.bytes, 4 * 2 + 2 * 4 * (2 * 12));

    // Of attention only pairs of tokens that see each other count.
    for (window, pairs) in [(None, 5 * 5 + 3 * 3), (Some(1), (3 * 5 - 2) + (3 * 3 - 2))] {
        profile::start();
        let offsets = Tensor::from_slice(&[0u32, 5, 8], &[3]).unwrap();
        let options = Attention { heads: 3, window, ..Default::default() };
        let (_, lse) = x.attention(&x, &x, None, &offsets, &options).unwrap();
        x.attention_backward([&x, &x], None, &offsets, [&lse, &x], &options).unwrap();
        let calls = profile::stop().unwrap().calls;
        let flops: Vec<u64> = calls.iter().map(|call| call.flops).filter(|&n| n > 0).collect();
        assert_eq!(flops, [2 * 2 * 12 * pairs, 2 * 5 * 12 * pairs]);
    }

    let Some(device) = gpu() else { return };
    let timestamps = gpus()[0].features.timestamps;
    let mut there = x.to_device(device).unwrap();
    profile::start();
    // More launches than one submit can time.
    let launches = 1500;
    for _ in 0..launches {
        there = there.neg().unwrap();
    }
    device.synchronize().unwrap();
    let record = profile::stop().unwrap();
    assert_eq!(record.calls.len(), launches);
    assert_eq!(record.dropped, 0);
    assert_eq!(there.to_f64_vec(), x.to_f64_vec());
    if timestamps {
        assert_eq!(record.kernels.len(), launches);
        let named = record.kernels.iter().enumerate().all(|(i, kernel)| kernel.call == Some(i));
        assert!(named, "every kernel knows its call");
        let total: u64 = record.kernels.iter().map(|kernel| kernel.wall_ns).sum();
        assert!(total > 0 && total < record.wall_ns, "{total} of {}", record.wall_ns);
        assert_eq!(record.calls.iter().map(|call| call.own_ns).sum::<u64>(), total);
    }
}
