//! `ops` runs one operation of Gradus for each line of JSON on standard input, and writes its
//! answer as one line on standard output.
//!
//! ```text
//! {"op": "sum", "attributes": {"dims": [0]},
//!  "inputs": [ARRAY], "grads": [ARRAY], "second": [ARRAY]}
//! → {"outputs": [ARRAY], "grads": [ARRAY], "second": [ARRAY, ARRAY]}
//! → {"error": "[sum] …"}
//! ```
//!
//! Operations have the names of the registry or of methods; attributes have the names of the
//! methods' parameters. [`array::Array`] describes an ARRAY. `grads` holds the gradients of the
//! outputs (null where an output has none) and asks for the gradients of the inputs. `second` holds
//! the gradients of those, and asks for second gradients: of the inputs, then of the arrays in
//! `grads`. An answer has null where no gradient arrives.
//!
//! The program is for tests (`tests/peers/`) and is not installed.

mod answer;
mod array;
mod call;
mod families;

use std::io::{BufRead, Write};

use clap::Parser;
use gradus_cli::{DeviceArg, Outcome};
use gradus_tensor::Device;

/// Run single operations of Gradus, asked in JSON lines
#[derive(Parser)]
#[command(name = "ops")]
struct Arguments {
    /// Where to compute: cpu, gpu or gpu:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: DeviceArg,
    /// List the operations, one JSON object a line, and end
    #[arg(long)]
    list: bool,
}

fn main() -> std::process::ExitCode {
    gradus_cli::run(program)
}

fn program() -> Outcome {
    let arguments = Arguments::parse();
    if arguments.list { list() } else { serve(arguments.device.resolve()?) }
}

fn list() -> Outcome {
    let mut out = std::io::stdout().lock();
    for operation in families::all() {
        let registered = families::registered(operation.name);
        let line = serde_json::json!({ "name": operation.name, "registered": registered });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Answers every line before it reads the next, so that a client may wait for each answer.
fn serve(device: Device) -> Outcome {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        serde_json::to_writer(&mut out, &answer::answer(&line?, device))?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}
