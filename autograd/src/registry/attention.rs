//! Inputs for attention.

use gradus_tensor::Tensor;
use gradus_tensor::ops::attention::Attention;

use super::{Case, Gen};
use crate::op::Op;
use crate::ops::attention::{attention_composed, attention_qkvpacked_composed};

/// Sequences and what is switched on: the tokens, the hidden size, the offsets, the size of the
/// bias, and the options with their description.
struct Setting {
    tokens: usize,
    hidden: usize,
    offsets: Tensor,
    bias: Option<[usize; 2]>,
    options: Attention,
    parameters: String,
}

/// The switches, and the reach of a bias.
#[derive(Clone, Copy)]
struct Switches {
    dropout: bool,
    causal: bool,
    window: Option<usize>,
    reach: Option<usize>,
}

fn switches(g: &Gen) -> Vec<Switches> {
    let plain = Switches { dropout: false, causal: false, window: None, reach: None };
    let causal = Switches { causal: true, ..plain };
    let window = Some(g.below(g.size()));
    let (reach, far) = (Some(g.below(3)), Some(g.size() + 1));
    vec![
        plain,
        Switches { dropout: true, ..plain },
        causal,
        Switches { window, ..plain },
        Switches { reach, ..plain },
        Switches { reach: far, dropout: true, window, ..causal },
    ]
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
        for Switches { dropout, causal, window, reach } in switches(g) {
            let (scale, dropout) = (1.0 / (d as f64).sqrt(), dropout.then(|| (0.3, g.key())));
            settings.push(Setting {
                tokens,
                hidden: heads * d,
                offsets: offsets.clone(),
                bias: reach.map(|reach| [heads, 2 * reach + 1]),
                options: Attention { heads, scale, dropout, causal, window, bf16: false },
                parameters: format!(
                    "{heads} heads, lengths {lengths:?}, dropout {dropout:?}, causal {causal}, \
                     window {window:?}, bias to {reach:?}"
                ),
            });
        }
    }
    settings
}

pub(super) fn cases(g: &Gen) -> Vec<Case> {
    let case = |Setting { tokens, hidden, offsets, bias, options, parameters }: Setting| {
        let inputs = [[tokens, hidden]; 3].iter().chain(&bias).map(|shape| g.any(shape)).collect();
        let o = offsets.clone();
        Case::new(Op::Attention, parameters, inputs, move |v| {
            v[0].attention(&v[1], &v[2], v.get(3), &o.to_device(v[0].device())?, &options)
        })
        .composed(move |v| attention_composed([&v[0], &v[1], &v[2]], v.get(3), &offsets, &options))
    };
    settings(g).into_iter().map(case).collect()
}

pub(super) fn qkvpacked(g: &Gen) -> Vec<Case> {
    let case = |Setting { tokens, hidden, offsets, bias, options, parameters }: Setting| {
        let o = offsets.clone();
        let inputs = [[tokens, 3 * hidden]].iter().chain(&bias).map(|shape| g.any(shape)).collect();
        Case::new(Op::AttentionQkvPacked, parameters, inputs, move |v| {
            v[0].attention_qkvpacked(v.get(1), &o.to_device(v[0].device())?, &options)
        })
        .composed(move |v| attention_qkvpacked_composed(&v[0], v.get(1), &offsets, &options))
    };
    settings(g).into_iter().map(case).collect()
}
