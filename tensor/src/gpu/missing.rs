//! Families without kernels yet: every function answers with an error that says so. A family's entry
//! goes when its file comes.

macro_rules! missing {
    ($($family:ident {$(
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty, $op:expr;
    )*})*) => {$(
        pub(crate) mod $family {
            #[allow(unused_imports)]
            use crate::ops::attention::Attention;
            #[allow(unused_imports)]
            use crate::ops::{optim::{AdamWStep, SgdStep}, reduce::ReduceOp};
            #[allow(unused_imports)]
            use crate::{CrossEntropy, DType, LayerNormOutput, Result, Tensor};

            $(
                pub(crate) fn $name($($argument: $type),*) -> Result<$result> {
                    let op: &'static str = $op;
                    $( let _ = $argument; )*
                    crate::bail!(op, "has no GPU kernel yet; move the operands to the CPU with to_device")
                }
            )*
        }
    )*};
}

missing! {
    attention {
        fn forward(
            q: &Tensor, k: &Tensor, v: &Tensor, offsets: &Tensor, bounds: &[usize], options: &Attention,
        ) -> (Tensor, Tensor), "attention";
        fn backward(
            q: &Tensor, k: &Tensor, v: &Tensor, offsets: &Tensor, bounds: &[usize], lse: &Tensor,
            grad: &Tensor, options: &Attention,
        ) -> (Tensor, Tensor, Tensor), "attention";
    }
    layer_norm {
        fn forward(
            x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64, lead: &[usize],
        ) -> LayerNormOutput, "layer_norm";
        fn backward(
            x: &Tensor, weight: &Tensor, mean: &Tensor, rstd: &Tensor, grad: &Tensor,
        ) -> (Tensor, Tensor, Tensor), "layer_norm_backward";
    }
    optim {
        fn adamw_(
            p: &mut Tensor, grad: &Tensor, m: &mut Tensor, v: &mut Tensor, h: &AdamWStep,
            scale: Option<&Tensor>,
        ) -> (), "adamw_";
        fn sgd_(
            p: &mut Tensor, grad: &Tensor, buffer: Option<&mut Tensor>, h: &SgdStep,
            scale: Option<&Tensor>,
        ) -> (), "sgd_";
        fn global_norm(tensors: &[Tensor], dtype: DType) -> Tensor, "global_norm";
    }
    reduce {
        fn forward(x: &Tensor, op: ReduceOp, dims: &[usize], n: usize) -> Tensor, op.name();
        fn arg_extremum(op: &'static str, x: &Tensor, largest: bool) -> Tensor, op;
    }
    softmax {
        fn softmax(x: &Tensor) -> Tensor, "softmax";
        fn log_softmax(x: &Tensor) -> Tensor, "log_softmax";
        fn softmax_backward(y: &Tensor, grad: &Tensor) -> Tensor, "softmax_backward";
        fn log_softmax_backward(y: &Tensor, grad: &Tensor) -> Tensor, "log_softmax_backward";
    }
}
