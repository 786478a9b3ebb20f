//! The text of the shaders as it stands in the repository, for pages that show what ran.

/// The file of a family of shaders, before its variants are made of it, with its path in the
/// repository. Families have the names of `tensor/gpu/src/NAME.rs`; products have two more,
/// `matmul_few` and `matmul_cooperative`.
///
/// ```
/// let (path, text) = gradus_shaders::source("softmax").unwrap();
/// assert_eq!(path, "shaders/src/softmax.wgsl");
/// assert!(text.starts_with("//"));
/// assert!(gradus_shaders::source("no such family").is_none());
/// ```
pub fn source(family: &str) -> Option<(&'static str, &'static str)> {
    macro_rules! files {
        ($($family:literal)*) => {
            match family {
                $($family => Some((
                    concat!("shaders/src/", $family, ".wgsl"),
                    include_str!(concat!($family, ".wgsl")),
                )),)*
                _ => None,
            }
        };
    }
    files! {
        "attention" "binary" "concat" "copy" "cross_entropy" "dropout" "glu" "index" "layer_norm"
        "loss_scale" "matmul" "matmul_few" "matmul_cooperative" "optim" "reduce" "rotary" "softmax"
        "sort" "unary"
    }
}
