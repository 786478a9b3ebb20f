//! `infer trace`.

use std::io::Write;
use std::path::PathBuf;

use gradus_cli::{Outcome, SharedArgs, layered};
use gradus_models::{files, pipelines};
use serde_json::json;

use super::{note_cut, opened};
use crate::args::TraceText;
use crate::input;

const USAGE: &str = "infer trace --model MODEL \"How do I locate my card?\"";

/// The page, unless --output names another.
const PAGE: &str = "trace.html";

pub fn run(shared: &SharedArgs, args: TraceText) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let model = input::model(&flags.run, USAGE)?;
    let device = shared.start()?;
    let pipeline = opened(&shared, device, &flags.run, || pipelines::open(model))?;
    let pair = args.text.get(1).map(String::as_str);
    let traced = pipeline.trace(&args.text[0], pair, flags.target.as_deref())?;
    let path = flags.output.unwrap_or_else(|| PathBuf::from(PAGE));
    let title = format!("infer trace: {}", flags.run.model.as_deref().unwrap_or_default());
    let page = traced.page(title).to_html();
    files::write_atomic(&path, page.as_bytes())?;
    note_cut(&shared, pipeline.truncated(), pipeline.max_length());
    let (tokens, nodes) = (traced.sequence.tokens.len(), &traced.trace.nodes);
    let operations = nodes.iter().filter(|node| !node.is_leaf()).count();
    let mut out = std::io::stdout().lock();
    if shared.json {
        let line = json!({
            "page": path, "tokens": tokens, "operations": operations, "loss": traced.loss,
        });
        return Ok(writeln!(out, "{line}")?);
    }
    writeln!(out, "{tokens} tokens, {operations} operations: {}", path.display())?;
    Ok(())
}
