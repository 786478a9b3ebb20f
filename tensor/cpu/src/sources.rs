//! The text of the kernels, for pages that show what ran.

/// The files of a family of kernels, each with its path in the repository; the first opens with the
/// formula. Empty where there is no such family.
///
/// ```
/// let files = gradus_cpu::sources("softmax");
/// assert_eq!(files[0].0, "tensor/cpu/src/softmax.rs");
/// assert!(files[0].1.starts_with("//! Along the last dimension"));
/// assert!(gradus_cpu::sources("no such family").is_empty());
/// ```
pub fn sources(family: &str) -> &'static [(&'static str, &'static str)] {
    macro_rules! files {
        ($($family:literal: $($file:literal)+;)*) => {
            match family {
                $($family => &[$((concat!("tensor/cpu/src/", $file), include_str!($file))),+],)*
                _ => &[],
            }
        };
    }
    files! {
        "attention": "attention.rs" "attention/forward.rs" "attention/backward.rs"
            "attention/product.rs" "attention/task.rs" "attention/bias.rs";
        "binary": "binary.rs";
        "concat": "concat.rs";
        "copy": "copy.rs";
        "create": "create.rs";
        "cross_entropy": "cross_entropy.rs";
        "custom": "custom.rs";
        "dropout": "dropout.rs";
        "glu": "glu.rs";
        "index": "index.rs";
        "layer_norm": "layer_norm.rs";
        "loss_scale": "loss_scale.rs";
        "low": "low.rs" "product/mod.rs" "product/driver.rs" "product/rounding.rs";
        "matmul": "matmul.rs" "product/mod.rs" "product/driver.rs" "product/float.rs"
            "product/vectors.rs" "product/avx512.rs" "product/avx2.rs" "product/neon.rs";
        "optim": "optim.rs";
        "reduce": "reduce.rs";
        "rotary": "rotary.rs";
        "softmax": "softmax.rs";
        "sort": "sort.rs";
        "unary": "unary.rs";
    }
}
