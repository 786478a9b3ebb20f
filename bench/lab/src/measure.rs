//! Checks every step, then times those that are right, in rounds: in each round the machine's
//! limits and every step once. The speed of a machine drifts, most of all that of a virtual one;
//! what shares a round shares the machine as it was then. Medians over the rounds are told.

use std::time::Instant;

use gradus_cli::Outcome;
use gradus_tensor::Device;
use serde::Serialize;

use crate::check::{Verdict, compare};
use crate::family::{Candidate, Lab, Run, Work};
use crate::limits::{Limits, Measure};
use crate::machine::Machine;

/// Seconds that a step gets in a round, unless one run takes longer.
const SLOT: f64 = 0.02;
/// Rounds at least.
const ROUNDS: usize = 3;

/// All that was found.
#[derive(Serialize)]
pub struct Report {
    pub title: String,
    pub machine: Machine,
    /// Medians over the rounds.
    pub limit_gflops: f64,
    pub limit_gbytes: f64,
    /// What the stream of `limit_gbytes` reads.
    pub stream_bytes: usize,
    pub rounds: usize,
    pub steps: Vec<Line>,
}

/// A step's results.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its number in the family; `null` for one's own kernel.
    pub step: Option<usize>,
    pub name: String,
    /// The order in which it sums.
    pub order: String,
    /// The largest difference to the reference in f64.
    pub difference: Option<f64>,
    /// The first step with the same bits.
    pub same_bits_as: Option<usize>,
    pub speed: Option<Speed>,
    /// Why it has no speed: it is wrong, or does not run here.
    pub without: Option<String>,
    /// Whether it is wrong.
    pub wrong: bool,
}

/// Medians over the rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Speed {
    pub ms: f64,
    pub fastest_ms: f64,
    pub slowest_ms: f64,
    /// `null` where memory is the limit of the operation.
    pub gflops: Option<f64>,
    /// The problem's bytes a second.
    pub gbytes: f64,
    /// The time at the limit, which the slower of multiply-adds and memory sets, by the time taken.
    pub share: f64,
}

/// Runs the lab on the calling thread, which is one of rayon's, for `seconds`.
pub fn measure(
    mut lab: Lab,
    device: Device,
    limits: &mut dyn Measure,
    seconds: f64,
) -> Outcome<Report> {
    let verdicts =
        lab.candidates.iter_mut().map(|c| check(c, device)).collect::<Outcome<Vec<_>>>()?;
    let right: Vec<usize> = (0..verdicts.len()).filter(|&i| verdicts[i].wrong.is_none()).collect();
    let mut rounds: Vec<Limits> = Vec::new();
    let mut times = vec![Vec::new(); verdicts.len()];
    let mut repeats = vec![1; verdicts.len()];
    for &i in &right {
        // Unmeasured: the first run takes new memory.
        repeats[i] = enough(timed(lab.candidates[i].run.as_mut(), 1, device)?);
    }
    let start = Instant::now();
    while !right.is_empty() && (rounds.len() < ROUNDS || start.elapsed().as_secs_f64() < seconds) {
        rounds.push(limits.measure()?);
        for &i in &right {
            let time = timed(lab.candidates[i].run.as_mut(), repeats[i], device)?;
            repeats[i] = enough(time);
            times[i].push(time);
        }
    }
    let lines = (0..verdicts.len()).map(|i| {
        let speed = (!times[i].is_empty()).then(|| Speed::of(lab.work, &times[i], &rounds));
        line(&lab.candidates, &verdicts, i, speed)
    });
    let mut steps: Vec<Line> = lines.collect();
    for (number, step, why) in &lab.missing {
        let at = steps.iter().position(|line| line.step.is_none_or(|n| n > *number));
        let header = step.header();
        let line = Line {
            step: Some(*number),
            name: header.name,
            order: header.order,
            difference: None,
            same_bits_as: None,
            speed: None,
            without: Some(why.clone()),
            wrong: false,
        };
        steps.insert(at.unwrap_or(steps.len()), line);
    }
    Ok(Report {
        title: lab.title,
        machine: Machine::of(device),
        limit_gflops: median(rounds.iter().map(|l| l.flops)) / 1e9,
        limit_gbytes: median(rounds.iter().map(|l| l.bytes)) / 1e9,
        stream_bytes: limits.stream_bytes(),
        rounds: rounds.len(),
        steps,
    })
}

/// How many runs fill a step's part of a round.
fn enough(seconds: f64) -> usize {
    (SLOT / seconds).clamp(1.0, 1e6) as usize
}

/// Runs a candidate once on spoilt outputs and compares them with the reference.
pub fn check(candidate: &mut Candidate, device: Device) -> Outcome<Verdict> {
    candidate.run.spoil()?;
    inside(candidate.run.as_mut())?;
    device.synchronize()?;
    Ok(compare(&candidate.expected, &candidate.run.outputs()?))
}

/// Enters rayon's pool once: to do so at every parallel region of a kernel would cost 20 µs each.
fn inside(run: &mut dyn Run) -> Outcome {
    rayon::scope(|_| run.run())
}

/// Seconds of one run, of so many in a row.
fn timed(run: &mut dyn Run, repeats: usize, device: Device) -> Outcome<f64> {
    device.synchronize()?;
    let start = Instant::now();
    rayon::scope(|_| (0..repeats).try_for_each(|_| run.run()))?;
    device.synchronize()?;
    Ok(start.elapsed().as_secs_f64() / repeats as f64)
}

fn line(all: &[Candidate], verdicts: &[Verdict], i: usize, speed: Option<Speed>) -> Line {
    let (candidate, verdict) = (&all[i], &verdicts[i]);
    let header = candidate.step.header();
    let same = (0..i).find(|&j| verdicts[j].bits == verdict.bits && verdicts[j].wrong.is_none());
    Line {
        step: candidate.number,
        name: header.name,
        order: header.order,
        difference: Some(verdict.largest),
        same_bits_as: same.and_then(|j| all[j].number),
        speed,
        without: verdict.wrong.clone(),
        wrong: verdict.wrong.is_some(),
    }
}

impl Speed {
    fn of(work: Work, times: &[f64], rounds: &[Limits]) -> Speed {
        let seconds = median(times.iter().copied());
        let shares = times.iter().zip(rounds).map(|(time, limits)| {
            (work.flops / limits.flops).max(work.bytes / limits.bytes) / time
        });
        Speed {
            ms: seconds * 1e3,
            fastest_ms: times.iter().copied().fold(f64::INFINITY, f64::min) * 1e3,
            slowest_ms: times.iter().copied().fold(0.0, f64::max) * 1e3,
            gflops: (work.flops > 0.0).then(|| work.flops / seconds / 1e9),
            gbytes: work.bytes / seconds / 1e9,
            share: median(shares),
        }
    }
}

/// NaN of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    match all.len() {
        0 => f64::NAN,
        n => (all[n / 2] + all[(n - 1) / 2]) / 2.0,
    }
}
