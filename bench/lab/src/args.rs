//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use gradus_cli::{DeviceArg, Failure, Outcome, SharedArgs};
use gradus_tensor::Device;

use crate::family::Family;

/// The kernel lab: one operation from naive to shipped, each step checked, then timed
#[derive(Parser)]
#[command(
    name = "lab",
    version = gradus_cli::VERSION,
    long_version = gradus_cli::LONG_VERSION,
    after_help = "Examples:
  lab matmul                         the steps on the processor, in a table
  lab matmul --show 3                the source of step 3, and what it adds
  lab matmul --size 1024 --threads 1
  lab matmul --device gpu            the same operation as shaders
  lab matmul --mine kernel.wgsl --watch
                                     your own shader, checked and timed whenever you save it"
)]
pub struct Program {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// The families and their steps
    List,
    /// A product of matrices, C = A·B
    Matmul(Flags),
    /// Softmax of the rows of a matrix
    Softmax(Flags),
    /// Layer norm, forward and backward
    LayerNorm(Flags),
    /// Attention, forward and backward
    Attention(Flags),
}

impl Command {
    /// The family and its flags; `None` for `list`.
    pub fn family(self) -> Option<(Family, Flags)> {
        match self {
            Command::List => None,
            Command::Matmul(flags) => Some((Family::Matmul, flags)),
            Command::Softmax(flags) => Some((Family::Softmax, flags)),
            Command::LayerNorm(flags) => Some((Family::LayerNorm, flags)),
            Command::Attention(flags) => Some((Family::Attention, flags)),
        }
    }
}

#[derive(Args, Clone)]
pub struct Flags {
    /// cpu, gpu or gpu:N [default: cpu; with --mine gpu]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceArg>,
    /// One number, or all sizes joined by x, as `lab list` names them
    #[arg(long, value_name = "N")]
    pub size: Option<String>,
    /// Only these steps: 1,4-6
    #[arg(long, value_name = "LIST")]
    pub steps: Option<String>,
    /// Seconds of measuring (at least three rounds are made)
    #[arg(long, default_value_t = 10.0, value_name = "S")]
    pub seconds: f64,
    /// Threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Seed of the operands
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Print the source of a step, with its header, and measure nothing
    #[arg(long, value_name = "STEP", conflicts_with_all = ["table", "plot", "json", "mine"])]
    pub show: Option<usize>,
    /// Print the table as Markdown
    #[arg(long, conflicts_with = "json")]
    pub table: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Also draw the rates as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Also check and time this shader of your own
    #[arg(long, value_name = "KERNEL.wgsl")]
    pub mine: Option<PathBuf>,
    /// Do it again whenever that file changes, until Ctrl-C
    #[arg(long, requires = "mine")]
    pub watch: bool,
    /// No notes on standard error
    #[arg(short, long)]
    pub quiet: bool,
}

impl Flags {
    /// `--device`, or what it is where it is not given.
    fn device(&self) -> DeviceArg {
        let usual = if self.mine.is_some() { DeviceArg::Gpu(None) } else { DeviceArg::Cpu };
        self.device.unwrap_or(usual)
    }

    /// Whether the steps are those of GPUs.
    pub fn on_gpu(&self) -> Outcome<bool> {
        Ok(match self.device() {
            DeviceArg::Cpu => false,
            DeviceArg::Gpu(_) => true,
            DeviceArg::Auto => DeviceArg::Auto.resolve()? != Device::Cpu,
        })
    }

    /// The flags that other programs have too.
    pub fn shared(&self) -> SharedArgs {
        SharedArgs {
            device: Some(self.device()),
            threads: self.threads,
            seed: Some(self.seed),
            json: self.json,
            quiet: self.quiet,
            ..SharedArgs::default()
        }
    }

    /// The numbers of `--size`.
    pub fn sizes(&self) -> Outcome<Vec<usize>> {
        let Some(text) = &self.size else { return Ok(Vec::new()) };
        let number = |part: &str| part.trim().parse().ok().filter(|n| (1..=1 << 20).contains(n));
        let all: Option<Vec<usize>> = text.split(['x', '×']).map(number).collect();
        all.ok_or_else(|| {
            Failure::usage(format!(
                "--size {text}: give whole numbers from 1 to {}, joined by x",
                1 << 20
            ))
        })
    }

    /// The steps of `--steps`, of `count` that there are.
    pub fn chosen(&self, count: usize) -> Outcome<Vec<usize>> {
        let Some(text) = &self.steps else { return Ok((1..=count).collect()) };
        let wrong = || {
            Failure::usage(format!(
                "--steps {text}: the steps are 1 to {count}; give some as 1,4-6"
            ))
        };
        let mut chosen = Vec::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
            let (from, to) = (number(from)?, number(to)?);
            if from < 1 || to > count || from > to {
                return Err(wrong());
            }
            chosen.extend(from..=to);
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(more: &[&str]) -> Flags {
        let words = ["lab", "matmul"].iter().chain(more);
        Program::parse_from(words).command.family().unwrap().1
    }

    #[test]
    fn steps_are_numbers_and_ranges() {
        let chosen = |text: &str| flags(&[format!("--steps={text}").as_str()]).chosen(9);
        assert_eq!(chosen("1,4-6").unwrap(), [1, 4, 5, 6]);
        assert_eq!(flags(&[]).chosen(2).unwrap(), [1, 2]);
        for wrong in ["", "0", "10", "3-2", "x", "1,,2"] {
            assert!(chosen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_above_0() {
        let sizes = |text: &str| flags(&[format!("--size={text}").as_str()]).sizes();
        assert_eq!(sizes("64").unwrap(), [64]);
        assert_eq!(sizes("5x6×7").unwrap(), [5, 6, 7]);
        for wrong in ["0", "-1", "", "5x", "1e3", "99999999"] {
            assert!(sizes(wrong).is_err(), "{wrong}");
        }
    }
}
