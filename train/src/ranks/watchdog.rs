//! The thread that ends this process when another rank is silent: when its process or its machine
//! has stopped, or the network between is cut.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gradus_cli::Outcome;

use super::state::State;

/// The share of --rank-timeout after which a silent rank counts as dead, so that the run has ended
/// everywhere within the time.
const SHARE: f64 = 0.8;

/// How long other ranks wait for the message of the one that tells it.
const GRACE: Duration = Duration::from_millis(500);

/// Watches the other ranks.
///
/// # Errors
/// When the thread cannot be started.
pub fn watch(state: Arc<State>, timeout: Duration) -> Outcome {
    state.hear_all();
    let limit = timeout.mul_f64(SHARE);
    std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        let pause = (limit / 50).min(Duration::from_millis(200));
        loop {
            let begin = Instant::now();
            std::thread::sleep(pause);
            if state.over.load(Ordering::SeqCst) {
                return;
            }
            if begin.elapsed() > limit / 2 {
                state.hear_all(); // this machine slept, and has heard nothing itself
            }
            if let Some((rank, silence)) = state.silent().filter(|(_, silence)| *silence > limit) {
                end(&state, rank, silence, timeout);
            }
        }
    })?;
    Ok(())
}

/// Tells which rank is silent, once, and ends this process. The launcher ends the others.
fn end(state: &State, rank: usize, silence: Duration, timeout: Duration) -> ! {
    let speaker = usize::from(rank == 0);
    if state.rank == speaker {
        let advice = state.advice();
        let advice = if advice.is_empty() { advice } else { format!("; {advice}") };
        let _ = writeln!(
            std::io::stderr(),
            "error: rank {rank} has been silent for {:.1} s (--rank-timeout {}): its process or its \
             machine has stopped, or the network to it is cut{advice}",
            silence.as_secs_f64(),
            timeout.as_secs()
        );
    } else {
        std::thread::sleep(GRACE);
    }
    std::process::exit(1)
}
