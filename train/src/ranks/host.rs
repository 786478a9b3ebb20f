//! How the ranks on one host share its processors and its GPUs.

use std::collections::HashSet;

use gradus_cli::{DeviceArg, Outcome, SharedArgs};
use gradus_models::Error;

use super::{Group, Place};

/// Gives this rank its GPU and its number of threads, unless flags say otherwise. Returns what to
/// tell of the ranks.
///
/// # Errors
/// When a rank has failed.
pub fn settle(shared: &mut SharedArgs, group: &Group, place: &Place) -> Outcome<String> {
    let own = (place.host.clone(), processors());
    let message = serde_json::to_vec(&own)?;
    let all = group.communicator.all_gather(message)?;
    let all: Vec<(String, String)> =
        all.iter().map(|said| serde_json::from_slice(said)).collect::<Result<_, _>>()?;
    let gpus = gradus_tensor::gpus().iter().filter(|gpu| !gpu.software).count();
    let device = shared.device.unwrap_or_default();
    let any = device == DeviceArg::Gpu(None) || device == DeviceArg::Auto;
    if any && gpus > 0 {
        shared.device = Some(DeviceArg::Gpu(Some(place.local_rank % gpus)));
    }
    if shared.threads.is_none() && std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // Ranks that may run on the same processors share them.
        let sharing = all.iter().filter(|other| **other == own).count().max(1);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        shared.threads = Some((processors / sharing).max(1));
    }
    let hosts: HashSet<&str> = all.iter().map(|(host, _)| host.as_str()).collect();
    let threads = shared.threads.map_or(String::new(), |threads| match threads {
        1 => ", 1 thread each".into(),
        n => format!(", {n} threads each"),
    });
    let on = match hosts.len() {
        1 => "one host".to_string(),
        n => format!("{n} hosts"),
    };
    Ok(format!("{} ranks on {on}{threads}", group.size()))
}

/// The processors on which this process may run, where the system tells it.
fn processors() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_string()
}

/// The error of a message that another version of the program sent.
pub fn unreadable(rank: usize) -> Error {
    let message = "it sends messages of another form; is it another version of train?".into();
    Error::Rank { rank, message }
}
