//! Kernels that change their operand, in every dtype that they take, and what an array says of
//! itself.

use gradus_base::DType;
use gradus_base::layout::Layout;
use gradus_cpu::{Array, ViewMut, binary, copy, create};

fn array(values: &[f64], dtype: DType) -> Array {
    let list = create::list("test", values.len(), DType::F64, &|i| values[i]).unwrap();
    copy::convert(list.view(), dtype).unwrap()
}

fn values(x: &Array) -> Vec<f64> {
    x.view().to_f64_vec("test").unwrap()
}

/// The array after a change in place.
fn changed(x: Array, change: impl FnOnce(ViewMut)) -> Array {
    let (mut storage, dtype, layout) = x.into_parts();
    change(ViewMut::new(&mut storage, dtype, &layout));
    let layout = Layout::contiguous(&layout.shape);
    gradus_cpu::View::new(&storage, dtype, &layout).copy("test").unwrap()
}

#[test]
fn sums_and_multiples() {
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let (a, b) = ([1.0, -2.0, 0.5, 64.0], [4.0, 8.0, -1.0, 0.25]);
        let sum = changed(array(&a, dtype), |x| {
            binary::add_(x, array(&b, dtype).view(), 0.5).unwrap();
        });
        assert_eq!(values(&sum)[..3], [3.0, 2.0, 0.0], "{dtype}");
        // bf16 has eight binary digits: 64.125 rounds to 64.
        let last = if dtype == DType::BF16 { 64.0 } else { 64.125 };
        assert_eq!((values(&sum)[3], sum.dtype()), (last, dtype), "{dtype}");
        let product = changed(array(&a, dtype), |x| binary::mul_scalar_(x, -1.5).unwrap());
        assert_eq!(values(&product), [-1.5, 3.0, -0.75, -96.0], "{dtype}");
    }
}

/// Several tasks change parts of one operand.
#[test]
fn long_operands() {
    let n = 40_000;
    let x = create::full(&[n], 3.0, DType::F32).unwrap();
    let y = create::list("test", n, DType::F32, &|i| (i % 7) as f64).unwrap();
    let sum = changed(x, |x| binary::add_(x, y.view(), 2.0).unwrap());
    assert!(values(&sum).iter().enumerate().all(|(i, x)| *x == 3.0 + 2.0 * (i % 7) as f64));
    let product = changed(sum, |x| binary::mul_scalar_(x, 0.5).unwrap());
    assert!(values(&product).iter().enumerate().all(|(i, x)| *x == 1.5 + (i % 7) as f64));
}

#[test]
fn arrays_know_their_shape_and_size() {
    let x = create::full(&[2, 3], 1.0, DType::F32).unwrap();
    assert_eq!((x.shape(), x.dtype()), (&[2, 3][..], DType::F32));
    assert_eq!((x.view().storage().len(), x.view().storage().is_empty()), (24, false));
    let nothing = create::full(&[0, 3], 1.0, DType::F32).unwrap();
    assert_eq!((nothing.shape(), nothing.view().storage().is_empty()), (&[0, 3][..], true));
}
