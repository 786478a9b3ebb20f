//! Reductions of dimensions.

use crate::{DType, Element, Result, dispatch_float, dispatch_number};

/// A reduction of some dimensions to one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceOp {
    /// Σx; u8 sums into u32
    Sum,
    /// Πx; u8 multiplies into u32
    Prod,
    /// Σx / n
    Mean,
    /// the largest; NaN if any is
    Max,
    /// the smallest; NaN if any is
    Min,
    /// Σ(x − mean)² / (n − correction)
    Var {
        /// subtracted from n in the divisor: 1 for the unbiased estimate, 0 for layer norm's
        correction: usize,
    },
    /// ln Σeˣ
    LogSumExp,
}

impl ReduceOp {
    /// PyTorch's name of the operation.
    pub fn name(self) -> &'static str {
        match self {
            ReduceOp::Sum => "sum",
            ReduceOp::Prod => "prod",
            ReduceOp::Mean => "mean",
            ReduceOp::Max => "max",
            ReduceOp::Min => "min",
            ReduceOp::Var { .. } => "var",
            ReduceOp::LogSumExp => "logsumexp",
        }
    }

    /// Refuses the dtypes that it cannot compute on.
    ///
    /// ```
    /// # use gradus_base::DType;
    /// # use gradus_base::op::reduce::ReduceOp;
    /// assert!(ReduceOp::Sum.check_dtype(DType::U32).is_ok());
    /// assert!(ReduceOp::Mean.check_dtype(DType::U32).is_err());
    /// ```
    ///
    /// # Errors
    /// Names the operation and the dtypes that it takes.
    pub fn check_dtype(self, dtype: DType) -> Result<()> {
        fn accepted(_: DType) -> Result<()> {
            Ok(())
        }
        match self {
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => {
                dispatch_number!(self.name(), dtype, accepted(T::DTYPE))
            }
            ReduceOp::Mean | ReduceOp::Var { .. } | ReduceOp::LogSumExp => {
                dispatch_float!(self.name(), dtype, accepted(T::DTYPE))
            }
        }
    }

    /// The result over no elements; `None` where there is none.
    ///
    /// ```
    /// # use gradus_base::op::reduce::ReduceOp;
    /// assert_eq!(ReduceOp::Sum.of_nothing(), Some(0.0));
    /// assert_eq!(ReduceOp::Max.of_nothing(), None);
    /// ```
    pub fn of_nothing(self) -> Option<f64> {
        match self {
            ReduceOp::Sum => Some(0.0),
            ReduceOp::Prod => Some(1.0),
            ReduceOp::Mean | ReduceOp::Var { .. } => Some(f64::NAN),
            ReduceOp::LogSumExp => Some(f64::NEG_INFINITY),
            ReduceOp::Max | ReduceOp::Min => None,
        }
    }
}
