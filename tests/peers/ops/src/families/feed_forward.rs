//! Gated linear units and rotary position embedding.

use gradus_tensor::ops::glu::{Gate, Glu};
use gradus_tensor::ops::rotary::Rotary;
use gradus_tensor::{Result, Tensor, bail};

use super::{Operation, one, value};
use crate::call::Call;

fn glu(c: &Call) -> Result<Glu> {
    let name: String = c.get("gate")?;
    let Some(gate) = Gate::ALL.into_iter().find(|gate| gate.unary().name() == name) else {
        let names = Gate::ALL.map(|gate| gate.unary().name());
        bail!("ops", "no gate is called {name}; there are {names:?}");
    };
    Ok(Glu { gate, gate_first: c.flag("gate_first")? })
}

pub fn operations() -> Vec<Operation> {
    vec![
        one("glu", |c| c.x()?.glu(glu(c)?)),
        one("rotary_embedding", |c| {
            let (heads, head_size) = (c.get("heads")?, c.get("head_size")?);
            let options = Rotary { heads, head_size, inverse: c.flag("inverse")? };
            c.x()?.rotary_embedding(c.tensor(1)?, c.tensor(2)?, options)
        }),
        value("rotary_table", |c| {
            Tensor::rotary_table(c.get("positions")?, c.get("dim")?, c.number("theta")?)
        }),
    ]
}
