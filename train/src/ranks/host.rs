//! How the ranks on one host share its processors and its GPUs.

use std::collections::HashSet;

use gradus_cli::{DeviceArg, Outcome, SharedArgs};
use gradus_models::Error;
use serde::{Deserialize, Serialize};

use super::{Group, Place};

/// Where a rank computes, as it tells the others.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Seat {
    host: String,
    processors: String,
    gpu: Option<usize>,
}

/// Gives this rank its GPU and its number of threads, unless flags say otherwise. Returns what to
/// tell of the ranks.
///
/// # Errors
/// When a rank has failed.
pub fn settle(shared: &mut SharedArgs, group: &Group, place: &Place) -> Outcome<String> {
    let gpus = gradus_tensor::gpus().iter().filter(|gpu| !gpu.software).count();
    let device = shared.device.unwrap_or_default();
    let any = device == DeviceArg::Gpu(None) || device == DeviceArg::Auto;
    if any && gpus > 0 {
        // Hardware comes first in the numbers of GPUs.
        shared.device = Some(DeviceArg::Gpu(Some(place.local_rank % gpus)));
    }
    let gpu = match shared.device.unwrap_or_default() {
        DeviceArg::Gpu(number) => Some(number.unwrap_or(0)),
        _ => None,
    };
    let own = Seat { host: place.host.clone(), processors: processors(), gpu };
    let all = group.communicator.all_gather(serde_json::to_vec(&own)?)?;
    let read = |(rank, said): (usize, &Vec<u8>)| {
        serde_json::from_slice(said).map_err(|_| unreadable(rank))
    };
    let all: Vec<Seat> = all.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    if shared.threads.is_none() && std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // Ranks that may run on the same processors share them.
        let beside =
            |other: &&Seat| (&other.host, &other.processors) == (&own.host, &own.processors);
        let sharing = all.iter().filter(beside).count().max(1);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        shared.threads = Some((processors / sharing).max(1));
    }
    Ok(told(&all, shared.threads))
}

/// How many ranks there are, where, and which share a GPU.
fn told(all: &[Seat], threads: Option<usize>) -> String {
    let hosts: HashSet<&str> = all.iter().map(|seat| seat.host.as_str()).collect();
    let on = match hosts.len() {
        1 => "one host".to_string(),
        n => format!("{n} hosts"),
    };
    let threads = threads.map_or(String::new(), |threads| match threads {
        1 => ", 1 thread each".into(),
        n => format!(", {n} threads each"),
    });
    let on_gpus = all.iter().filter_map(|seat| Some((&seat.host, seat.gpu?)));
    let (ranks, gpus) = (on_gpus.clone().count(), on_gpus.collect::<HashSet<_>>().len());
    let gpus = match (ranks, gpus) {
        (0, _) => String::new(),
        (ranks, gpus) if ranks == gpus => ", a GPU each".into(),
        (ranks, 1) => format!(", {ranks} of them share one GPU"),
        (ranks, gpus) => format!(", {ranks} of them share {gpus} GPUs"),
    };
    format!("{} ranks on {on}{threads}{gpus}", all.len())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_a_gpu_is_told() {
        let seat = |host: &str, gpu| Seat { host: host.into(), processors: "0-3".into(), gpu };
        let processors = [seat("a", None), seat("a", None)];
        assert_eq!(told(&processors, Some(2)), "2 ranks on one host, 2 threads each");
        let each = [seat("a", Some(0)), seat("a", Some(1)), seat("b", Some(0))];
        assert_eq!(told(&each, Some(1)), "3 ranks on 2 hosts, 1 thread each, a GPU each");
        let few = [seat("a", Some(0)), seat("a", Some(1)), seat("a", Some(0)), seat("b", None)];
        assert_eq!(told(&few, None), "4 ranks on 2 hosts, 3 of them share 2 GPUs");
        let one = [seat("a", Some(0)), seat("a", Some(0))];
        assert_eq!(told(&one, None), "2 ranks on one host, 2 of them share one GPU");
    }
}
