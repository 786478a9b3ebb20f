//! Reductions, softmax and layer normalisation on a GPU against the CPU, in cases that the registry
//! (`tests/all/device_parity.rs`) does not have: many blocks, every division of a workgroup,
//! integers, NaN.

use gradus_tensor::ops::reduce::ReduceOp;
use gradus_tensor::{DType, RngKey, Tensor};
use gradus_testing::{assert_devices_agree, gpu};

const OPS: [ReduceOp; 8] = [
    ReduceOp::Sum,
    ReduceOp::Prod,
    ReduceOp::Mean,
    ReduceOp::Max,
    ReduceOp::Min,
    ReduceOp::Var { correction: 0 },
    ReduceOp::Var { correction: 1 },
    ReduceOp::LogSumExp,
];

/// Shapes, each with the dimensions to reduce.
const SHAPES: [(&[usize], &[isize]); 14] = [
    (&[7, 5], &[1]),
    (&[300, 16], &[1]),
    (&[9, 17], &[1]),
    (&[5, 257], &[1]),
    (&[3, 8192], &[1]),
    (&[2, 8193], &[1]),
    (&[150_001], &[]),
    (&[7, 5], &[0]),
    (&[9, 70], &[0]),
    (&[513, 67], &[0]),
    (&[140_000, 2], &[0]),
    (&[3, 700, 5], &[1]),
    (&[4, 5, 6, 7], &[0, 2]),
    (&[4, 5, 6, 7], &[1, 3]),
];

#[test]
fn reductions_of_every_division() {
    let Some(device) = gpu() else { return };
    for (i, (shape, dims)) in SHAPES.into_iter().enumerate() {
        // Values around 1, so that products stay in range.
        let x = Tensor::rand(shape, DType::F32, RngKey::new(i as u64)).unwrap();
        let x = x.affine(0.02, 0.991).unwrap();
        let there = x.to_device(device).unwrap();
        for op in OPS {
            let what = format!("{op:?} {shape:?} {dims:?}");
            let y = there.reduce(op, dims, false).unwrap();
            assert_devices_agree(&what, &x.reduce(op, dims, false).unwrap(), &y);
            let again = there.reduce(op, dims, false).unwrap();
            assert_eq!(y.to_f64_vec(), again.to_f64_vec(), "{what}: twice");
        }
    }
}

#[test]
fn the_order_of_summation_does_not_depend_on_strides() {
    let Some(device) = gpu() else { return };
    let x = Tensor::rand(&[600, 90], DType::F32, RngKey::new(3)).unwrap();
    let there = x.to_device(device).unwrap();
    let turned = x.transpose(0, 1).unwrap().copy().unwrap().to_device(device).unwrap();
    let turned = turned.transpose(0, 1).unwrap();
    for dims in [&[0isize][..], &[1], &[0, 1]] {
        let (a, b) = (there.sum(dims, false).unwrap(), turned.sum(dims, false).unwrap());
        assert_eq!(a.to_f64_vec(), b.to_f64_vec(), "{dims:?}");
    }
}

#[test]
fn more_dimensions_than_the_kernel_walks() {
    let Some(device) = gpu() else { return };
    let x = Tensor::rand(&[2; 12], DType::F32, RngKey::new(4)).unwrap();
    let there = x.to_device(device).unwrap();
    for dims in [&[0isize, 2, 4, 6, 8, 10][..], &[1, 3, 5, 7, 9, 11], &[-1]] {
        let cpu = x.sum(dims, true).unwrap();
        assert_devices_agree(&format!("{dims:?}"), &cpu, &there.sum(dims, true).unwrap());
    }
}

#[test]
fn integers() {
    let Some(device) = gpu() else { return };
    for dtype in [DType::U32, DType::U8] {
        for (shape, dims) in SHAPES {
            let n = shape.iter().product::<usize>() as f64;
            let x = Tensor::arange(1.0, n + 1.0, 1.0, DType::F32).unwrap();
            // Mixed values, large enough for sums and products to wrap around.
            let x = x.affine(0.37, 0.0).unwrap().sin().unwrap().affine(120.0, 122.0).unwrap();
            let x = x.to_dtype(dtype).unwrap().reshape(shape).unwrap();
            let there = x.to_device(device).unwrap().copy().unwrap();
            for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min] {
                let (a, b) = (x.reduce(op, dims, false).unwrap(), there.reduce(op, dims, false));
                let b = b.unwrap();
                assert_eq!(a.dtype(), b.dtype());
                let what = format!("{op:?} {dtype} {shape:?} {dims:?}");
                assert_eq!(a.to_f64_vec(), b.to_f64_vec(), "{what}");
            }
            for dim in 0..shape.len() as isize {
                let what = format!("{dtype} {shape:?} {dim}");
                let (a, b) = (x.argmax(dim, false).unwrap(), there.argmax(dim, false).unwrap());
                assert_eq!(a.to_f64_vec(), b.to_f64_vec(), "argmax {what}");
                let (a, b) = (x.argmin(dim, false).unwrap(), there.argmin(dim, false).unwrap());
                assert_eq!(a.to_f64_vec(), b.to_f64_vec(), "argmin {what}");
            }
        }
    }
}

#[test]
fn the_first_extremum_and_nan() {
    let Some(device) = gpu() else { return };
    for n in [1usize, 3, 16, 17, 200, 257, 5000] {
        // Many equal values; the second row has two NaN, the third only −∞, the fourth ±∞.
        let mut rows: Vec<f32> = (0..4 * n).map(|i| ((i * 7) % 5) as f32 - 2.0).collect();
        rows[n + n / 2] = f32::NAN;
        rows[2 * n - 1] = f32::NAN;
        rows[2 * n..3 * n].fill(f32::NEG_INFINITY);
        rows[3 * n] = f32::NEG_INFINITY;
        rows[4 * n - 1] = f32::INFINITY;
        let x = Tensor::from_slice(&rows, &[4, n]).unwrap();
        let there = x.to_device(device).unwrap();
        for (a, b) in [(x.clone(), there.clone()), (x.t().unwrap(), there.t().unwrap())] {
            let dim = if a.shape()[0] == 4 && n != 4 { 1 } else { 0 };
            let (cpu, gpu) = (a.argmax(dim, false).unwrap(), b.argmax(dim, false).unwrap());
            assert_eq!(cpu.to_f64_vec(), gpu.to_f64_vec(), "argmax {n}");
            let (cpu, gpu) = (a.argmin(dim, true).unwrap(), b.argmin(dim, true).unwrap());
            assert_eq!(cpu.to_f64_vec(), gpu.to_f64_vec(), "argmin {n}");
            for op in [ReduceOp::Max, ReduceOp::Min, ReduceOp::Sum, ReduceOp::LogSumExp] {
                let (cpu, gpu) = (a.reduce(op, &[dim], false), b.reduce(op, &[dim], false));
                assert_devices_agree(&format!("{op:?} {n}"), &cpu.unwrap(), &gpu.unwrap());
            }
        }
        assert_devices_agree("softmax", &x.softmax(1).unwrap(), &there.softmax(1).unwrap());
        assert_devices_agree(
            "log_softmax",
            &x.log_softmax(1).unwrap(),
            &there.log_softmax(1).unwrap(),
        );
    }
}

/// Rows and columns.
const ROWS: [(usize, usize); 8] =
    [(1, 1), (3, 2), (130, 64), (65, 256), (64, 257), (7, 768), (70_001, 3), (2, 5000)];

#[test]
fn softmax_of_every_width() {
    let Some(device) = gpu() else { return };
    for (rows, n) in ROWS {
        let x = Tensor::randn(&[rows, n], DType::F32, RngKey::new(n as u64)).unwrap();
        let g = Tensor::randn(&[rows, n], DType::F32, RngKey::new(99)).unwrap();
        let (x_there, g_there) = (x.to_device(device).unwrap(), g.to_device(device).unwrap());
        let (a, b) = (x.softmax(-1).unwrap(), x_there.softmax(-1).unwrap());
        assert_devices_agree(&format!("softmax {rows} {n}"), &a, &b);
        let (da, db) = (a.softmax_backward(&g, -1), b.softmax_backward(&g_there, -1));
        assert_devices_agree(&format!("softmax_backward {rows} {n}"), &da.unwrap(), &db.unwrap());
        let (a, b) = (x.log_softmax(-1).unwrap(), x_there.log_softmax(-1).unwrap());
        assert_devices_agree(&format!("log_softmax {rows} {n}"), &a, &b);
        let (da, db) = (a.log_softmax_backward(&g, -1), b.log_softmax_backward(&g_there, -1));
        assert_devices_agree(
            &format!("log_softmax_backward {rows} {n}"),
            &da.unwrap(),
            &db.unwrap(),
        );
    }
}

#[test]
fn layer_norm_of_every_width() {
    let Some(device) = gpu() else { return };
    for (rows, n) in ROWS.into_iter().chain([(0, 5), (4, 0)]) {
        let random = |shape: &[usize], key| Tensor::randn(shape, DType::F32, RngKey::new(key));
        let x = random(&[rows, n], 1).unwrap().affine(0.5, 3.0).unwrap();
        let g = random(&[rows, n], 2).unwrap();
        let (w, b) = (random(&[n], 3).unwrap(), random(&[n], 4).unwrap());
        let there = |t: &Tensor| t.to_device(device).unwrap();
        let cpu = x.layer_norm(&w, Some(&b), 1e-5).unwrap();
        let gpu = there(&x).layer_norm(&there(&w), Some(&there(&b)), 1e-5).unwrap();
        let what = |part: &str| format!("{part} {rows} {n}");
        assert_devices_agree(&what("mean"), &cpu.mean, &gpu.mean);
        // Short rows may have almost no variance, which magnifies the rounding of the mean.
        let steady = n > 3 || n == 0;
        if steady {
            assert_devices_agree(&what("rstd"), &cpu.rstd, &gpu.rstd);
            assert_devices_agree(&what("output"), &cpu.output, &gpu.output);
        }
        // Both start from the same statistics, so that only this kernel is compared.
        let (mean, rstd) = (there(&cpu.mean), there(&cpu.rstd));
        for more in [None, Some(random(&[rows, n], 5).unwrap())] {
            let h = more.as_ref();
            let (x_there, g_there, h_there) = (there(&x), there(&g), h.map(there));
            let gpu =
                x_there.layer_norm_backward(&there(&w), &mean, &rstd, &g_there, h_there.as_ref());
            let (gpu, cpu) = (gpu.unwrap(), x.layer_norm_backward(&w, &cpu.mean, &cpu.rstd, &g, h));
            let cpu = cpu.unwrap();
            assert_devices_agree(&what("dw"), &cpu.1, &gpu.1);
            assert_devices_agree(&what("db"), &cpu.2, &gpu.2);
            if steady {
                assert_devices_agree(&what("dx"), &cpu.0, &gpu.0);
            }
        }
    }
}
