//! Functions of two elements, comparisons, and `where`.

use gradus_tensor::ops::binary::{BinaryOp, CompareOp};

use super::{Operation, one, value};

pub fn operations() -> Vec<Operation> {
    let arithmetic =
        BinaryOp::ALL.iter().map(|&op| one(op.name(), move |c| c.x()?.binary(op, c.var(1)?)));
    let comparisons = CompareOp::ALL
        .iter()
        .map(|&op| value(op.name(), move |c| c.tensor(0)?.compare(op, c.tensor(1)?)));
    let mut all: Vec<Operation> = arithmetic.chain(comparisons).collect();
    all.extend([
        // The condition comes first, as in PyTorch.
        one("where", |c| c.var(1)?.where_(c.tensor(0)?, c.var(2)?)),
        value("add_", |c| {
            let mut sum = c.tensor(0)?.clone();
            sum.add_(c.tensor(1)?, c.number_or("alpha", 1.0)?)?;
            Ok(sum)
        }),
        value("mul_scalar_", |c| {
            let mut product = c.tensor(0)?.clone();
            product.mul_scalar_(c.number("factor")?)?;
            Ok(product)
        }),
    ]);
    all
}
