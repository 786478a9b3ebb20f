//! Comparisons of numbers.

use gradus_tensor::{Device, Tensor};

/// Lists of numbers that can be compared, and tensors, which also have a shape.
pub trait Numbers {
    /// The numbers in f64, in row-major order.
    fn numbers(&self) -> Vec<f64>;

    /// The shape, if it has one.
    fn shape(&self) -> Option<&[usize]> {
        None
    }
}

impl Numbers for Tensor {
    fn numbers(&self) -> Vec<f64> {
        self.to_device(Device::Cpu).expect("a tensor can be read").to_f64_vec()
    }

    fn shape(&self) -> Option<&[usize]> {
        Some(Tensor::shape(self))
    }
}

impl Numbers for [f64] {
    fn numbers(&self) -> Vec<f64> {
        self.to_vec()
    }
}

impl Numbers for [f32] {
    fn numbers(&self) -> Vec<f64> {
        self.iter().map(|&x| f64::from(x)).collect()
    }
}

impl<T> Numbers for Vec<T>
where
    [T]: Numbers,
{
    fn numbers(&self) -> Vec<f64> {
        self.as_slice().numbers()
    }
}

impl<T, const N: usize> Numbers for [T; N]
where
    [T]: Numbers,
{
    fn numbers(&self) -> Vec<f64> {
        self.as_slice().numbers()
    }
}

/// The largest finite magnitude, or `least` if that is larger.
pub fn largest<N: Numbers + ?Sized>(numbers: &N, least: f64) -> f64 {
    numbers.numbers().into_iter().filter(|x| x.is_finite()).fold(least, |m, x| m.max(x.abs()))
}

/// Asserts that each number of `got` differs from that of `want` by at most `allowed(want)`. A NaN
/// always fails. The message begins with `what`.
///
/// # Panics
/// If a number, the count of numbers, or the shapes (where both have one) differ.
#[track_caller]
pub fn assert_near<A, B>(what: &str, got: &A, want: &B, allowed: impl Fn(f64) -> f64)
where
    A: Numbers + ?Sized,
    B: Numbers + ?Sized,
{
    compare(what, got, want, |got, want| got == want || (got - want).abs() <= allowed(want));
}

/// Like [`assert_near`], but NaN equals NaN.
///
/// # Panics
/// Like [`assert_near`].
#[track_caller]
pub fn assert_near_or_nan<A, B>(what: &str, got: &A, want: &B, allowed: impl Fn(f64) -> f64)
where
    A: Numbers + ?Sized,
    B: Numbers + ?Sized,
{
    compare(what, got, want, |got, want| {
        got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= allowed(want)
    });
}

/// Asserts that a GPU's result has the dtype and shape of the CPU's, and that elements agree within
/// 1e-5 of their size, or 2e-6 of the largest, because sums may cancel.
///
/// # Panics
/// If they do not agree; the message begins with `what`.
#[track_caller]
pub fn assert_devices_agree(what: &str, cpu: &Tensor, gpu: &Tensor) {
    assert_devices_within(what, 2e-6 * largest(cpu, 1.0), cpu, gpu);
}

/// Like [`assert_devices_agree`], within 1e-5 of an element's size or `absolute`.
///
/// # Panics
/// Like [`assert_devices_agree`].
#[track_caller]
pub fn assert_devices_within(what: &str, absolute: f64, cpu: &Tensor, gpu: &Tensor) {
    assert_eq!(cpu.dtype(), gpu.dtype(), "{what}: dtypes");
    let what = format!("{what}, on the GPU");
    assert_near_or_nan(&what, gpu, cpu, |cpu| absolute + 1e-5 * cpu.abs());
}

#[track_caller]
fn compare<A, B>(what: &str, got: &A, want: &B, near: impl Fn(f64, f64) -> bool)
where
    A: Numbers + ?Sized,
    B: Numbers + ?Sized,
{
    if let (Some(got), Some(want)) = (got.shape(), want.shape()) {
        assert_eq!(got, want, "{what}: shapes");
    }
    let (got, want) = (got.numbers(), want.numbers());
    assert_eq!(got.len(), want.len(), "{what}: how many numbers");
    for (at, (&got, &want)) in got.iter().zip(&want).enumerate() {
        assert!(near(got, want), "{what}: element {at} is {got}, should be {want}");
    }
}
