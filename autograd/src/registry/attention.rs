//! Inputs for attention.

use gradus_tensor::Tensor;
use gradus_tensor::ops::attention::Attention;

use super::{Case, Gen};
use crate::op::Op;
use crate::ops::attention::{attention_composed, attention_qkvpacked_composed};

/// Sequences, heads and dropout: the tokens, the heads, the size of one, the offsets, and the
/// options with their description.
struct Setting {
    tokens: usize,
    hidden: usize,
    offsets: Tensor,
    options: Attention,
    parameters: String,
}

fn settings(g: &Gen) -> Vec<Setting> {
    let lengths: Vec<Vec<u32>> = if g.is_large() {
        vec![vec![70, 129, 1, 100]]
    } else {
        vec![vec![], vec![1], vec![0, 2, 0, 3], vec![g.size() as u32, g.size() as u32]]
    };
    let mut settings = Vec::new();
    for lengths in lengths {
        let (heads, d) = if g.is_large() { (4, 16) } else { (1 + g.below(3), g.size()) };
        let mut offsets = vec![0];
        for n in &lengths {
            offsets.push(offsets[offsets.len() - 1] + n);
        }
        let tokens = offsets[offsets.len() - 1] as usize;
        let offsets =
            Tensor::from_slice(&offsets, &[offsets.len()]).expect("one dimension always fits");
        for dropout in [None, Some((0.3, g.key()))] {
            settings.push(Setting {
                tokens,
                hidden: heads * d,
                offsets: offsets.clone(),
                options: Attention { heads, scale: 1.0 / (d as f64).sqrt(), dropout },
                parameters: format!("{heads} heads, lengths {lengths:?}, dropout {dropout:?}"),
            });
        }
    }
    settings
}

pub(super) fn cases(g: &Gen) -> Vec<Case> {
    let case = |Setting { tokens, hidden, offsets, options, parameters }: Setting| {
        let inputs = (0..3).map(|_| g.any(&[tokens, hidden])).collect();
        let o = offsets.clone();
        Case::new(Op::Attention, parameters, inputs, move |v| {
            v[0].attention(&v[1], &v[2], &o.to_device(v[0].device())?, &options)
        })
        .composed(move |v| attention_composed(&v[0], &v[1], &v[2], &offsets, &options))
    };
    settings(g).into_iter().map(case).collect()
}

pub(super) fn qkvpacked(g: &Gen) -> Vec<Case> {
    let case = |Setting { tokens, hidden, offsets, options, parameters }: Setting| {
        let o = offsets.clone();
        let inputs = vec![g.any(&[tokens, 3 * hidden])];
        Case::new(Op::AttentionQkvPacked, parameters, inputs, move |v| {
            v[0].attention_qkvpacked(&o.to_device(v[0].device())?, &options)
        })
        .composed(move |v| attention_qkvpacked_composed(&v[0], &offsets, &options))
    };
    settings(g).into_iter().map(case).collect()
}
