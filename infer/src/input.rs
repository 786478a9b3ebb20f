//! The texts to run a model on.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use gradus_cli::{Failure, Outcome};
use gradus_models::data::{Format, read_inputs_from};
use gradus_models::{Columns, Example, ModelRef, read_inputs};

use crate::args::{ModelFlags, TextFlags};

/// A text, and the second of a pair.
pub type Input = (String, Option<String>);

/// The texts of the command line, else of --input, else of standard input unless that is a
/// terminal. `usage` is an example of the subcommand.
pub fn texts(
    positional: Vec<String>,
    flags: &TextFlags,
    pair_column: Option<&str>,
    usage: &str,
) -> Outcome<Vec<Input>> {
    let columns = Columns {
        text: flags.text_column.clone().unwrap_or_else(|| "text".into()),
        pair: pair_column.map(str::to_string),
        ..Columns::text_only()
    };
    let named =
        [("text-column", flags.text_column.is_some()), ("pair-column", pair_column.is_some())];
    let column = named.iter().find(|(_, given)| *given).map(|(name, _)| *name);
    if !positional.is_empty() {
        if let Some(name) = column {
            return Err(Failure::usage(format!(
                "--{name} names a column of --input, but the texts are on the command line"
            )));
        }
        return Ok(positional.into_iter().map(|text| (text, None)).collect());
    }
    let path = match &flags.input {
        Some(path) => path.as_path(),
        None if io::stdin().is_terminal() => {
            return Err(Failure::usage(format!(
                "no texts: name some, a file (--input FILE), or pipe them in, one a line; for example\n  {usage}"
            )));
        }
        None => Path::new("-"),
    };
    let piped = path == Path::new("-");
    if let Some(name) =
        column.filter(|_| piped || Format::of(path).is_ok_and(|f| f == Format::Text))
    {
        return Err(Failure::usage(format!(
            "--{name}: a .txt file or standard input has a text a line, and no columns or pairs; use .csv, .tsv, .jsonl or .parquet"
        )));
    }
    let examples = match piped {
        true => standard_input(&columns, usage)?,
        false => read_inputs(path, &columns)?,
    };
    Ok(examples.into_iter().map(|Example { text, pair, .. }| (text, pair)).collect())
}

/// The texts on standard input, one a line.
fn standard_input(columns: &Columns, usage: &str) -> Outcome<Vec<Example>> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Err(Failure::error(format!(
            "standard input holds no texts: name some, or pipe them in, one a line; for example: {usage}"
        )));
    }
    Ok(read_inputs_from(bytes.as_slice(), Path::new("standard input"), Format::Text, columns)?)
}

/// The model named by --model.
pub fn model<'a>(flags: &'a ModelFlags, usage: &str) -> Outcome<ModelRef<'a>> {
    let model = flags.model.as_deref().ok_or_else(|| {
        Failure::usage(format!(
            "no model: name a folder or a hub id with --model; for example\n  {usage}"
        ))
    })?;
    Ok(ModelRef { base: flags.base.as_deref(), ..model.into() })
}
