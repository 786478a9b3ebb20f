//! The page about one run.

use gradus_cli::{Outcome, VERSION, command};
use gradus_models::evaluation::Evaluation;
use gradus_models::training::{Metric, Task};
use maud::{Markup, html};
use serde_json::json;

use super::{History, REPORT, Section, course, flags, given, table_of_pairs, write};
use crate::flags::TaskFlags;
use crate::prepare::Run;
use crate::report::Report;
use crate::tasks::{Details, Examined, Job};

/// What tells of the model, and what the evaluation on the test set found.
type Told<J> = (Option<Details<<J as Job>::Task>>, Option<<<J as Job>::Task as Task>::Findings>);

/// Writes the page of a finished run into its folder.
///
/// # Errors
/// When the model cannot be evaluated, or a file not be read or written.
pub fn of_run<J: Job>(run: &Run<J>, report: &Report, (details, findings): Told<J>) -> Outcome {
    let session = &run.session;
    let folder = &session.destination.folder;
    let mut sections = vec![
        Section::new("Result", result(report)),
        course(&History::read(folder)?, &report.decides),
    ];
    let task = session.trainer.task();
    let test = session.test.as_ref().zip(findings);
    let mut examined = test.map(|(set, findings)| Examined { split: "test", set, findings });
    if let (None, Some(set)) = (&examined, &session.dev) {
        let (_, findings) = task.examine(set, &mut |_, _| {})?;
        examined = Some(Examined { split: "dev", set, findings });
    }
    if let Some(details) = details {
        sections.extend(details(task, examined)?);
    }
    sections.push(Section::new("Configuration", configuration(run)));
    let title = format!("train {}: {}", J::Flags::TASK, folder.display());
    write(&folder.join(REPORT), &title, &sections)
}

/// A table of every metric, and what the run took.
fn result(report: &Report) -> Markup {
    let finished = &report.finished;
    let (step, best) = finished.best.as_ref().map_or((0, None), |(step, best)| (*step, Some(best)));
    let columns: Vec<(String, &Evaluation)> = [
        best.map(|best| (format!("dev, step {step}, the best"), best)),
        finished
            .last
            .as_ref()
            .map(|last| (format!("dev, step {}, the last", finished.steps), last)),
        finished.test.as_ref().map(|test| (format!("test, step {}", finished.kept), test)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let show =
        |metric: &Metric, of: &Evaluation| of.get(metric.name).map(|value| metric.show(value));
    html! {
        div.wide { table {
            tr { th {} @for (title, _) in &columns { th.n { (title) } } }
            @for metric in report.metrics { tr {
                td { (metric.title) @if *metric == report.decides { " (decides)" } }
                @for (_, result) in &columns { td.n { (show(metric, result).unwrap_or_default()) } }
            } }
            tr { td { "loss" } @for (_, result) in &columns { td.n { (format!("{:.4}", result.loss)) } } }
            tr { td { (report.evaluated) } @for (_, result) in &columns { td.n { (result.examples) } } }
        } }
        p {
            (finished.steps) " steps in " (format!("{:.0}", finished.seconds)) " s; the model is that of step "
            (finished.kept) "."
            @if let Some(loss) = report.train_loss {
                " Training loss, mean of the last epoch: " (format!("{loss:.4}")) "."
            }
            @if finished.best.is_none() { " There was no dev set, so nothing tells which step was best." }
        }
    }
}

/// The command, and everything that decides the run.
fn configuration<J: Job>(run: &Run<J>) -> Markup {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flags = flags(&json!(run.flags));
    let recipe = given(&json!(run.session.trainer.recipe()), |field| field.replace('_', " "));
    let config = &run.session.destination.config;
    let model = [
        ("Gradus".to_string(), VERSION.to_string()),
        ("device".into(), run.session.trainer.store().device().to_string()),
        ("layers".into(), config.num_hidden_layers.to_string()),
        ("hidden size".into(), config.hidden_size.to_string()),
        ("vocabulary".into(), config.vocab_size.to_string()),
    ];
    html! {
        pre { (command("train", arguments.iter().map(String::as_str))) }
        h3 { "Flags, with those of defaults that depend on the data" } (table_of_pairs(flags))
        h3 { "Recipe" } (table_of_pairs(recipe))
        h3 { "Model and machine" } (table_of_pairs(model))
    }
}
