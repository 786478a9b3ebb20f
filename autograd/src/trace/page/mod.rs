//! A trace as one page: a file that needs no other and no network.
//!
//! The page is `page.html`, `page.css` and the scripts beside this file, one for each panel. The
//! trace is in it as data ([`data`]), which the page unpacks; no text of a model or a data set
//! becomes HTML.

mod data;
mod limits;
mod sources;

use serde::Serialize;

use super::Trace;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// In their order: each uses only what is in those before it.
const SCRIPTS: [&str; 15] = [
    include_str!("data.js"),
    include_str!("elements.js"),
    include_str!("filled.js"),
    include_str!("formulas.js"),
    include_str!("gradients.js"),
    include_str!("heat.js"),
    include_str!("graph.js"),
    include_str!("operation.js"),
    include_str!("values.js"),
    include_str!("cost.js"),
    include_str!("kernels.js"),
    include_str!("attention.js"),
    include_str!("steps.js"),
    include_str!("tour.js"),
    include_str!("main.js"),
];

/// One step of a model on one page, which a browser opens from a file: its graph, and for each
/// operation the formula with its numbers, values and gradients, time and memory, and the kernels.
///
/// ```
/// # use gradus_autograd::{Var, trace};
/// # use gradus_autograd::trace::Page;
/// # use gradus_tensor::Tensor;
/// let x = Var::leaf(Tensor::scalar(2f64));
/// let (_, trace) = trace(|| x.square()?.backward())?;
/// let html = Page::new("x²", &trace).fact("x", "2").to_html();
/// assert!(html.contains("<title>x²</title>"));
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub struct Page<'a> {
    title: String,
    facts: Vec<(String, String)>,
    sequences: Vec<Sequence>,
    labels: Vec<String>,
    steps: Vec<Step<'a>>,
}

/// A step on the page.
struct Step<'a> {
    name: String,
    trace: &'a Trace,
    update: Option<Update>,
}

/// A text that a model read, for a [`Page`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sequence {
    /// The text, if it is known.
    pub text: String,
    /// Its tokens, one for each row of the embeddings.
    pub tokens: Vec<String>,
    /// What it should become: a label.
    pub target: Option<String>,
}

/// What an optimiser did with the gradients of a step, for a [`Page`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Update {
    /// The optimiser's name: `AdamW`.
    pub optimizer: String,
    /// What every gradient was multiplied by: a clip factor.
    pub scale: f64,
    /// The parameters that it changed.
    pub parameters: Vec<UpdatedParameter>,
    /// A few single numbers.
    pub weights: Vec<UpdatedWeight>,
}

/// A parameter that an optimiser changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UpdatedParameter {
    /// Its name.
    pub name: String,
    /// √Σw² before the step.
    pub norm: f64,
    /// √Σ(after − before)².
    pub change: f64,
    /// The learning rate.
    pub lr: f64,
    /// The weight decay.
    pub weight_decay: f64,
}

/// One number of a parameter in a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UpdatedWeight {
    /// The parameter.
    pub name: String,
    /// Its place in row-major order.
    pub index: usize,
    /// The number before the step.
    pub before: f64,
    /// Its gradient.
    pub gradient: f64,
    /// The optimiser's state of it after the step, by name: `exp_avg`, `exp_avg_sq`.
    pub state: Vec<(String, f64)>,
    /// The optimiser's settings, by name: `lr`, `beta1`.
    pub settings: Vec<(String, f64)>,
    /// The number after the step.
    pub after: f64,
}

impl<'a> Page<'a> {
    /// A page about a trace.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_autograd::trace::Page;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.exp())?;
    /// assert!(Page::new("a < b", &trace).to_html().contains("<title>a &lt; b</title>"));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn new(title: impl Into<String>, trace: &'a Trace) -> Self {
        let (facts, sequences, labels) = (Vec::new(), Vec::new(), Vec::new());
        let page = Page { title: title.into(), facts, sequences, labels, steps: Vec::new() };
        page.step("this step", trace, None)
    }

    /// Names the first step, and says what the optimiser did with its gradients.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_autograd::trace::{Page, Update};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.exp()?.backward())?;
    /// let update = Update { optimizer: "SGD".into(), scale: 1.0, ..Update::default() };
    /// let page = Page::new("x", &trace).first("step 1", Some(update));
    /// assert!(page.to_html().len() > 1000);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn first(mut self, name: impl Into<String>, update: Option<Update>) -> Self {
        self.steps[0].name = name.into();
        self.steps[0].update = update;
        self
    }

    /// Adds another step, to be compared with the first.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_autograd::trace::Page;
    /// # use gradus_tensor::Tensor;
    /// let of = |x: f64| trace(|| Var::leaf(Tensor::scalar(x)).exp()?.backward());
    /// let (one, two) = (of(1.0)?.1, of(2.0)?.1);
    /// let page = Page::new("exp", &one).first("at 1", None).step("at 2", &two, None);
    /// assert!(page.to_html().len() > 1000);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn step(
        mut self,
        name: impl Into<String>,
        trace: &'a Trace,
        update: Option<Update>,
    ) -> Self {
        self.steps.push(Step { name: name.into(), trace, update });
        self
    }

    /// Adds a line about the run: a name and its value.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_autograd::trace::Page;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.exp())?;
    /// let page = Page::new("exp", &trace).fact("model", "runs/mine");
    /// assert!(page.to_html().len() > 1000);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.push((name.into(), value.into()));
        self
    }

    /// Says which texts the model read, in the order of the rows of its embeddings, and the names of
    /// its labels.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_autograd::trace::{Page, Sequence};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.exp())?;
    /// let read = Sequence { text: "my card".into(), ..Sequence::default() };
    /// let page = Page::new("exp", &trace).texts(vec![read], &["card".to_string()]);
    /// assert!(page.to_html().len() > 1000);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn texts(mut self, sequences: Vec<Sequence>, labels: &[String]) -> Self {
        (self.sequences, self.labels) = (sequences, labels.to_vec());
        self
    }

    /// The page, complete: HTML with everything in it.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_autograd::trace::Page;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.exp())?;
    /// assert!(Page::new("exp", &trace).to_html().starts_with("<!doctype html>"));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_html(&self) -> String {
        // One pass: what is put in may contain the marks.
        let mut html = String::new();
        let mut rest = HTML;
        while let Some((before, after)) = rest.split_once("{{") {
            let (mark, after) = after.split_once("}}").unwrap_or((after, ""));
            html.push_str(before);
            match mark {
                "title" => html.push_str(&escaped(&self.title)),
                "style" => html.push_str(STYLE),
                "script" => SCRIPTS.iter().for_each(|script| html.push_str(script)),
                "data" => html.push_str(&data::packed(self)),
                other => unreachable!("page.html has {other}"),
            }
            rest = after;
        }
        html + rest
    }
}

impl Trace {
    /// The trace as one page; a [`Page`] can say more.
    ///
    /// ```
    /// # use gradus_autograd::{Var, trace};
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let (_, trace) = trace(|| x.exp()?.backward())?;
    /// let html = trace.to_html();
    /// for outside in ["http:", "https:", "<link", " src="] {
    ///     assert!(!html.contains(outside), "the page needs {outside}");
    /// }
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_html(&self) -> String {
        Page::new("One step", self).to_html()
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use gradus_tensor::Tensor;

    use super::*;
    use crate::op::Op;
    use crate::{Var, trace};

    /// Every operation has a formula by element, and every family its rule's source.
    #[test]
    fn every_operation_is_known() {
        let formulas = include_str!("formulas.js");
        for op in Op::all() {
            let name = format!("\n  {}:", op.name());
            assert!(formulas.contains(&name), "formulas.js does not know {}", op.name());
            assert!(sources::rule(op.family()).is_some(), "no source of {}", op.family());
        }
    }

    #[test]
    fn texts_stay_texts() {
        let x = Var::leaf(Tensor::scalar(2f64));
        let (_, trace) = trace(|| x.exp()).unwrap();
        let hostile = "</script><script>alert(1)</script>{{data}}";
        let read = Sequence { text: hostile.into(), ..Sequence::default() };
        let page = Page::new(hostile, &trace).texts(vec![read], &[hostile.to_string()]);
        let html = page.to_html();
        assert!(!html.contains("alert(1)<"), "only the title has it, escaped");
        assert_eq!(html.matches("alert(1)").count(), 1);
        assert_eq!(html.matches("<script").count(), HTML.matches("<script").count());
    }
}
