//! The scheduler with a model that runs a batch only when the test permits it. Nothing here depends
//! on time, except tests of time.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;

/// A model that doubles numbers. It notes its batches and waits for a permission before each. By
/// the clock of [`Bench::clock`] a token takes a second.
struct Doubler {
    begun: Mutex<Sender<Vec<usize>>>,
    permits: Mutex<Receiver<()>>,
    clock: Arc<Mutex<Duration>>,
}

impl Model for Doubler {
    type Input = usize;
    type Output = usize;
    type Error = String;

    fn cost(&self, input: &usize) -> usize {
        *input
    }

    fn run(&self, batch: &[&usize]) -> Vec<Result<usize, String>> {
        let inputs: Vec<usize> = batch.iter().map(|&&input| input).collect();
        lock(&self.begun).send(inputs.clone()).unwrap();
        let permit = lock(&self.permits).recv();
        permit.unwrap();
        *lock(&self.clock) += Duration::from_secs(inputs.iter().sum::<usize>() as u64);
        assert!(!inputs.contains(&666), "the test asks for a crash");
        let answer = |input: usize| if input == 13 { Err("unlucky".into()) } else { Ok(2 * input) };
        inputs.into_iter().map(answer).collect()
    }
}

struct Bench {
    scheduler: Scheduler<Doubler>,
    begun: Receiver<Vec<usize>>,
    permits: Sender<()>,
    start: Instant,
}

impl Bench {
    /// A bench whose clock moves only while batches are computed.
    fn clock(change: impl FnOnce(&mut Options)) -> Bench {
        Bench::made(change, true)
    }

    fn new(change: impl FnOnce(&mut Options)) -> Bench {
        Bench::made(change, false)
    }

    fn made(change: impl FnOnce(&mut Options), standing: bool) -> Bench {
        let (begun, begins) = channel();
        let (permits, waits) = channel();
        let mut options =
            Options { max_batch_tokens: 100, max_queue: 8, max_delay: Duration::ZERO, workers: 1 };
        change(&mut options);
        let (clock, start) = (Arc::<Mutex<Duration>>::default(), Instant::now());
        let told = Arc::clone(&clock);
        let model = Doubler { begun: Mutex::new(begun), permits: Mutex::new(waits), clock };
        let scheduler = match standing {
            true => {
                let now = Arc::new(move || start + *lock(&told));
                Scheduler::with_clock(model, options, |_| {}, now)
            }
            false => Scheduler::new(model, options, |_| {}),
        };
        Bench { scheduler, begun: begins, permits, start }
    }

    /// A bench with a known pace: three batches of 100 tokens have run, so it is 300 seconds later.
    fn paced(change: impl FnOnce(&mut Options)) -> Bench {
        let bench = Bench::clock(change);
        for _ in 0..3 {
            let ticket = bench.submit(99, &[100]);
            bench.begun();
            bench.permit();
            ticket.wait().unwrap();
        }
        bench
    }

    /// Submits a request that must be done `seconds` after the start.
    fn within(
        &self,
        seconds: u64,
        client: u64,
        inputs: &[usize],
    ) -> Result<Ticket<Doubler>, Failure<String>> {
        let deadline = Some(self.start + Duration::from_secs(seconds));
        self.scheduler.submit(inputs.to_vec(), Terms { client, deadline })
    }

    fn submit(&self, client: u64, inputs: &[usize]) -> Ticket<Doubler> {
        let terms = Terms { client, deadline: None };
        self.scheduler.submit(inputs.to_vec(), terms).unwrap()
    }

    /// The next batch, once it has begun.
    fn begun(&self) -> Vec<usize> {
        self.begun.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// Occupies the worker with a batch of its own.
    fn occupy(&self) -> Ticket<Doubler> {
        let ticket = self.submit(99, &[1]);
        assert_eq!(self.begun(), [1]);
        ticket
    }

    fn permit(&self) {
        self.permits.send(()).unwrap();
    }

    /// Lets the batch that has begun end; returns the next one.
    fn permit_next(&self) -> Vec<usize> {
        self.permit();
        self.begun()
    }
}

#[test]
fn a_batch_starts_at_once_and_takes_what_waits_by_then() {
    let bench = Bench::new(|_| {});
    let first = bench.occupy();
    let (a, b) = (bench.submit(1, &[10]), bench.submit(2, &[20, 30]));
    assert_eq!(
        bench.scheduler.load(),
        Load { requests: 2, inputs: 3, tokens: 60, running: 1, workers: 1 }
    );
    bench.permit();
    assert_eq!(first.wait().unwrap().outputs, [2]);
    let mut batch = bench.begun();
    batch.sort_unstable();
    assert_eq!(batch, [10, 20, 30]);
    bench.permit();
    assert_eq!(a.wait().unwrap().outputs, [20]);
    assert_eq!(b.wait().unwrap().outputs, [40, 60]);
    assert_eq!(bench.scheduler.load(), Load { workers: 1, ..Load::default() });
}

#[test]
fn a_request_is_split_by_the_token_budget_and_joined() {
    let bench = Bench::new(|_| {});
    let ticket = bench.submit(1, &[60, 30, 50, 250, 20]);
    for expected in [vec![60, 30], vec![50], vec![250], vec![20]] {
        assert_eq!(bench.begun(), expected);
        bench.permit();
    }
    assert_eq!(ticket.wait().unwrap().outputs, [120, 60, 100, 500, 40]);
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_back() {
    let bench = Bench::new(|options| options.max_queue = 2);
    let _busy = bench.occupy();
    let waiting: Vec<_> = (0..2).map(|_| bench.submit(1, &[5, 5, 5])).collect();
    assert!(bench.scheduler.admits(1, Terms::default()).is_err());
    let refused = bench.scheduler.submit(vec![1], Terms::default()).err();
    assert!(matches!(refused, Some(Failure::Full { retry_after }) if retry_after.as_secs() >= 1));
    // There is room again as soon as a client gives up, before the worker is free.
    drop(waiting);
    assert!(bench.scheduler.admits(1, Terms::default()).is_ok());
    assert_eq!(bench.scheduler.load().inputs, 0);
    drop(bench.submit(1, &[1]));
    bench.permit();
}

#[test]
fn what_is_given_up_is_not_computed() {
    let bench = Bench::new(|_| {});
    let _busy = bench.occupy();
    let gone = bench.submit(1, &[40, 41]);
    let stays = bench.submit(2, &[42]);
    drop(gone);
    bench.permit();
    assert_eq!(bench.begun(), [42]);
    bench.permit();
    assert_eq!(stays.wait().unwrap().outputs, [84]);
}

#[test]
fn what_is_late_is_not_computed() {
    let bench = Bench::new(|_| {});
    let _busy = bench.occupy();
    let soon = Instant::now() + Duration::from_millis(20);
    let terms = Terms { client: 1, deadline: Some(soon) };
    let late = bench.scheduler.submit(vec![40, 41], terms).unwrap();
    let stays = bench.submit(2, &[42]);
    std::thread::sleep(Duration::from_millis(40));
    bench.permit();
    assert_eq!(bench.begun(), [42]);
    bench.permit();
    assert_eq!(late.wait().unwrap_err(), Failure::Expired);
    assert_eq!(stays.wait().unwrap().outputs, [84]);
    let past = Terms { client: 1, deadline: Some(soon) };
    assert_eq!(bench.scheduler.submit(vec![1], past).err(), Some(Failure::Expired));
}

#[test]
fn clients_take_turns() {
    let bench = Bench::new(|options| options.max_batch_tokens = 20);
    let _busy = bench.occupy();
    let many = bench.submit(1, &[10; 50]);
    let one = bench.submit(2, &[11]);
    bench.permit();
    // The newcomer is in the first two batches, not behind fifty.
    let batches = [bench.begun(), {
        bench.permit();
        bench.begun()
    }]
    .concat();
    assert!(batches.contains(&11), "{batches:?}");
    bench.permit();
    assert_eq!(one.wait().unwrap().outputs, [22]);
    drop(many);
}

#[test]
fn a_failure_is_its_requests_own() {
    let bench = Bench::new(|_| {});
    let _busy = bench.occupy();
    let (bad, good) = (bench.submit(1, &[13, 90, 90]), bench.submit(2, &[40]));
    bench.permit();
    assert_eq!(bench.begun(), [13, 40]);
    bench.permit();
    assert_eq!(bad.wait().unwrap_err(), Failure::Model("unlucky".into()));
    assert_eq!(good.wait().unwrap().outputs, [80]);
    // The rest of the failed request is withdrawn, unless it had begun by then.
    let after = bench.submit(3, &[7]);
    for _ in 0..2 {
        bench.permit();
    }
    assert_eq!(after.wait().unwrap().outputs, [14]);
}

#[test]
fn a_crash_fails_its_batch_and_nothing_else() {
    let bench = Bench::new(|_| {});
    let crashed = bench.submit(1, &[666]);
    assert_eq!(bench.begun(), [666]);
    bench.permit();
    assert_eq!(crashed.wait().unwrap_err(), Failure::Crashed);
    let next = bench.submit(1, &[5]);
    bench.permit();
    assert_eq!(next.wait().unwrap().outputs, [10]);
}

#[test]
fn dropping_the_scheduler_answers_what_is_queued() {
    let bench = Bench::new(|options| options.max_batch_tokens = 1);
    let tickets: Vec<_> = (2..5).map(|n| bench.submit(1, &[n])).collect();
    let Bench { scheduler, begun, permits, .. } = bench;
    drop(scheduler);
    (2..5).for_each(|_| permits.send(()).unwrap());
    let outputs: Vec<_> = tickets.into_iter().map(|t| t.wait().unwrap().outputs[0]).collect();
    assert_eq!(outputs, [4, 6, 8]);
    drop(begun);
}

#[test]
fn more_workers_run_more_batches_and_fewer_kill_none() {
    let bench = Bench::new(|options| options.max_batch_tokens = 10);
    bench.scheduler.set_workers(3);
    let tickets: Vec<_> = (0..3).map(|_| bench.submit(1, &[10])).collect();
    // Three batches begin. Each wants a permit of its own.
    bench.scheduler.set_workers(1);
    for _ in 0..3 {
        bench.permit();
    }
    for ticket in tickets {
        assert_eq!(ticket.wait().unwrap().outputs, [20]);
    }
    bench.permit();
    assert_eq!(bench.submit(1, &[10]).wait().unwrap().outputs, [20]);
    assert_eq!(bench.scheduler.load().workers, 1);
}

#[test]
fn a_delay_lets_a_batch_fill() {
    let bench = Bench::new(|options| options.max_delay = Duration::from_secs(3600));
    let tickets: Vec<_> = [30, 30].iter().map(|&n| bench.submit(1, &[n])).collect();
    assert!(bench.begun.recv_timeout(Duration::from_millis(50)).is_err());
    let last = bench.submit(1, &[40]);
    assert_eq!(bench.begun(), [30, 30, 40]);
    bench.permit();
    assert_eq!(last.wait().unwrap().outputs, [80]);
    drop(tickets);
}

#[test]
fn nothing_is_answered_with_nothing() {
    let bench = Bench::new(|_| {});
    assert_eq!(bench.submit(1, &[]).wait().unwrap().outputs, Vec::<usize>::new());
}

#[test]
fn under_overload_what_fits_the_deadline_is_answered_and_the_rest_refused_at_once() {
    let bench = Bench::paced(|options| options.max_queue = 100);
    // Forty requests come at once. Each takes 100 seconds and must be done within 1000.
    let asked: Vec<_> = (0..40).map(|_| bench.within(1300, 1, &[50, 50])).collect();
    let taken = asked.iter().filter(|ticket| ticket.is_ok()).count();
    // Ten would fit, but part of the time ahead of a request is kept free.
    assert_eq!(taken, 7);
    assert!(asked[..7].iter().all(Result::is_ok), "first come, first served");
    for (i, refused) in asked[7..].iter().enumerate() {
        let Some(Failure::Busy { wait, retry_after }) = refused.as_ref().err() else {
            panic!("{i}: {:?}", refused.as_ref().err())
        };
        assert!(wait.abs_diff(Duration::from_secs(1080)) < Duration::from_millis(1), "{wait:?}");
        assert_eq!(*retry_after, Duration::from_secs(60));
    }
    for ticket in asked.into_iter().flatten() {
        assert_eq!(bench.begun(), [50, 50]);
        bench.permit();
        assert_eq!(ticket.wait().unwrap().outputs, [100, 100]);
    }
}

#[test]
fn before_the_pace_is_known_all_are_let_in_and_then_those_too_many_are_told() {
    let bench = Bench::clock(|options| options.max_queue = 100);
    let asked: Vec<_> = (0..20).map(|_| bench.within(1000, 1, &[100]).unwrap()).collect();
    // After three batches seven more fit exactly, which leaves too little time for the seventh.
    for _ in 0..9 {
        assert_eq!(bench.begun(), [100]);
        bench.permit();
    }
    let outcomes: Vec<_> = asked.into_iter().map(Ticket::wait).collect();
    assert!(outcomes[..9].iter().all(Result::is_ok));
    for outcome in &outcomes[9..] {
        assert!(matches!(outcome, Err(Failure::Busy { .. })), "{outcome:?}");
    }
    assert_eq!(bench.scheduler.load(), Load { workers: 1, ..Load::default() });
}

#[test]
fn what_can_no_more_be_finished_is_dropped_half_way() {
    let bench = Bench::paced(|_| {});
    let a = bench.within(1002, 1, &[100, 100, 100, 100, 100]).unwrap();
    assert_eq!(bench.begun(), [100]);
    let b = bench.submit(2, &[101, 101, 101, 101]);
    // They take turns. After three of its five inputs, the first has too little time for two more.
    for expected in [101, 100, 101, 100, 101, 101] {
        assert_eq!(bench.permit_next(), [expected]);
    }
    bench.permit();
    assert_eq!(a.wait().unwrap_err(), Failure::Expired);
    assert_eq!(b.wait().unwrap().outputs, [202; 4]);
}

#[test]
fn what_is_too_slow_by_itself_is_told_so() {
    let bench = Bench::paced(|_| {});
    let refused = bench.within(1300, 1, &[100; 11]).err();
    assert_eq!(refused, Some(Failure::TooSlow { takes: Duration::from_secs(1100) }));
    // A request that fits to the second is let in, as nothing is ahead of it.
    assert!(bench.within(1300, 1, &[100; 10]).is_ok());
}

#[test]
fn several_workers_take_less_time() {
    let bench = Bench::paced(|options| options.workers = 2);
    let refused = bench.within(1300, 1, &[100; 21]).err();
    assert_eq!(refused, Some(Failure::TooSlow { takes: Duration::from_secs(1050) }));
    assert!(bench.within(1300, 1, &[100; 19]).is_ok());
    // A single batch uses one worker only.
    assert!(bench.within(399, 2, &[100]).is_err());
}

#[test]
fn workers_that_are_too_many_take_nothing_more() {
    let bench = Bench::new(|options| options.max_batch_tokens = 10);
    bench.scheduler.set_workers(3);
    bench.scheduler.set_workers(1);
    let tickets: Vec<_> = (0..2).map(|_| bench.submit(1, &[10])).collect();
    assert_eq!(bench.begun(), [10]);
    assert!(bench.begun.recv_timeout(Duration::from_millis(50)).is_err());
    bench.permit();
    assert_eq!(bench.begun(), [10]);
    bench.permit();
    for ticket in tickets {
        assert_eq!(ticket.wait().unwrap().outputs, [20]);
    }
}

#[test]
fn a_clients_line_does_not_shut_the_door_on_others() {
    let bench = Bench::paced(|options| options.max_queue = 100);
    let _busy = bench.within(10_000, 1, &[100]);
    assert_eq!(bench.begun(), [100]);
    let line: Vec<_> = (0..20).map_while(|_| bench.within(1300, 1, &[100]).ok()).collect();
    assert_eq!(line.len(), 6);
    assert!(bench.within(1300, 1, &[100]).is_err());
    // It waits for the running batch, and for as many tokens of the line as it has itself.
    let other = bench.within(1300, 2, &[10]).unwrap();
    assert!(bench.within(380, 2, &[10]).is_err());
    bench.permit();
    assert!([bench.begun(), bench.permit_next()].concat().contains(&10));
    drop((line, other));
    bench.permit();
}

#[test]
fn who_has_no_deadline_is_never_too_late() {
    let bench = Bench::paced(|options| options.max_queue = 100);
    let tickets: Vec<_> = (0..50).map(|_| bench.submit(1, &[100])).collect();
    for ticket in tickets {
        bench.begun();
        bench.permit();
        assert_eq!(ticket.wait().unwrap().outputs, [200]);
    }
}
