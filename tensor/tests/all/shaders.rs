//! Every function of a table has its text on the GPU. The compiler cannot check this, because the
//! crate of shaders does not know the tables.

use std::collections::BTreeSet;

use gradus_shaders::{binary, unary};
use gradus_tensor::ops::binary::{BinaryOp, CompareOp};
use gradus_tensor::ops::unary::UnaryOp;

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> BTreeSet<&'static str> {
    all.iter().map(|&op| name(op)).collect()
}

#[test]
fn every_function_has_its_shader() {
    let texts = |list: &[&'static str]| list.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(names(UnaryOp::ALL, UnaryOp::name), texts(unary::OPS), "shaders/src/unary.rs");
    assert_eq!(names(BinaryOp::ALL, BinaryOp::name), texts(binary::OPS), "shaders/src/binary.rs");
    let comparisons = names(CompareOp::ALL, CompareOp::name);
    assert_eq!(comparisons, texts(binary::COMPARISONS), "shaders/src/binary.rs");
}

#[test]
fn every_fused_derivative_has_its_shader() {
    let fused: Vec<UnaryOp> =
        UnaryOp::ALL.iter().copied().filter(|op| op.has_fused_backward()).collect();
    let texts: BTreeSet<_> = unary::DERIVATIVES.iter().copied().collect();
    assert_eq!(names(&fused, UnaryOp::name), texts, "shaders/src/unary.rs");
}
