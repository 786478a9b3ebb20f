//! A trace as text, as a graph for Graphviz and Mermaid, and as JSON.

use std::fmt::{self, Write};

use serde::Serialize;

use super::{Summary, Trace, TraceInput, TraceNode};

impl Trace {
    /// The graph for Graphviz (`dot -Tsvg`): leaves are boxes, modules are frames.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.square()?.exp())?;
    /// assert!(trace.to_dot().contains(r#"n0 -> n1 [label="[]"];"#));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph trace {\n  rankdir=TB;\n  node [shape=ellipse];\n");
        for (number, module) in self.modules().into_iter().enumerate() {
            let own = self.nodes.iter().filter(|node| node.module_of_operation() == module);
            let names = own.map(|node| format!("n{};", node.id)).collect::<Vec<_>>().join(" ");
            let label = escaped(module);
            let _ = writeln!(dot, "  subgraph cluster_{number} {{ label=\"{label}\"; {names} }}");
        }
        for node in &self.nodes {
            let shape = if node.is_leaf() { ", shape=box" } else { "" };
            let label = escaped(&node.label());
            let _ = writeln!(dot, "  n{} [label=\"{label}\"{shape}];", node.id);
        }
        for (from, to) in self.edges() {
            let label = format!("{:?}", self.nodes[from].shape);
            let _ = writeln!(dot, "  n{from} -> n{to} [label=\"{label}\"];");
        }
        dot.push_str("}\n");
        dot
    }

    /// The graph for Mermaid, which Markdown pages show.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.exp())?;
    /// assert!(trace.to_mermaid().starts_with("flowchart TB\n"));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_mermaid(&self) -> String {
        let mut chart = String::from("flowchart TB\n");
        for node in &self.nodes {
            // Mermaid reads entities, and takes nothing else for a quote.
            let label = node.label().replace('"', "#quot;").replace('\n', "<br>");
            let (open, close) = if node.is_leaf() { ("[", "]") } else { ("([", "])") };
            let _ = writeln!(chart, "  n{}{open}\"{label}\"{close}", node.id);
        }
        for (from, to) in self.edges() {
            let _ = writeln!(chart, "  n{from} --> n{to}");
        }
        chart
    }

    /// The nodes as JSON: `{"nodes": […]}`, with the fields of [`TraceNode`].
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.exp())?;
    /// assert!(trace.to_json().contains(r#""op":"exp""#));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Nodes<'a> {
            nodes: &'a [TraceNode],
        }
        // Writing numbers and texts to memory cannot fail.
        serde_json::to_string(&Nodes { nodes: &self.nodes }).unwrap_or_default()
    }

    /// From each input to the operation.
    fn edges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.nodes.iter().flat_map(|node| {
            node.inputs.iter().filter_map(|input| match input {
                TraceInput::Node(from) => Some((*from, node.id)),
                TraceInput::Constant(_) => None,
            })
        })
    }

    /// The modules of the operations, in the order of their first.
    fn modules(&self) -> Vec<&str> {
        let mut modules: Vec<&str> = Vec::new();
        for node in &self.nodes {
            let module = node.module_of_operation();
            if !module.is_empty() && !modules.contains(&module) {
                modules.push(module);
            }
        }
        modules
    }
}

impl TraceNode {
    /// Whether no operation made it: a variable of the user, or a parameter.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.exp())?;
    /// assert!(trace.nodes[0].is_leaf() && !trace.nodes[1].is_leaf());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn is_leaf(&self) -> bool {
        self.family.is_empty()
    }

    fn module_of_operation(&self) -> &str {
        if self.is_leaf() { "" } else { &self.module }
    }

    /// The name, and below it the shape, or the number where there is one.
    fn label(&self) -> String {
        let name = match self.is_leaf() && !self.module.is_empty() {
            true => &self.module,
            false => self.op,
        };
        format!("{name}\n{}", shown(&self.shape, &self.value))
    }
}

/// A number, or the shape of several.
fn shown(shape: &[usize], value: &Summary) -> String {
    match (shape, value.values.as_slice()) {
        ([], [number]) => short(*number),
        _ => format!("{shape:?}"),
    }
}

fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A line a node: its number, what made it of what, its value, and its gradient.
///
/// ```
/// # use gradus_autograd::{Var, trace};
/// # use gradus_tensor::Tensor;
/// let x = Var::leaf(Tensor::scalar(3f64));
/// let (_, trace) = trace(|| x.square()?.backward())?;
/// assert_eq!(trace.to_string(), "\
/// 0  leaf       3    gradient 6
/// 1  square(0)  9    gradient 1
/// ");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 4]> = self.nodes.iter().map(row).collect();
        let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2].map(width);
        for row in &rows {
            let line = format!(
                "{:>a$}  {:b$}  {:c$}    {}",
                row[0],
                row[1],
                row[2],
                row[3],
                a = widths[0],
                b = widths[1],
                c = widths[2]
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The columns of a node.
fn row(node: &TraceNode) -> [String; 4] {
    let input = |input: &TraceInput| match input {
        TraceInput::Node(place) => place.to_string(),
        TraceInput::Constant(constant) => format!("constant {:?}", constant.shape),
    };
    let inputs: Vec<String> = node.inputs.iter().map(input).collect();
    let made = match node.is_leaf() {
        true if node.module.is_empty() => node.op.to_string(),
        true => node.module.clone(),
        false => format!("{}({})", node.op, inputs.join(", ")),
    };
    let of = |summary: &Summary| match node.shape.as_slice() {
        [] => shown(&[], summary),
        _ => format!("mean {}, std {}", short(summary.mean), short(summary.std)),
    };
    let value = match node.shape.as_slice() {
        [] => of(&node.value),
        shape => format!("{shape:?} {}", of(&node.value)),
    };
    let gradient = node.gradient.as_ref().map_or(String::new(), |g| format!("gradient {}", of(g)));
    [node.id.to_string(), made, value, gradient]
}
