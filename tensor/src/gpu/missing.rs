//! Families without kernels yet: every function answers with an error that says so. A family's entry
//! goes when its file comes.

macro_rules! missing {
    ($($family:ident {$(
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty, $op:expr;
    )*})*) => {$(
        pub(crate) mod $family {
            #[allow(unused_imports)]
            use crate::ops::reduce::ReduceOp;
            #[allow(unused_imports)]
            use crate::{CrossEntropy, LayerNormOutput, Result, Tensor};

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
    concat {
        fn cat(op: &'static str, tensors: &[&Tensor], dim: usize, shape: &[usize]) -> Tensor, op;
        fn flip(x: &Tensor, reversed: &[bool]) -> Tensor, "flip";
    }
    cross_entropy {
        fn forward(
            x: &Tensor, targets: &Tensor, weight: Option<&Tensor>, options: &CrossEntropy,
        ) -> (Tensor, Tensor), "cross_entropy";
        fn backward(
            x: &Tensor, targets: &Tensor, lse: &Tensor, weight: Option<&Tensor>,
            options: &CrossEntropy, grad: &Tensor,
        ) -> Tensor, "cross_entropy_backward";
    }
    index {
        fn index_select(
            op: &'static str, x: &Tensor, dim: usize, ids: &Tensor, shape: &[usize],
        ) -> Tensor, op;
        fn index_add(
            op: &'static str, base: Option<&Tensor>, source: &Tensor, dim: usize, ids: &Tensor,
            shape: &[usize],
        ) -> Tensor, op;
        fn gather(x: &Tensor, dim: usize, index: &Tensor) -> Tensor, "gather";
        fn scatter_add(x: &Tensor, dim: usize, index: &Tensor, source: &Tensor) -> Tensor, "scatter_add";
    }
    layer_norm {
        fn forward(
            x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64, lead: &[usize],
        ) -> LayerNormOutput, "layer_norm";
        fn backward(
            x: &Tensor, weight: &Tensor, mean: &Tensor, rstd: &Tensor, grad: &Tensor,
        ) -> (Tensor, Tensor, Tensor), "layer_norm_backward";
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
    sort {
        fn sorted(op: &'static str, x: &Tensor, k: usize, descending: bool) -> (Tensor, Tensor), op;
    }
}
