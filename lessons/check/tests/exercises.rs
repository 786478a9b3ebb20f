//! The exercises as delivered, as modules of one program. Every one must have a test that fails:
//! `lessons/check/run` sees to that. `layout.rs` writes the list.

// They are not done yet. The last exercise about BERT uses those before it.
#![allow(dead_code, unreachable_code, unused_imports, unused_mut, unused_variables)]
#![allow(clippy::diverging_sub_expression, clippy::duplicate_mod)]

#[path = "../../exercises/09_attention/attention1_by_hand.rs"]
mod attention1_by_hand;
#[path = "../../exercises/09_attention/attention2_packed.rs"]
mod attention2_packed;
#[path = "../../exercises/09_attention/attention3_online.rs"]
mod attention3_online;
#[path = "../../exercises/09_attention/attention4_flash.rs"]
mod attention4_flash;
#[path = "../../exercises/09_attention/attention5_backward.rs"]
mod attention5_backward;
#[path = "../../exercises/11_bert/bert1_embeddings.rs"]
mod bert1_embeddings;
#[path = "../../exercises/11_bert/bert2_layer.rs"]
mod bert2_layer;
#[path = "../../exercises/11_bert/bert3_loading.rs"]
mod bert3_loading;
#[path = "../../exercises/11_bert/bert4_sentences.rs"]
mod bert4_sentences;
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
#[path = "../../exercises/07_kernels/kernels1_map.rs"]
mod kernels1_map;
#[path = "../../exercises/07_kernels/kernels2_guard.rs"]
mod kernels2_guard;
#[path = "../../exercises/07_kernels/kernels3_rows.rs"]
mod kernels3_rows;
#[path = "../../exercises/07_kernels/kernels4_softmax.rs"]
mod kernels4_softmax;
#[path = "../../exercises/07_kernels/kernels5_tile.rs"]
mod kernels5_tile;
#[path = "../../exercises/08_optimizers/optim1_momentum.rs"]
mod optim1_momentum;
#[path = "../../exercises/08_optimizers/optim2_adamw.rs"]
mod optim2_adamw;
#[path = "../../exercises/08_optimizers/optim3_clip.rs"]
mod optim3_clip;
#[path = "../../exercises/08_optimizers/optim4_warmup.rs"]
mod optim4_warmup;
#[path = "../../exercises/08_optimizers/optim5_optimizer.rs"]
mod optim5_optimizer;
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
#[path = "../../exercises/10_text/text1_wordpiece.rs"]
mod text1_wordpiece;
#[path = "../../exercises/10_text/text2_packing.rs"]
mod text2_packing;
#[path = "../../exercises/10_text/text3_pooling.rs"]
mod text3_pooling;
#[path = "../../exercises/10_text/text4_masking.rs"]
mod text4_masking;
#[path = "../../exercises/12_training/training1_loop.rs"]
mod training1_loop;
#[path = "../../exercises/12_training/training2_accumulate.rs"]
mod training2_accumulate;
#[path = "../../exercises/12_training/training3_resume.rs"]
mod training3_resume;
#[path = "../../exercises/12_training/training4_best.rs"]
mod training4_best;
