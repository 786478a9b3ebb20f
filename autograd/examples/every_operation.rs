//! A page with every operation of the registry, to check the page's formulas:
//!
//! `cargo run -p gradus-autograd --example every_operation PAGE`, then `tests/browser/explorer.py PAGE`

use gradus_autograd::trace::Page;
use gradus_autograd::{Var, registry, trace, within};
use gradus_tensor::{Result, RngKey};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "every_operation.html".into());
    let (_, trace) = trace(|| {
        for case in registry::all_cases(RngKey::new(18)) {
            let inputs: Vec<Var> = case.inputs.iter().cloned().map(Var::leaf).collect();
            within(&case.label.replace('.', "·"), || {
                let sum = (case.f)(&inputs)?.sum_all()?;
                // What has no slope anywhere is recorded in no graph.
                if sum.requires_grad() { sum.backward().map(drop) } else { Ok(()) }
            })?;
        }
        Ok(())
    })?;
    let html = Page::new("Every operation", &trace).to_html();
    std::fs::write(&path, html).expect("the page can be written");
    println!("{} nodes: {path}", trace.nodes.len());
    Ok(())
}
