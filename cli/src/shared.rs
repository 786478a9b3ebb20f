//! The flags that every program takes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use gradus_nn::Precision;
use gradus_tensor::Device;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::profile;
use crate::progress::note;

/// Where to compute: `--device auto|cpu|gpu|gpu:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceArg {
    /// A hardware GPU when there is one, else the CPU.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A GPU, by its number in `infer devices`; the first when none is given.
    Gpu(Option<usize>),
}

impl FromStr for DeviceArg {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let number = name.strip_prefix("gpu:").map(str::parse);
        match (name, number) {
            ("auto", _) => Ok(DeviceArg::Auto),
            ("cpu", _) => Ok(DeviceArg::Cpu),
            ("gpu", _) => Ok(DeviceArg::Gpu(None)),
            (_, Some(Ok(number))) => Ok(DeviceArg::Gpu(Some(number))),
            _ => Err("use auto, cpu, gpu, or gpu:N with a number".into()),
        }
    }
}

impl TryFrom<String> for DeviceArg {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse().map_err(|hint| format!("device `{name}` is unknown; {hint}"))
    }
}

impl From<DeviceArg> for String {
    fn from(device: DeviceArg) -> String {
        device.to_string()
    }
}

impl fmt::Display for DeviceArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceArg::Auto => f.write_str("auto"),
            DeviceArg::Cpu => f.write_str("cpu"),
            DeviceArg::Gpu(None) => f.write_str("gpu"),
            DeviceArg::Gpu(Some(number)) => write!(f, "gpu:{number}"),
        }
    }
}

impl DeviceArg {
    /// The device on this machine.
    ///
    /// # Errors
    /// When it is a GPU that is not there, or cannot be opened.
    pub fn resolve(self) -> Outcome<Device> {
        match self {
            DeviceArg::Auto => Ok(Device::auto()),
            DeviceArg::Cpu => Ok(Device::Cpu),
            // Without a number the first GPU, which is hardware where there is any.
            DeviceArg::Gpu(number) => Device::gpu(number.unwrap_or(0))
                .map_err(|error| Failure::error(format!("`{self}` is not available: {error}"))),
        }
    }
}

/// The maximum of `--threads`: far above any machine, and low enough to start.
const MAX_THREADS: usize = 1024;

/// The flags that every program takes. `false` and absent are the same.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[command(next_help_heading = "Shared options")]
#[serde(rename_all = "kebab-case", default)]
pub struct SharedArgs {
    /// Where to compute: auto, cpu, gpu or gpu:N [default: auto]
    #[arg(long, value_name = "DEVICE", global = true)]
    pub device: Option<DeviceArg>,
    /// Number format of products: f32; on a GPU f16; on the CPU bf16, or for inference int8
    /// [default: f32]
    #[arg(long, value_name = "FORMAT", global = true)]
    pub precision: Option<Precision>,
    /// Threads to compute with [default: one for each processor]
    #[arg(long, value_name = "N", global = true)]
    pub threads: Option<usize>,
    /// Seed of all random numbers [default: 0]
    #[arg(long, value_name = "N", global = true)]
    pub seed: Option<u64>,
    /// Print one JSON object a line on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no notes; errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More notes on standard error
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Record every operation's time: a trace for Perfetto in FILE, a table on standard error
    #[arg(long, value_name = "FILE", global = true)]
    pub profile: Option<PathBuf>,
    /// Read flags from a TOML file (`max-length = 64`); the command line wins
    #[arg(long, value_name = "FILE.toml", global = true)]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

impl SharedArgs {
    /// The seed: 0 unless given.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }

    /// The precision: f32 unless given.
    pub fn precision(&self) -> Precision {
        self.precision.unwrap_or_default()
    }

    /// Starts the threads, of which the calling one is the first, and finds the device. Call it
    /// once, before any computation.
    ///
    /// # Errors
    /// A usage error when `--threads` is out of its range; an error when the device does not
    /// compute in `--precision`, when there is no such device, or when the threads cannot be
    /// started.
    pub fn start(&self) -> Outcome<Device> {
        self.start_with(rayon::ThreadPoolBuilder::new().use_current_thread())
    }

    /// As [`SharedArgs::start`], with threads of their own: for a program whose calling thread does
    /// not compute.
    ///
    /// # Errors
    /// As [`SharedArgs::start`].
    pub fn start_beside(&self) -> Outcome<Device> {
        self.start_with(rayon::ThreadPoolBuilder::new())
    }

    /// Checks that `device` computes in the precision.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_precision(&self, device: Device) -> Outcome {
        self.precision()
            .check(device)
            .map_err(|error| Failure::error(format!("--precision {}: {error}", self.precision())))
    }

    fn start_with(&self, pool: rayon::ThreadPoolBuilder) -> Outcome<Device> {
        if let Some(threads) = self.threads.filter(|n| !(1..=MAX_THREADS).contains(n)) {
            return Err(Failure::usage(format!(
                "--threads is {threads}; it must be from 1 to {MAX_THREADS}"
            )));
        }
        let device = self.device.unwrap_or_default().resolve()?;
        self.check_precision(device)?;
        if let Some(warning) = self.precision().warning() {
            note(self, format!("--precision {}: {warning}", self.precision()));
        }
        if let Device::Gpu(index) = device
            && let Some(gpu) = gradus_tensor::gpus().get(index).filter(|gpu| gpu.software)
        {
            note(
                self,
                format!(
                    "warning: {device} ({}) runs on the processor and is good only for tests; \
                     --device cpu is faster",
                    gpu.name
                ),
            );
        }
        // 0 means one for each processor, or the number in RAYON_NUM_THREADS.
        pool.num_threads(self.threads.unwrap_or(0))
            .build_global()
            .map_err(|e| Failure::error(format!("the threads cannot be started: {e}")))?;
        if let Some(path) = &self.profile {
            profile::begin(path, device)?;
        }
        Ok(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_parsed_and_printed() {
        for name in ["auto", "cpu", "gpu", "gpu:0", "gpu:12"] {
            assert_eq!(name.parse::<DeviceArg>().unwrap().to_string(), name);
        }
        for name in ["", "GPU", "gpu:", "gpu:-1", "gpu:x", "cuda"] {
            assert!(name.parse::<DeviceArg>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_refused() {
        let auto = DeviceArg::Auto.resolve().unwrap();
        let hardware = gradus_tensor::gpus().iter().any(|gpu| !gpu.software);
        assert_eq!(auto != Device::Cpu, hardware, "never one in software");
        let failure = DeviceArg::Gpu(Some(999)).resolve().unwrap_err();
        assert!(failure.to_string().contains("`gpu:999`"), "{failure}");
    }

    #[test]
    fn a_precision_that_the_device_has_not_is_refused() {
        let shared = SharedArgs {
            precision: Some(Precision::F16),
            device: Some(DeviceArg::Cpu),
            ..SharedArgs::default()
        };
        let failure = shared.start().unwrap_err().to_string();
        assert!(failure.contains("--precision f16") && failure.contains("GPUs only"), "{failure}");
    }

    #[test]
    fn threads_have_a_range() {
        for threads in [0, MAX_THREADS + 1] {
            let shared = SharedArgs { threads: Some(threads), ..SharedArgs::default() };
            assert!(matches!(shared.start(), Err(Failure::Usage(_))), "{threads}");
        }
    }
}
