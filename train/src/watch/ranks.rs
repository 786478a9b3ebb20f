//! What the ranks of a run send, and for whom they wait.

use gradus_models::training::ranks::Traffic;

use super::Screen;

/// Time that ranks wait, as a share of all, before the slowest is named.
const MUCH: f64 = 0.2;

/// A rank that computes longer than the mean of the others by this factor is slow.
const SLOW: f64 = 1.2;

/// The step at which the ranks were last looked at.
#[derive(Default)]
pub struct RanksSeen {
    step: u64,
}

impl RanksSeen {
    /// Begins after a step.
    pub fn after(step: u64) -> RanksSeen {
        RanksSeen { step }
    }

    /// Tells what the ranks have sent since the last time, and names the slowest.
    pub fn see(&mut self, step: u64, traffic: &[Traffic], screen: &Screen) {
        let steps = step.saturating_sub(std::mem::replace(&mut self.step, step));
        if steps > 0 {
            screen.note(told(steps, traffic));
        }
    }
}

/// A line about some steps.
fn told(steps: u64, traffic: &[Traffic]) -> String {
    let ranks = traffic.len().max(1) as f64;
    let sent: u64 = traffic.iter().map(|rank| rank.sent).sum();
    let (computed, waited): (f64, f64) =
        traffic.iter().fold((0.0, 0.0), |(computed, waited), rank| {
            (computed + rank.computed, waited + rank.waited)
        });
    let share = waited / (computed + waited).max(1e-9);
    let mut line = format!(
        "ranks: {} sent a step by each, {:.0} % of the time waited",
        bytes(sent as f64 / ranks / steps as f64),
        100.0 * share
    );
    let slowest = traffic.iter().enumerate().max_by(|a, b| a.1.computed.total_cmp(&b.1.computed));
    if let Some((rank, slowest)) = slowest.filter(|_| traffic.len() > 1 && share > MUCH) {
        let others = (computed - slowest.computed) / (ranks - 1.0);
        let factor = slowest.computed / others.max(1e-9);
        if factor > SLOW {
            line += &format!("; rank {rank} computes {factor:.1} times as long as the others");
        }
    }
    line
}

fn bytes(n: f64) -> String {
    match n {
        n if n < 1e4 => format!("{n:.0} B"),
        n if n < 1e7 => format!("{:.0} KB", n / 1e3),
        n => format!("{:.0} MB", n / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(computed: f64, waited: f64) -> Traffic {
        Traffic { sent: 4_000_000, computed, waited }
    }

    #[test]
    fn the_slowest_rank_is_named_where_others_wait_much() {
        let even = told(10, &[rank(9.0, 1.0), rank(9.0, 1.0)]);
        assert_eq!(even, "ranks: 400 KB sent a step by each, 10 % of the time waited");
        let uneven = told(10, &[rank(4.0, 6.0), rank(10.0, 0.0), rank(4.0, 6.0)]);
        assert!(uneven.ends_with("; rank 1 computes 2.5 times as long as the others"), "{uneven}");
    }
}
