//! `report.html`: one page about a run that needs no other file.

mod answer;
mod classifier;
mod data;
mod embed;
mod history;
mod labels;
pub mod plot;
mod run;
pub mod scatter;
mod tokens;
mod words;

use std::path::Path;

use gradus_cli::Outcome;
use gradus_models::files;
use gradus_models::training::Metric;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

pub use answer::of_answers;
pub use classifier::{of_classifier, of_student};
pub use embed::of_embedder;
pub use history::{History, Points, smoothed};
use plot::{Line, curves};
pub use run::of_run;
pub use tokens::of_tagger;
pub use words::of_guesses;

/// The name of the page in a run's folder.
pub const REPORT: &str = "report.html";

/// A part of the page.
pub struct Section {
    pub title: String,
    pub body: Markup,
}

impl Section {
    pub fn new(title: impl Into<String>, body: Markup) -> Section {
        Section { title: title.into(), body }
    }
}

/// A table of two columns.
pub fn table_of_pairs(rows: impl IntoIterator<Item = (String, String)>) -> Markup {
    html! {
        div.wide { table { @for (name, value) in rows { tr { th { (name) } td { (value) } } } } }
    }
}

/// The curves of a run.
pub fn course(history: &History, decides: &Metric) -> Section {
    let loss = history.of_steps("loss");
    let raw = Line { pale: true, ..Line::new("every step", loss.clone()) };
    let losses = [
        raw,
        Line::new("training, smoothed", smoothed(&loss)),
        Line::new("dev", history.of_split("dev", "loss")),
    ];
    let dev = [Line::new(decides.title, history.of_split("dev", decides.name))];
    let norm = history.of_steps("grad_norm");
    let norms = [
        Line { pale: true, ..Line::new("every step", norm.clone()) },
        Line::new("smoothed", smoothed(&norm)),
    ];
    let rate = [Line::new("rate", history.of_steps("lr"))];
    let title = format!("dev {}", decides.title);
    let pictures = [
        curves("loss", &losses),
        (decides.name != "loss").then(|| curves(&title, &dev)).flatten(),
        curves("norm of the gradients, before clipping", &norms),
        curves("learning rate", &rate),
        curves("norm of the weights", &parts(history, "weight_norms")),
        curves("norm of the gradients of each part", &parts(history, "gradient_norms")),
    ];
    Section::new(
        "Course",
        html! { div.plots { @for picture in pictures.iter().flatten() { (picture) } } },
    )
}

/// Curves of one picture; more cannot be told apart.
const MAX_CURVES: usize = 7;

/// The norms of the parts of the model: of many layers, some at equal distances.
fn parts(history: &History, kind: &str) -> Vec<Line> {
    let all = history.norms(kind);
    let every = all.len().div_ceil(MAX_CURVES).max(1);
    let shown = all.into_iter().step_by(every);
    shown.map(|(part, points)| Line::new(part, points)).collect()
}

/// The whole page.
pub fn page(title: &str, sections: &[Section]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                h1 { (title) }
                @for section in sections {
                    section { h2 { (section.title) } (section.body) }
                }
            }
        }
    };
    page.into_string()
}

/// Writes a page.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, title: &str, sections: &[Section]) -> Outcome {
    Ok(files::write_atomic(path, page(title, sections).as_bytes())?)
}

/// The fields of an object that were given, each as a row: the name as `name` writes it, and the
/// value.
pub fn given(object: &Value, name: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let fields = object.as_object().into_iter().flatten();
    let given = fields.filter(|(_, value)| crate::flags::given(value));
    let show = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    given.map(|(field, value)| (name(field), show(value))).collect()
}

/// The flags that were given, each as a row.
pub fn flags(flags: &Value) -> Vec<(String, String)> {
    given(flags, |field| format!("--{field}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_data_is_escaped() {
        let rows = [("<script>".to_string(), "a & b".to_string())];
        let text = page("a < b", &[Section::new("x", table_of_pairs(rows))]);
        assert!(!text.contains("<script>") && text.contains("&lt;script&gt;"));
        assert!(text.contains("a &amp; b") && text.contains("<title>a &lt; b</title>"));
        for outside in ["http://", "https://", "<link", "src="] {
            assert!(!text.contains(outside), "the page needs {outside}");
        }
    }
}
