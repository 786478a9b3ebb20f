//! Where an operation runs: the device of its operands, and the call's entry in the profile.

use super::work;
use crate::profile::{Span, Work};
use crate::{Device, ErrorKind, Result, Tensor, bail};

/// The device of an operation's operands, which must be one.
pub(crate) fn common(op: &'static str, operands: &[&Tensor]) -> Result<Device> {
    let device = operands.first().map_or(Device::Cpu, |t| t.device());
    if let Some(other) = operands.iter().find(|t| t.device() != device) {
        bail!(
            op,
            Device,
            "operands lie on {device} ({:?}) and on {} ({:?}); move one with to_device",
            operands[0].shape(),
            other.device(),
            other.shape()
        );
    }
    Ok(device)
}

/// Refuses `x` unless it has the shape and the dtype of `other`; both with their names.
pub(crate) fn must_match(
    op: &'static str,
    (what, x): (&str, &Tensor),
    (of, other): (&str, &Tensor),
) -> Result<()> {
    if x.shape() != other.shape() || x.dtype() != other.dtype() {
        bail!(
            op,
            kind = ErrorKind::shape_or_dtype(x.shape() != other.shape()),
            "{what} is {:?} {}, {of} {:?} {}; both must match",
            x.shape(),
            x.dtype(),
            other.shape(),
            other.dtype()
        );
    }
    Ok(())
}

/// The device of an operation's operands, and the call's entry in the profile, if one is kept.
pub(crate) fn begin(op: &'static str, operands: &[&Tensor]) -> Result<(Device, Span)> {
    let device = common(op, operands)?;
    Ok((device, Span::begin(op, device, || work::of(op, operands))))
}

/// [`begin`] of an operation whose FLOPs do not follow from the operands' shapes alone.
pub(crate) fn begin_counted(
    op: &'static str,
    operands: &[&Tensor],
    flops: impl FnOnce() -> u64,
) -> Result<(Device, Span)> {
    let device = common(op, operands)?;
    let work = || Work { flops: flops(), ..work::of(op, operands) };
    Ok((device, Span::begin(op, device, work)))
}

/// Ends the call that [`begin`] began.
pub(crate) fn end<R: work::Outputs>(span: Span, result: &Result<R>) {
    match result {
        Ok(outputs) => span.end(|call| work::add_outputs(call, outputs)),
        Err(_) => span.fail(),
    }
}

/// Hands a call to the kernels of the operands' device: the function `FAMILY::function` of
/// `gradus_cpu` or of `gradus_gpu`, which take views where the arguments are tensors
/// ([`kernels`](super::kernels)). Operands on different devices are an error. `flops: f` counts
/// the FLOPs by the closure `f`.
macro_rules! on_device {
    (@begun $begun:expr, $op:expr; $family:ident::$function:ident($($argument:expr),* $(,)?)) => {
        {
            use $crate::ops::kernels::{Argument, Cpu, Gpu, tensors_of};

            let (device, span) = $begun?;
            span.kernel(concat!(stringify!($family), "::", stringify!($function)));
            let result = match device {
                $crate::Device::Cpu => tensors_of(|| {
                    gradus_cpu::$family::$function($(Argument::<Cpu>::take($argument, $op)?),*)
                }),
                $crate::Device::Gpu(_) => tensors_of(|| {
                    gradus_gpu::$family::$function($(Argument::<Gpu>::take($argument, $op)?),*)
                }),
            };
            $crate::ops::end(span, &result);
            result
        }
    };
    ($op:expr, [$($operand:expr),+ $(,)?], $family:ident::$function:ident($($argument:expr),* $(,)?)) => {
        on_device!($op, &[$($operand),+]; $family::$function($($argument),*))
    };
    ($op:expr, $operands:expr; $($call:tt)*) => {
        on_device!(@begun $crate::ops::begin($op, $operands), $op; $($call)*)
    };
    ($op:expr, $operands:expr, flops: $flops:expr; $($call:tt)*) => {
        on_device!(@begun $crate::ops::begin_counted($op, $operands, $flops), $op; $($call)*)
    };
}
pub(crate) use on_device;
