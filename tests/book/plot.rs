//! The plot of a function of one element with its first and second derivative.

use std::fmt::Write;

use gradus::autograd::{BackwardOptions, Var, grad};
use gradus::tensor::ops::unary::UnaryOp;
use gradus::tensor::{Result, Tensor};

/// x runs over ±4 and y over ±3; a unit has as many pixels on both axes, so slopes can be seen.
const UNIT: f64 = 60.0;
const X: f64 = 4.0;
const Y: f64 = 3.0;
/// Points from one edge to the other; none is 0, where some functions have a corner.
const POINTS: usize = 120;

const STYLE: &str = "<style>
.pic{--ink:#1c1f24;--dim:#5c6570;--line:#8a94a0;--f:#1560bd;--d1:#b8560b;--d2:#2c7a3f}
@media (prefers-color-scheme:dark){.pic{--ink:#e6e9ee;--dim:#a3adb8;--line:#76818d;--f:#7db7ff;--d1:#f0a45d;--d2:#7fd193}}
.pic text{fill:var(--dim);font:12px system-ui,sans-serif}
.pic path{fill:none;stroke-width:2}.pic .axis{stroke:var(--line);stroke-width:1}
.pic .f{stroke:var(--f)}.pic .d1{stroke:var(--d1);stroke-dasharray:7 4}.pic .d2{stroke:var(--d2);stroke-dasharray:2 4}
</style>";

/// f, f′ and f″ at some places, by the engine.
fn curves(op: UnaryOp) -> Result<(Vec<f64>, [Vec<f64>; 3])> {
    let step = 2.0 * X / (POINTS - 1) as f64;
    let places: Vec<f64> = (0..POINTS).map(|i| i as f64 * step - X).collect();
    let x = Var::leaf(Tensor::from_slice(&places, &[POINTS])?);
    let y = x.unary(op)?;
    let recorded = BackwardOptions { create_graph: true, ..Default::default() };
    let slope = |y: &Var| -> Result<Var> {
        let sum = y.sum_all()?;
        let slope = match sum.requires_grad() {
            true => grad(&[sum], std::slice::from_ref(&x), None, recorded)?.remove(0),
            false => None,
        };
        slope.map_or_else(|| Ok(Var::constant(x.tensor().zeros_like()?)), Ok)
    };
    let first = slope(&y)?;
    let second = slope(&first)?;
    let values = |of: &Var| of.tensor().to_f64_vec();
    Ok((places, [values(&y), values(&first), values(&second)]))
}

/// The points of a curve that lie in the plot, as a path; a jump begins a new line.
fn path(places: &[f64], values: &[f64]) -> String {
    let mut path = String::new();
    let mut before: Option<f64> = None;
    for (&x, &y) in places.iter().zip(values) {
        let seen = y.is_finite() && y.abs() <= Y + 0.5;
        let joined = before.is_some_and(|before| (before - y).abs() < 0.75);
        if seen {
            let letter = if joined { 'L' } else { 'M' };
            let (x, y) = ((x + X) * UNIT, (Y - y) * UNIT);
            let _ = write!(path, "{letter}{x:.0} {:.1}", y + 0.0);
        }
        before = seen.then_some(y);
    }
    path
}

/// The plot.
pub fn svg(op: UnaryOp) -> Result<String> {
    let (width, height) = (2.0 * X * UNIT, 2.0 * Y * UNIT);
    let (places, curves) = curves(op)?;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         class=\"pic plot\" style=\"max-width:{width}px\" role=\"img\">\
         <title>{} and its derivatives</title>\n{STYLE}\n",
        op.name()
    );
    let (cx, cy) = (X * UNIT, Y * UNIT);
    let _ = writeln!(svg, "<path class=\"axis\" d=\"M0 {cy}H{width}M{cx} 0V{height}\"/>");
    for at in [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0] {
        let (x, y) = ((at + X) * UNIT, (Y - at) * UNIT);
        let sign = if at < 0.0 { "−" } else { "" };
        let label = format!("{sign}{:.0}", f64::abs(at));
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x} {cy}v4M{cx} {y}h4\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{label}</text>", x - 4.0, cy + 17.0);
        if at.abs() < 3.0 {
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{label}</text>", cx + 8.0, y + 4.0);
        }
    }
    for (class, values) in ["f", "d1", "d2"].into_iter().zip(&curves) {
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"{}\"/>", path(&places, values));
    }
    for (line, (class, name)) in [("f", "f"), ("d1", "f′"), ("d2", "f″")].into_iter().enumerate()
    {
        let y = 16 + 18 * line;
        let _ = writeln!(
            svg,
            "<path class=\"{class}\" d=\"M10 {y}h34\"/><text x=\"52\" y=\"{}\">{name}</text>",
            y + 4
        );
    }
    svg += "</svg>\n";
    Ok(svg)
}
