//! The exercises as delivered, as modules of one program. Every one must have a test that fails:
//! `lessons/check/run` sees to that. `layout.rs` writes the list.

// They are not done yet.
#![allow(dead_code, unreachable_code, unused_imports, unused_mut, unused_variables)]
#![allow(clippy::diverging_sub_expression)]

#[path = "../../exercises/04_gradcheck/check1_difference.rs"]
mod check1_difference;
#[path = "../../exercises/04_gradcheck/check2_step.rs"]
mod check2_step;
#[path = "../../exercises/04_gradcheck/check3_culprit.rs"]
mod check3_culprit;
#[path = "../../exercises/04_gradcheck/check4_kinks.rs"]
mod check4_kinks;
#[path = "../../exercises/04_gradcheck/check5_second.rs"]
mod check5_second;
#[path = "../../exercises/06_product/product1_ijk.rs"]
mod product1_ijk;
#[path = "../../exercises/06_product/product2_ikj.rs"]
mod product2_ikj;
#[path = "../../exercises/06_product/product3_blocked.rs"]
mod product3_blocked;
#[path = "../../exercises/06_product/product4_packed.rs"]
mod product4_packed;
#[path = "../../exercises/06_product/product5_tile.rs"]
mod product5_tile;
#[path = "../../exercises/05_rules/rules1_exp.rs"]
mod rules1_exp;
#[path = "../../exercises/05_rules/rules2_tanh.rs"]
mod rules2_tanh;
#[path = "../../exercises/05_rules/rules3_mul.rs"]
mod rules3_mul;
#[path = "../../exercises/05_rules/rules4_sum.rs"]
mod rules4_sum;
#[path = "../../exercises/05_rules/rules5_matmul.rs"]
mod rules5_matmul;
#[path = "../../exercises/05_rules/rules6_softmax.rs"]
mod rules6_softmax;
#[path = "../../exercises/05_rules/rules7_cross_entropy.rs"]
mod rules7_cross_entropy;
#[path = "../../exercises/05_rules/rules8_layer_norm.rs"]
mod rules8_layer_norm;
#[path = "../../exercises/01_scalar_tape/scalar1_slope.rs"]
mod scalar1_slope;
#[path = "../../exercises/01_scalar_tape/scalar2_local.rs"]
mod scalar2_local;
#[path = "../../exercises/01_scalar_tape/scalar3_chain.rs"]
mod scalar3_chain;
#[path = "../../exercises/01_scalar_tape/scalar4_tape.rs"]
mod scalar4_tape;
#[path = "../../exercises/01_scalar_tape/scalar5_backward.rs"]
mod scalar5_backward;
#[path = "../../exercises/01_scalar_tape/scalar6_operators.rs"]
mod scalar6_operators;
#[path = "../../exercises/01_scalar_tape/scalar7_neuron.rs"]
mod scalar7_neuron;
#[path = "../../exercises/01_scalar_tape/scalar8_learn.rs"]
mod scalar8_learn;
#[path = "../../exercises/02_strides/strides1_row_major.rs"]
mod strides1_row_major;
#[path = "../../exercises/02_strides/strides2_position.rs"]
mod strides2_position;
#[path = "../../exercises/02_strides/strides3_views.rs"]
mod strides3_views;
#[path = "../../exercises/02_strides/strides4_walk.rs"]
mod strides4_walk;
#[path = "../../exercises/02_strides/strides5_shapes.rs"]
mod strides5_shapes;
#[path = "../../exercises/02_strides/strides6_expand.rs"]
mod strides6_expand;
#[path = "../../exercises/02_strides/strides7_reshape.rs"]
mod strides7_reshape;
#[path = "../../exercises/03_tensor_tape/tape1_sum_to.rs"]
mod tape1_sum_to;
#[path = "../../exercises/03_tensor_tape/tape2_order.rs"]
mod tape2_order;
#[path = "../../exercises/03_tensor_tape/tape3_rules.rs"]
mod tape3_rules;
#[path = "../../exercises/03_tensor_tape/tape4_drop.rs"]
mod tape4_drop;
#[path = "../../exercises/03_tensor_tape/tape5_no_grad.rs"]
mod tape5_no_grad;
