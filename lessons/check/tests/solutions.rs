//! The solutions of all exercises, as modules of one program: linking the engine takes most of the
//! time. `layout.rs` writes the list.

// A solution's `main` is for the learner. The last exercise about BERT uses those before it.
#![allow(dead_code, clippy::duplicate_mod)]

#[path = "../../solutions/01_scalar_tape/scalar1_slope.rs"]
mod scalar1_slope;
#[path = "../../solutions/07_kernels/kernels1_map.rs"]
mod kernels1_map;
#[path = "../../solutions/07_kernels/kernels2_guard.rs"]
mod kernels2_guard;
#[path = "../../solutions/07_kernels/kernels3_rows.rs"]
mod kernels3_rows;
#[path = "../../solutions/07_kernels/kernels4_softmax.rs"]
mod kernels4_softmax;
#[path = "../../solutions/07_kernels/kernels5_tile.rs"]
mod kernels5_tile;
#[path = "../../solutions/08_optimizers/optim1_momentum.rs"]
mod optim1_momentum;
#[path = "../../solutions/08_optimizers/optim2_adamw.rs"]
mod optim2_adamw;
#[path = "../../solutions/08_optimizers/optim3_clip.rs"]
mod optim3_clip;
#[path = "../../solutions/08_optimizers/optim4_warmup.rs"]
mod optim4_warmup;
#[path = "../../solutions/08_optimizers/optim5_optimizer.rs"]
mod optim5_optimizer;
#[path = "../../solutions/09_attention/attention1_by_hand.rs"]
mod attention1_by_hand;
#[path = "../../solutions/09_attention/attention2_packed.rs"]
mod attention2_packed;
#[path = "../../solutions/09_attention/attention3_online.rs"]
mod attention3_online;
#[path = "../../solutions/09_attention/attention4_flash.rs"]
mod attention4_flash;
#[path = "../../solutions/09_attention/attention5_backward.rs"]
mod attention5_backward;
#[path = "../../solutions/10_text/text1_wordpiece.rs"]
mod text1_wordpiece;
#[path = "../../solutions/10_text/text2_packing.rs"]
mod text2_packing;
#[path = "../../solutions/10_text/text3_pooling.rs"]
mod text3_pooling;
#[path = "../../solutions/10_text/text4_masking.rs"]
mod text4_masking;
#[path = "../../solutions/11_bert/bert1_embeddings.rs"]
mod bert1_embeddings;
#[path = "../../solutions/11_bert/bert2_layer.rs"]
mod bert2_layer;
#[path = "../../solutions/11_bert/bert3_loading.rs"]
mod bert3_loading;
#[path = "../../solutions/11_bert/bert4_sentences.rs"]
mod bert4_sentences;
#[path = "../../solutions/12_training/training1_loop.rs"]
mod training1_loop;
#[path = "../../solutions/12_training/training2_accumulate.rs"]
mod training2_accumulate;
#[path = "../../solutions/12_training/training3_resume.rs"]
mod training3_resume;
#[path = "../../solutions/12_training/training4_best.rs"]
mod training4_best;
