//! The operations by name, with a table for each family.

mod attention;
mod binary;
mod checkpoint;
mod concat;
mod derived;
mod feed_forward;
mod index;
mod loss;
mod make;
mod matmul;
mod norm;
mod optim;
mod reduce;
mod sort;
mod unary;
mod view;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use gradus_autograd::{Op, Var};
use gradus_tensor::{Device, Result, Tensor, bail};
use serde_json::{Map, Value};

use crate::call::Call;

/// The result of an operation.
type Outputs = Result<Vec<Var>>;

/// An operation and its name.
pub struct Operation {
    pub name: &'static str,
    run: Box<dyn Fn(&Call) -> Outputs + Send + Sync>,
}

/// An operation with any number of outputs.
fn several(
    name: &'static str,
    run: impl Fn(&Call) -> Outputs + Send + Sync + 'static,
) -> Operation {
    Operation { name, run: Box::new(run) }
}

/// An operation with one output.
fn one(
    name: &'static str,
    run: impl Fn(&Call) -> Result<Var> + Send + Sync + 'static,
) -> Operation {
    several(name, move |c| Ok(vec![run(c)?]))
}

/// An operation on values alone, which has no gradient.
fn value(
    name: &'static str,
    run: impl Fn(&Call) -> Result<Tensor> + Send + Sync + 'static,
) -> Operation {
    one(name, move |c| run(c).map(Var::constant))
}

/// The values of several variables.
fn tensors<'a>(vars: &[&'a Var]) -> Vec<&'a Tensor> {
    vars.iter().map(|var| var.tensor()).collect()
}

static ALL: LazyLock<BTreeMap<&str, Operation>> = LazyLock::new(|| {
    let families = [
        attention::operations(),
        binary::operations(),
        checkpoint::operations(),
        concat::operations(),
        derived::operations(),
        feed_forward::operations(),
        index::operations(),
        loss::operations(),
        make::operations(),
        matmul::operations(),
        norm::operations(),
        optim::operations(),
        reduce::operations(),
        sort::operations(),
        unary::operations(),
        view::operations(),
    ];
    let mut all = BTreeMap::new();
    for operation in families.into_iter().flatten() {
        let twice = all.insert(operation.name, operation);
        assert!(twice.is_none(), "{} is in the tables twice", twice.expect("just seen").name);
    }
    all
});

/// Every operation, by name.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    ALL.values()
}

/// Whether the registry has an operation with this name.
pub fn registered(name: &str) -> bool {
    Op::all().iter().any(|op| op.name() == name)
}

/// Runs the operation `name`.
///
/// # Errors
/// If there is no such operation, if an argument is missing or unused, and the operation's own
/// errors.
pub fn run(name: &str, inputs: &[Var], attributes: &Map<String, Value>, device: Device) -> Outputs {
    let Some(operation) = ALL.get(name) else {
        bail!("ops", "no operation is called {name}; --list names them all");
    };
    let call = Call::new(inputs, attributes, device);
    let outputs = (operation.run)(&call)?;
    call.finish()?;
    Ok(outputs)
}

#[cfg(test)]
mod tests;
