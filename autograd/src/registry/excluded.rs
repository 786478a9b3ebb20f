//! The methods of `Tensor` that have no gradient.

/// Public functions of `Tensor` that no variable has, each with the reason. In-place operations
/// (`add_`) and the kernels of backward rules (`softmax_backward`) need no entry.
pub const NOT_DIFFERENTIABLE: &[(&str, &str)] = &[
    ("linear_low", "rounds the weight: for inference"),
    ("linear_cat_low", "rounds the weights: for inference"),
    ("matmul_out_dtype", "serves the rules under autocast; matmul is differentiable"),
    ("sum_in", "serves the rules under autocast; sum is differentiable"),
    ("argmax", "gives indices"),
    ("argmin", "gives indices"),
    ("argsort", "gives indices"),
    ("eq", "gives a mask"),
    ("ne", "gives a mask"),
    ("lt", "gives a mask"),
    ("le", "gives a mask"),
    ("gt", "gives a mask"),
    ("ge", "gives a mask"),
    ("compare", "gives a mask"),
    ("is_not_finite", "gives a mask"),
    ("bernoulli_mask", "makes a mask"),
    ("bernoulli_mask_on", "makes a mask"),
    ("attention_dropout_mask", "makes a mask"),
    ("global_norm", "measures gradients, for clipping"),
    ("reduce", "the general form of sum, mean and so on, which have rules"),
];
