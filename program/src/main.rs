//! `gradus`: `train`, `infer` and `serve` in one program, under a name that does not collide with
//! other installed programs.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use gradus_cli::{Failure, LONG_VERSION, Outcome, VERSION};

/// Trains, runs and serves BERT and its family.
#[derive(Parser)]
#[command(
    name = "gradus",
    version = VERSION,
    long_version = LONG_VERSION,
    after_help = "Examples:
  gradus train classify --data texts.csv --model sentence-transformers/all-MiniLM-L6-v2 --out runs/mine
  gradus infer classify --model runs/mine \"How do I locate my card?\"
  gradus serve --model runs/mine
  gradus completions bash > ~/.local/share/bash-completion/completions/gradus
  gradus man ~/.local/share/man/man1"
)]
struct Program {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Train(Box<gradus_train::Program>),
    Infer(Box<gradus_infer::Program>),
    Serve(Box<gradus_serve::Program>),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    Man(Man),
}

#[derive(Args)]
struct Man {
    /// The folder, created where it is missing
    #[arg(default_value = ".")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    gradus_cli::run(|| {
        let arguments = command_line().get_matches();
        let program = Program::from_arg_matches(&arguments).unwrap_or_else(|e| e.exit());
        run(program.task)
    })
}

fn run(task: Task) -> Outcome {
    match task {
        Task::Train(train) => gradus_train::program(*train),
        Task::Infer(infer) => gradus_infer::program(*infer),
        Task::Serve(serve) => gradus_serve::program::main(*serve),
        Task::Completions { shell } => completions(shell),
        Task::Man(Man { folder }) => manual(folder),
    }
}

fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line(), "gradus", &mut script);
    Ok(io::Write::write_all(&mut io::stdout(), &script)?)
}

fn manual(folder: PathBuf) -> Outcome {
    let failed = |e| Failure::error(format!("{}: {e}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    // `clap_mangen` names the pages by subcommand: gradus-infer-embed.1.
    clap_mangen::generate_to(command_line(), &folder).map_err(failed)
}

/// The command line, with examples that can be typed exactly as shown.
fn command_line() -> Command {
    prefixed(Program::command())
}

/// Replaces `train …` by `gradus train …` in the examples of a command and its subcommands.
fn prefixed(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_string()).collect();
    let examples = command.get_after_help().map(|text| spelled(&text.to_string()));
    let command = names.iter().fold(command, |c, name| c.mut_subcommand(name, prefixed));
    match examples {
        Some(text) => command.after_help(text),
        None => command,
    }
}

/// Replaces `train` by `gradus train` in a help text, likewise `infer` and `serve`.
fn spelled(text: &str) -> String {
    text.lines().map(spelled_line).collect::<Vec<_>>().join("\n")
}

fn spelled_line(line: &str) -> String {
    for program in ["train", "infer", "serve"] {
        for before in ["  ", "| "] {
            let called = format!("{before}{program}");
            let rest = line.split_once(&called).map(|(_, rest)| rest);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')) {
                return line.replacen(&called, &format!("{before}gradus {program}"), 1);
            }
        }
    }
    line.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn examples_are_spelled_as_they_are_typed() {
        for (theirs, ours) in [
            ("  train classify --out runs/train", "  gradus train classify --out runs/train"),
            ("  train", "  gradus train"),
            ("  cat a.txt | infer classify --json", "  cat a.txt | gradus infer classify --json"),
            ("  serve --model runs/serve x", "  gradus serve --model runs/serve x"),
            ("See /docs of a running server", "See /docs of a running server"),
            ("      trains a model", "      trains a model"),
        ] {
            assert_eq!(spelled(theirs), ours);
        }
    }
}
