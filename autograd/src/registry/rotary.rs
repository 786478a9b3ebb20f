//! Inputs for rotary position embedding.

use gradus_tensor::Tensor;
use gradus_tensor::ops::rotary::Rotary;

use super::{Case, Gen};
use crate::op::Op;
use crate::ops::rotary::rotary_embedding_composed;

pub(super) fn cases(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes = if g.is_large() { vec![[300, 2, 32, 64, 7]] } else { small(g) };
    for [tokens, heads, half, rest, after] in sizes {
        for inverse in [false, true] {
            let options = Rotary { heads, head_size: 2 * half + rest, inverse };
            let rows = 1 + g.below(9);
            let table = Tensor::rotary_table(rows, 2 * half, 3.0).expect("an even dimension");
            let positions = g.ids(&[tokens], rows);
            let x = g.any(&[tokens, heads * options.head_size + after]);
            let parameters = format!("{options:?}, {half} angles");
            let (t, p) = (table.clone(), positions.clone());
            let case = Case::new(Op::RotaryEmbedding, parameters, vec![x], move |v| {
                let device = v[0].device();
                v[0].rotary_embedding(&t.to_device(device)?, &p.to_device(device)?, options)
            });
            cases.push(case.composed(move |v| {
                let device = v[0].device();
                let (table, positions) = (table.to_device(device)?, positions.to_device(device)?);
                rotary_embedding_composed(&v[0], &table, &positions, options)
            }));
        }
    }
    cases
}

/// Tokens, heads, angles, elements of a head that are not rotated, columns after the heads.
fn small(g: &Gen) -> Vec<[usize; 5]> {
    vec![
        [0, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
        [g.size(), g.size(), g.size(), 0, g.size()],
        [g.size(), g.size(), g.size(), g.size(), 0],
        [g.size(), 0, 1, 0, g.size()],
        [g.size(), g.size(), 0, g.size(), 0],
    ]
}
