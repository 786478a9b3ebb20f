//! The text of an operation's page.

use std::fmt::Write;

use gradus::autograd::registry::{SecondOrder, note, second_order};
use gradus::autograd::{Op, Saves};
use gradus::tensor::{Result, Tensor};

use super::numbers::{self, Step};
use super::{link, sources};

/// The page.
pub fn page(op: Op, step: &Step) -> Result<String> {
    let note = note(op).unwrap_or_else(|| panic!("{} has no note in the registry", op.name()));
    let mut page = format!("# `{}`\n\n{}\n\n", op.name(), upper(op.formula()));
    page += &format!("$${}$$\n\n", note.formula);
    page += &facts(op, step)?;
    page += &format!("\n## Its gradient\n\n$${}$$\n\n{}\n\n", note.gradient, folded(note.why));
    if matches!(op, Op::Unary(_)) {
        let name = op.name();
        let _ =
            write!(page, "![{name}, its slope and its curvature, by the engine]({name}.svg)\n\n");
    }
    page += &example(op)?;
    page += &cost(op)?;
    page += "## Sources\n\n";
    for (what, file, symbol) in sources::places(op) {
        let _ = write!(page, "[{what}]({}#{symbol})\n\n", link(&file));
    }
    page += &tests(op);
    Ok(page)
}

/// With a capital letter, if it is a sentence.
fn upper(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if text.chars().nth(1).is_some_and(|c| c.is_ascii_lowercase()) => {
            format!("{}{}.", first.to_uppercase(), chars.as_str())
        }
        _ => format!("{text}."),
    }
}

/// Lines of at most 100 characters.
fn folded(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if !line.is_empty() && line.chars().count() + word.chars().count() >= 100 {
            lines.push(word.to_string());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// The table at the top.
fn facts(op: Op, step: &Step) -> Result<String> {
    let note = note(op).expect("looked up before");
    let saves = match op.saves() {
        Saves::Nothing if op == Op::Checkpoint => "nothing of its own",
        Saves::Nothing => "nothing: the rule needs the gradient and shapes only",
        Saves::First => "the input",
        Saves::Inputs => "the inputs",
        Saves::Output => "the output",
        Saves::Sum => "the sum and the parameters",
    };
    let keeps = match note.keeps {
        "" => saves.to_string(),
        why => format!("{saves}. {why}"),
    };
    let uses = step.uses(op);
    let modules: Vec<String> = uses
        .iter()
        .map(|(module, count)| match *module {
            "" => format!("{count} outside of modules"),
            module => format!("{count} in `{module}`"),
        })
        .collect();
    let bert = match modules.is_empty() {
        true => "not at all".to_string(),
        false => modules.join(", "),
    };
    let (cases, largest) = numbers::check(op)?;
    let second = match second_order(op) {
        SecondOrder::Yes => "first and second order",
        SecondOrder::Declared(reason) => reason,
    };
    let mut table = String::from("| | |\n| --- | --- |\n");
    let mut row = |what: &str, text: &str| {
        let _ = writeln!(table, "| {what} | {} |", text.replace('|', "\\|"));
    };
    row("family", &format!("{}, in [the table](../operations.md)", op.family()));
    row("PyTorch", &format!("`{}`", note.torch));
    if !note.paper.is_empty() {
        row("paper", note.paper);
    }
    row("keeps for backward", &keeps);
    row("in a step of a BERT of two layers", &bert);
    row("gradient check", &format!("{cases} cases, {second}; {}", below(largest)));
    Ok(table)
}

/// A difference, rounded up to a power of ten: its digits differ between processors.
fn below(difference: f64) -> String {
    match difference {
        0.0 => "no difference at all".to_string(),
        _ => format!("differences below 1e{}", difference.log10().floor() as i32 + 1),
    }
}

/// A tensor, to four decimals, indented.
fn shown(tensor: &Tensor) -> Result<String> {
    // Adding 0 makes 0 of −0.
    let values: Vec<f64> =
        tensor.to_f64_vec().iter().map(|x| (x * 1e4).round() / 1e4 + 0.0).collect();
    let text = Tensor::from_slice(&values, tensor.shape())?.to_string();
    Ok(text.lines().map(|line| format!("    {}\n", line.trim_end())).collect())
}

fn example(op: Op) -> Result<String> {
    let example = numbers::example(op)?;
    let mut page = format!("## An example\n\n```text\n{}\n\n", example.label);
    for (place, input) in example.inputs.iter().enumerate() {
        let _ = write!(page, "input {place}\n{}", shown(input)?);
    }
    let _ = write!(page, "result\n{}", shown(&example.output)?);
    let _ = write!(page, "\ngradient that comes to the result\n{}", shown(&example.incoming)?);
    for (place, gradient) in example.gradients.iter().enumerate() {
        let _ = write!(page, "gradient of input {place}\n{}", shown(gradient)?);
    }
    page += "```\n\n";
    Ok(page)
}

/// How the work of an operation grows with its shapes.
fn growth(op: Op) -> &'static str {
    match op.family() {
        "unary" | "binary" | "dropout" => {
            "One function an element, so memory is the limit: each operand is read once and each result written once."
        }
        "view" if op == Op::Cast => "One conversion an element.",
        "view" => {
            "A view: no element is touched forward. Shape and strides are new, the memory is shared."
        }
        "matmul" => {
            "An element of the result is a sum of k products, 2k FLOPs; with m·n elements that is 2·m·n·k forward, and \
             twice as many backward, for there are two gradients."
        }
        "attention" => {
            "For each head and pair of tokens of one sequence two products of d numbers: 4·d FLOPs a pair forward, 10·d \
             backward, which computes the scores again."
        }
        "softmax" | "layer_norm" | "cross_entropy" | "reduce" | "rotary" | "glu" => {
            "A few operations an element, over rows that stay in the cache: memory is the limit."
        }
        "index" => "A copy or an addition for each element that is named by an index.",
        "concat" => "A copy of each element.",
        _ => "What the function inside costs, once more in backward.",
    }
}

fn cost(op: Op) -> Result<String> {
    let mut page = format!("## What it costs\n\n{}\n\n", folded(growth(op)));
    // The operations inside a checkpoint have their own costs, and profiles have no conversions.
    if matches!(op, Op::Checkpoint | Op::Cast) {
        return Ok(page);
    }
    let cost = numbers::cost(op)?;
    let shapes: Vec<String> = cost.shapes.iter().map(|shape| format!("{shape:?}")).collect();
    let _ = write!(
        page,
        "On f32 of {}:\n\n| | FLOPs | bytes moved |\n| --- | --- | --- |\n",
        shapes.join(", ")
    );
    for (what, (flops, bytes)) in ["forward", "backward"].into_iter().zip(cost.work) {
        let flops = if flops == 0 { "not counted".to_string() } else { grouped(flops) };
        let _ = writeln!(page, "| {what} | {flops} | {} |", grouped(bytes));
    }
    let _ = writeln!(page, "| kept for backward | | {} |\n", grouped(cost.kept));
    Ok(page)
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The tests that walk the registry, and those with PyTorch's values.
fn tests(op: Op) -> String {
    let name = op.name();
    let walking = [
        (
            "gradients, first and second order, in f64; views, f32, threads",
            "tests/all/gradients.rs",
        ),
        ("the same values and gradients on a GPU", "tests/all/device_parity.rs"),
        ("devices with low limits", "tests/device_limits.rs"),
        ("values that PyTorch computed", "tests/all/golden_ops.rs"),
    ];
    let mut page = format!(
        "## Tests\n\nThese have cases of `{name}`, the last where PyTorch has the function. `GRADUS_OP={name} cargo test \
         -p gradus --test all -- gradients device_parity` runs the first two for it alone.\n\n"
    );
    for (what, file) in walking {
        let _ = writeln!(page, "- [{what}]({})", link(file));
    }
    page
}
