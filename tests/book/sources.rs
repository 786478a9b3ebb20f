//! Where the sources of an operation stand: what its page quotes.

use gradus::autograd::Op;
use gradus::tensor::ops::unary::UnaryOp;
use gradus_quote::quote;

/// A place in a source: what it is, the file, the symbol.
pub type Place = (&'static str, String, String);

const CPU: &str = "The CPU's kernel";
const GPU: &str = "The shader";
const RULE: &str = "The rule";

/// Whether a file has a symbol.
fn has(file: &str, symbol: &str) -> bool {
    let source = std::fs::read_to_string(super::root().join(file)).unwrap_or_default();
    quote(&source, symbol).is_ok()
}

/// The name of the variant that stands in the sources' matches.
fn variant(debug: String) -> String {
    debug.chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// Everything that the page of an operation quotes: the rule, the kernel, the shader.
///
/// # Panics
/// If a symbol is gone.
pub fn places(op: Op) -> Vec<Place> {
    let places = match op {
        Op::Unary(function) => unary(function),
        Op::Binary(function) => {
            let arm = variant(format!("{function:?}"));
            let rule = ("autograd/src/ops/binary.rs", format!("Var::binary/{arm}"));
            let cpu = ("tensor/cpu/src/binary.rs", format!("float/{arm}"));
            let shader = format!("op_{}", function.name());
            let first = format!("{shader}@1");
            let shader = if has("shaders/src/binary.wgsl", &shader) { shader } else { first };
            vec![
                (RULE, rule.0.into(), rule.1),
                (CPU, cpu.0.into(), cpu.1),
                (GPU, "shaders/src/binary.wgsl".into(), shader),
            ]
        }
        other => family(other),
    };
    for (_, file, symbol) in &places {
        assert!(has(file, symbol), "{}: {file} has no {symbol}", op.name());
    }
    places
}

fn unary(function: UnaryOp) -> Vec<Place> {
    let (arm, name) = (variant(format!("{function:?}")), function.name());
    let cpu = "tensor/cpu/src/unary.rs";
    let mut places = vec![(RULE, "autograd/src/ops/unary.rs".into(), format!("derivative/{arm}"))];
    let mut add = |what: &'static str, file: &str, symbol: String| {
        if has(file, &symbol) {
            places.push((what, file.into(), symbol));
        }
    };
    add(CPU, cpu, format!("forward_of/{arm}"));
    add("The function", cpu, name.into());
    if function.has_fused_backward() {
        add("Its derivative, in one pass", cpu, format!("backward_of/{arm}"));
    }
    add("The derivative", cpu, format!("{name}_derivative"));
    for shader in ["shaders/src/unary.wgsl", "shaders/src/activations.wgsl"] {
        add(GPU, shader, format!("op_{name}"));
        add("The derivative's shader", shader, format!("d_{name}"));
    }
    places
}

/// The places of an operation of a family: file of the CPU's kernels and its symbols, file of the
/// shader and its symbols.
fn family(op: Op) -> Vec<Place> {
    let (cpu, kernels, shader, entries): (&str, &[&str], &str, &[&str]) = match op {
        Op::Cast => ("copy", &["converted"], "copy", &["convert@2"]),
        Op::Where => ("binary", &["where_of"], "binary", &["where_"]),
        Op::Sum | Op::SumTo => ("reduce", &["sum_of"], "reduce", &["reduce"]),
        Op::Mean => ("reduce", &["mean"], "reduce", &["reduce"]),
        Op::Max => ("reduce", &["max"], "reduce", &["reduce"]),
        Op::Min => ("reduce", &["min"], "reduce", &["reduce"]),
        Op::Var => ("reduce", &["var"], "reduce", &["reduce"]),
        Op::LogSumExp => ("reduce", &["logsumexp"], "reduce", &["reduce"]),
        Op::Matmul => ("matmul", &["batched"], "matmul", &["matmul"]),
        Op::Linear | Op::LinearGelu => ("matmul", &["layer"], "matmul", &["matmul"]),
        Op::LinearCat => ("matmul", &["layers"], "matmul", &["matmul"]),
        Op::Softmax => {
            ("softmax", &["softmax_of", "softmax_backward_of"], "softmax", &["forward", "backward"])
        }
        Op::LogSoftmax => (
            "softmax",
            &["log_softmax_of", "log_softmax_backward_of"],
            "softmax",
            &["forward", "backward"],
        ),
        Op::LayerNorm | Op::RmsNorm | Op::DropoutAddLayerNorm | Op::DropoutAddRmsNorm => (
            "layer_norm",
            &["Forward::row", "Backward::row"],
            "layer_norm",
            &["forward", "backward"],
        ),
        Op::CrossEntropy => (
            "cross_entropy",
            &["forward_of", "row_gradient"],
            "cross_entropy",
            &["rows", "backward"],
        ),
        Op::Dropout => ("dropout", &["dropout_of"], "dropout", &["dropout"]),
        Op::Attention | Op::AttentionQkvPacked => (
            "attention",
            &["forward.rs Forward::head", "backward.rs Backward::head"],
            "attention",
            &["products", "$ENTRY"],
        ),
        Op::RotaryEmbedding => ("rotary", &["rotate"], "rotary", &["rotary_embedding"]),
        Op::Glu => ("glu", &["forward", "backward"], "glu", &["$KIND"]),
        Op::IndexSelect | Op::Embedding => ("index", &["select_rows"], "index", &["look_up"]),
        Op::IndexAdd => ("index", &["Additions::run"], "index", &["add_rows"]),
        Op::Gather => ("index", &["gather_of"], "index", &["look_up"]),
        Op::ScatterAdd => ("index", &["Lines::add"], "index", &["scatter_add"]),
        Op::Cat | Op::PadZeros => ("concat", &["join"], "concat", &["join"]),
        Op::Flip => ("concat", &["flip_of"], "", &[]),
        _ => ("", &[], "", &[]),
    };
    let mut places = rule(op);
    for kernel in kernels {
        let (file, symbol) = match kernel.split_once(' ') {
            Some((file, symbol)) => (format!("tensor/cpu/src/{cpu}/{file}"), symbol),
            None => (format!("tensor/cpu/src/{cpu}.rs"), *kernel),
        };
        places.push((CPU, file, symbol.into()));
    }
    for entry in entries {
        places.push((GPU, format!("shaders/src/{shader}.wgsl"), entry.to_string()));
    }
    places
}

/// The rule: the method of `Var` that records it.
fn rule(op: Op) -> Vec<Place> {
    let file = match op {
        Op::Checkpoint => {
            return vec![(RULE, "autograd/src/checkpoint.rs".into(), "checkpoint".into())];
        }
        op => format!("autograd/src/ops/{}.rs", op.family()),
    };
    let method = match op {
        Op::Where => "Var::where_".to_string(),
        op => format!("Var::{}", op.name()),
    };
    let method = if has(&file, &method) { method } else { op.name().to_string() };
    let mut places = vec![(RULE, file.clone(), method)];
    let more: &[&str] = match op {
        Op::Max | Op::Min => &["Var::extremum"],
        Op::Linear => &["parameter_gradients"],
        Op::LinearCat => &["parameter_gradients"],
        _ => &[],
    };
    places.extend(more.iter().map(|symbol| (RULE, file.clone(), symbol.to_string())));
    if let Some(composed) = [format!("{}_composed", op.name())].iter().find(|name| has(&file, name))
    {
        places.push(("The same, composed of simpler operations", file, composed.clone()));
    }
    places
}
