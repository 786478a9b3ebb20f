//! Composed operations at arguments where the obvious composition would be wrong: small and large
//! numbers, zeros, infinities, NaN. The values are PyTorch 2's.

use gradus::autograd::where_;
use gradus::prelude::*;
use gradus_testing::{assert_near_or_nan, devices};

fn close(a: &[f32], b: &[f32]) {
    assert_near_or_nan("derived", a, b, |b| 4e-7 * b.abs());
}

fn leaf(values: &[f32], device: Device) -> Var {
    Var::leaf(Tensor::from_slice_on(values, &[values.len()], device).unwrap())
}

/// Value and gradient of Σf(x).
fn both(f: impl Fn(&Var) -> Result<Var>, x: &Var) -> (Vec<f32>, Vec<f32>) {
    let y = f(x).unwrap();
    let grads = y.sum_all().unwrap().backward().unwrap();
    (y.tensor().to_vec().unwrap(), grads.get(x).unwrap().to_vec().unwrap())
}

#[test]
fn functions_keep_their_digits_and_their_ends() {
    let inf = f32::INFINITY;
    for device in devices() {
        let x = leaf(&[1e-8, -1e-5, 0.3, 20.0, 100.0, -100.0, -inf, inf], device);
        let (y, g) = both(Var::expm1, &x);
        let large = 485_165_195.409_790_3_f64 - 1.0;
        close(&y, &[1e-8, -9.999_95e-6, 0.349_858_8, large as f32, inf, -1.0, -1.0, inf]);
        close(&g[..5], &[1.0, 0.999_99, 1.349_858_8, large as f32, inf]);
        assert!(g[5] < 1e-40 && g[6] == 0.0, "{g:?}");
        let (y, _) = both(Var::exp2, &leaf(&[10.0, -3.0, 100.0, 0.5, 127.0], device));
        close(&y, &[1024.0, 0.125, 1.267_650_6e30, std::f32::consts::SQRT_2, 1.701_411_8e38]);
        let (y, _) = both(Var::log2, &leaf(&[8.0, 0.25, 1.0, 0.0], device));
        close(&y, &[3.0, -2.0, 0.0, -inf]);
        let x = leaf(&[-2.0, -0.0, 0.0, 3.0, 1e4, -1e4], device);
        let (y, g) = both(|x| x.elu(2.0), &x);
        close(&y, &[-1.729_329_4, 0.0, 0.0, 3.0, 1e4, -2.0]);
        close(&g, &[0.270_670_57, 2.0, 2.0, 1.0, 1.0, 0.0]);
        let (y, g) = both(|x| x.leaky_relu(0.25), &x);
        close(&y, &[-0.5, 0.0, 0.0, 3.0, 1e4, -2500.0]);
        close(&g, &[0.25, 0.25, 0.25, 1.0, 1.0, 0.25]);
        let nan = leaf(&[f32::NAN], device);
        let functions: [fn(&Var) -> Result<Var>; 3] = [Var::expm1, Var::softsign, |x| x.elu(1.0)];
        assert!(functions.iter().all(|f| both(f, &nan).0[0].is_nan()));
    }
}

#[test]
fn norms_neither_overflow_nor_lose_their_slope() {
    for device in devices() {
        for (p, value) in [(1.0, 7e30), (2.0, 5e30), (3.0, 4.497_941_4e30), (f64::INFINITY, 4e30)] {
            let x = leaf(&[3e30, -4e30], device);
            let norm = x.norm(p, &[], false).unwrap();
            close(&norm.tensor().to_vec().unwrap(), &[value]);
            let zero = leaf(&[0.0, 0.0], device);
            let (y, g) = both(|x| x.norm(p, &[0], true), &zero);
            assert_eq!((y[0], &g[..]), (0.0, &[0.0, 0.0][..]), "p = {p}");
        }
        let (y, g) = both(|x| x.norm(2.0, &[], false), &leaf(&[3e-30, -4e-30], device));
        close(&y, &[5e-30]);
        close(&g, &[0.6, -0.8]);
        let odd = leaf(&[1.0, f32::INFINITY], device);
        assert_eq!(odd.norm(2.0, &[], false).unwrap().item().unwrap(), f64::INFINITY);
        let (y, g) = both(|x| x.std(&[0], false, 1), &leaf(&[2.0, 2.0, 2.0], device));
        assert_eq!((y[0], &g[..]), (0.0, &[0.0; 3][..]));
        assert!(leaf(&[1.0], device).norm(0.5, &[], false).is_err());
    }
}

#[test]
fn masks() {
    for device in devices() {
        let x = leaf(&[f32::NAN, f32::INFINITY, -0.0, 2.0], device).into_tensor();
        let bits = |t: Result<Tensor>| t.unwrap().to_vec::<u8>().unwrap();
        assert_eq!(bits(x.isnan()), [1, 0, 0, 0]);
        assert_eq!(bits(x.isinf()), [0, 1, 0, 0]);
        assert_eq!(bits(x.logical_not()), [0, 0, 1, 0]);
        let (a, b) = (x.gt(1.0).unwrap(), x.isinf().unwrap());
        assert_eq!(bits(a.logical_and(&b)), [0, 1, 0, 0]);
        assert_eq!(bits(a.logical_or(&b)), [0, 1, 0, 1]);
        assert_eq!(bits(a.logical_xor(&b)), [0, 0, 0, 1]);
        assert_eq!((bits(x.any(&[], false)), bits(x.all(&[0], false))), (vec![1], vec![0]));
        let none = x.i(..0).unwrap();
        assert_eq!((bits(none.any(&[], false)), bits(none.all(&[], true))), (vec![0], vec![1]));
        let many = Tensor::full_on(&[70_000], 1.0, DType::U8, device).unwrap();
        assert_eq!(bits(many.any(&[], false)), [1], "a count must not wrap around");
        let ids = Tensor::from_slice_on(&[2u32, 0], &[2], device).unwrap();
        assert_eq!(bits(ids.one_hot(3)), [0, 0, 1, 1, 0, 0]);
        let error = ids.one_hot(2).err().unwrap().to_string();
        assert!(error.contains("an id is 2, there are 2 classes"), "{error}");
    }
}

#[test]
fn places() {
    for device in devices() {
        let x = leaf(&[1.0, 2.0, 3.0, 4.0], device);
        let index = Tensor::from_slice_on(&[3u32, 1], &[2], device).unwrap();
        let source = leaf(&[10.0, 20.0], device);
        let y = x.scatter(0, &index, &source).unwrap();
        close(&y.tensor().to_vec().unwrap(), &[1.0, 20.0, 3.0, 10.0]);
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_vec::<f32>().unwrap(), [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(grads.get(&source).unwrap().to_vec::<f32>().unwrap(), [1.0, 1.0]);
        let twice = Tensor::from_slice_on(&[1u32, 1], &[2], device).unwrap();
        let error = x.scatter(0, &twice, &source).err().unwrap().to_string();
        assert!(error.contains("two elements go to one place"), "{error}");
        // Among ties the first wins, as in PyTorch, and gets the whole gradient.
        let x = leaf(&[5.0, 7.0, 7.0, 1.0], device);
        let (value, at) = x.max_with_index(0, false).unwrap();
        assert_eq!((value.item().unwrap(), at.to_vec::<u32>().unwrap()), (7.0, vec![1]));
        let grads = value.backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_vec::<f32>().unwrap(), [0.0, 1.0, 0.0, 0.0]);
        let chosen = where_(&x.lt(6.0).unwrap(), &x, &(-&x).unwrap()).unwrap();
        close(&chosen.tensor().to_vec().unwrap(), &[5.0, -7.0, -7.0, 1.0]);
        let mask = Tensor::from_slice_on(&[1u8, 0, 0, 0, 0, 0, 0, 0], &[2, 4], device).unwrap();
        assert!(x.masked_fill(&mask, 0.0).is_err(), "a mask must not enlarge the value");
    }
}

#[test]
fn operators_read_as_formulas() {
    let (x, w) = (leaf(&[2.0], Device::Cpu), leaf(&[3.0], Device::Cpu));
    let b = leaf(&[1.0], Device::Cpu);
    let y = ((&x * &w + &b).unwrap() * 2.0 - &x).unwrap();
    assert_eq!(y.item().unwrap(), 12.0);
    let grads = y.backward().unwrap();
    let slope = |v: &Var| grads.get(v).unwrap().item().unwrap();
    assert_eq!((slope(&x), slope(&w), slope(&b)), (5.0, 4.0, 2.0));
    let y = (1.0 / &x - (3.0 * w).unwrap()).unwrap();
    assert_eq!(y.item().unwrap(), -8.5);
}
