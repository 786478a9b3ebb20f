//! Functions of two elements at a time.

/// Defines an enum of functions of two elements from one table: variant, PyTorch's name, meaning.
macro_rules! functions_of_two {
    ($(#[$doc:meta])* $enum:ident; $($variant:ident, $name:literal, $formula:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $enum {
            $(#[doc = $formula] $variant,)*
        }

        impl $enum {
            /// Every member.
            pub const ALL: &[$enum] = &[$($enum::$variant),*];

            /// PyTorch's name of the operation.
            pub fn name(self) -> &'static str {
                match self {
                    $($enum::$variant => $name,)*
                }
            }

            /// What it computes, for tables of operations.
            pub fn formula(self) -> &'static str {
                match self {
                    $($enum::$variant => $formula,)*
                }
            }
        }
    };
}
functions_of_two! {
    /// Arithmetic of two tensors.
    BinaryOp;
    Add, "add", "a + b";
    Sub, "sub", "a − b";
    Mul, "mul", "a·b";
    Div, "div", "a/b (integers: rounded down, and 0 where b is 0)";
    Pow, "pow", "aᵇ";
    Maximum, "maximum", "the larger of two; NaN if either is NaN";
    Minimum, "minimum", "the smaller of two; NaN if either is NaN";
}
functions_of_two! {
    /// Comparison of a tensor with another or with a number; 1 or 0 as u8.
    CompareOp;
    Eq, "eq", "1 where a = b, else 0";
    Ne, "ne", "1 where a ≠ b, else 0";
    Lt, "lt", "1 where a < b, else 0";
    Le, "le", "1 where a ≤ b, else 0";
    Gt, "gt", "1 where a > b, else 0";
    Ge, "ge", "1 where a ≥ b, else 0";
}
