//! Element types.

use std::fmt;

/// The element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit float: the type of training and inference.
    F32,
    /// 64-bit float: CPU only, for gradient checks.
    F64,
    /// 16-bit IEEE float: storage, and computation on GPUs that have it.
    F16,
    /// bfloat16: storage.
    BF16,
    /// 32-bit unsigned integer: token ids, offsets, indices.
    U32,
    /// 8-bit unsigned integer: masks (0 or 1).
    U8,
}

impl DType {
    /// Bytes of one element.
    ///
    /// ```
    /// # use gradus_base::DType;
    /// assert_eq!(DType::F32.size(), 4);
    /// assert_eq!(DType::BF16.size(), 2);
    /// ```
    pub fn size(self) -> usize {
        match self {
            DType::F64 => 8,
            DType::F32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::U8 => 1,
        }
    }

    /// Whether an element can have this value, apart from the rounding of floats.
    ///
    /// ```
    /// # use gradus_base::DType;
    /// assert!(DType::U8.holds(255.0));
    /// assert!(!DType::U8.holds(256.0) && !DType::U8.holds(0.5));
    /// assert!(DType::F16.holds(0.1)); // rounded
    /// ```
    pub fn holds(self, value: f64) -> bool {
        match self {
            DType::U32 => value.fract() == 0.0 && (0.0..=u32::MAX as f64).contains(&value),
            DType::U8 => value.fract() == 0.0 && (0.0..=u8::MAX as f64).contains(&value),
            DType::F32 | DType::F64 | DType::F16 | DType::BF16 => true,
        }
    }

    /// Whether the type is a floating-point one (and so can have a gradient).
    ///
    /// ```
    /// # use gradus_base::DType;
    /// assert!(DType::BF16.is_float());
    /// assert!(!DType::U32.is_float());
    /// ```
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
    }

    /// Whether it is a float of 16 bits.
    ///
    /// ```
    /// # use gradus_base::DType;
    /// assert!(DType::BF16.is_half());
    /// assert!(!DType::F32.is_half());
    /// ```
    pub fn is_half(self) -> bool {
        matches!(self, DType::F16 | DType::BF16)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::U32 => "u32",
            DType::U8 => "u8",
        })
    }
}

/// A Rust type that can be an element of a tensor.
pub trait Element: bytemuck::Pod + Send + Sync + PartialOrd + fmt::Debug + 'static {
    /// The matching [`DType`].
    const DTYPE: DType;
    /// Whether kernels are compiled for wide registers too (f32 only; see `simd.rs` in
    /// `gradus-cpu`).
    #[doc(hidden)]
    const WIDE: bool = matches!(Self::DTYPE, DType::F32);
    /// Widens to f64 (exact for every element type).
    fn to_f64(self) -> f64;
    /// Narrows from f64 as Rust's `as` does: rounds to nearest for floats, saturates for integers.
    /// To 16 bits by way of f32, as PyTorch and GPUs do.
    fn from_f64(value: f64) -> Self;
}

macro_rules! element {
    ($($t:ty => $dtype:ident, $to:expr, $from:expr;)*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn to_f64(self) -> f64 { ($to)(self) }
            #[inline(always)]
            fn from_f64(value: f64) -> Self { ($from)(value) }
        }
    )*};
}
element! {
    f32 => F32, |x: f32| x as f64, |x: f64| x as f32;
    f64 => F64, |x: f64| x, |x: f64| x;
    half::f16 => F16, |x: half::f16| x.to_f64(), |x: f64| half::f16::from_f32(x as f32);
    half::bf16 => BF16, |x: half::bf16| x.to_f64(), |x: f64| half::bf16::from_f32(x as f32);
    u32 => U32, |x: u32| x as f64, |x: f64| x as u32;
    u8 => U8, |x: u8| x as f64, |x: f64| x as u8;
}

/// Calls a generic function with `T`, the Rust type that stands beside the dtype in the list; a dtype
/// that is not in the list goes to the last arm. The other dispatches are made of it.
#[doc(hidden)]
#[macro_export]
macro_rules! dispatch {
    ($dtype:expr, $call:expr, [$($variant:ident: $t:ty),*] $(, $other:pat => $refusal:expr)?) => {
        match $dtype {
            $($crate::DType::$variant => {
                type T = $t;
                $call
            })*
            $($other => $refusal,)?
        }
    };
}

/// Calls a generic function with `T`, the Rust type of a dtype that kernels compute in: f32 or f64.
///
/// `dispatch_float!("softmax", x.dtype(), softmax_of::<T>(x))` is `softmax_of::<f32>(x)` for a
/// tensor in f32 and `softmax_of::<f64>(x)` for one in f64. Any other dtype returns an error that
/// names the operation and says how to convert. The macro names the type `T`; keep the kernel
/// itself in a function, so that rustfmt and the compiler's messages reach it.
#[macro_export]
macro_rules! dispatch_float {
    ($op:expr, $dtype:expr, $call:expr) => {
        $crate::dispatch!($dtype, $call, [F32: f32, F64: f64], other => {
            $crate::bail!($op, DType, "computes on f32 and f64, got {other}; convert with to_dtype")
        })
    };
}

/// Like [`dispatch_float`], for the dtypes with arithmetic: f32, f64, u32, u8.
#[macro_export]
macro_rules! dispatch_number {
    ($op:expr, $dtype:expr, $call:expr) => {
        $crate::dispatch!($dtype, $call, [F32: f32, F64: f64, U32: u32, U8: u8], other => {
            $crate::bail!(
                $op,
                DType,
                "computes on f32, f64, u32 and u8, got {other}; convert with to_dtype"
            )
        })
    };
}

/// Like [`dispatch_float`], for every dtype; nothing is refused, so it takes no name.
#[macro_export]
macro_rules! dispatch_any {
    ($dtype:expr, $call:expr) => {
        $crate::dispatch!(
            $dtype,
            $call,
            [
                F32: f32,
                F64: f64,
                F16: $crate::half::f16,
                BF16: $crate::half::bf16,
                U32: u32,
                U8: u8
            ]
        )
    };
}
