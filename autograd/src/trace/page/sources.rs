//! The text of the backward rules, which the page shows.

/// A path in the repository, and the text.
pub(super) type File = (&'static str, &'static str);

/// The file with the operations of a family and their rules.
pub(super) fn rule(family: &str) -> Option<File> {
    macro_rules! files {
        ($($family:literal)*) => {
            match family {
                $($family => Some((
                    concat!("autograd/src/ops/", $family, ".rs"),
                    include_str!(concat!("../../ops/", $family, ".rs")),
                )),)*
                "checkpoint" => {
                    Some(("autograd/src/checkpoint.rs", include_str!("../../checkpoint.rs")))
                }
                _ => None,
            }
        };
    }
    files! {
        "attention" "binary" "concat" "cross_entropy" "dropout" "glu" "index" "layer_norm" "matmul"
        "reduce" "rotary" "softmax" "unary" "view"
    }
}
