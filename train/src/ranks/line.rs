//! The thread that MPI belongs to. It sends what it is told to, puts what arrives into the mailbox,
//! and tells the others from time to time that this process is alive.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use gradus_models::training::ranks::Tag;
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::processor_name;
use mpi::point_to_point::{Message, Status};
use mpi::request::{Request, Scope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Equivalence, Source};

use super::Place;
use super::state::State;

/// The message of a rank that fails: why.
pub const FAILED: Tag = 32_000;
/// A sign of life.
const ALIVE: Tag = 32_001;
/// The last message of a rank.
const END: Tag = 32_002;

/// How often MPI is asked for messages while nothing happens.
const PAUSE: Duration = Duration::from_micros(200);

/// How often a request is looked at before the thread sleeps between: it has no processor of its own.
const SPINS: usize = 100;

/// Signs of life in the time of --rank-timeout.
const SIGNS: u32 = 10;

/// What the thread is told to do.
pub enum Order {
    Send {
        to: usize,
        tag: Tag,
        message: Vec<u8>,
    },
    Reduce {
        values: Vec<f32>,
        answer: Sender<Vec<f32>>,
    },
    /// Say farewell and stop.
    End,
}

/// Starts MPI and serves orders until the end. `start` gets what the rank knows of its place; `None`
/// when MPI cannot be started.
pub fn run(
    timeout: Duration,
    orders: Receiver<Order>,
    start: &SyncSender<Option<(Arc<State>, Place)>>,
) {
    // Only this thread calls MPI.
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        let _ = start.send(None);
        return;
    };
    let world = universe.world();
    let state = Arc::new(State::new(world.rank() as usize, world.size() as usize));
    let local_rank = world.split_shared(world.rank()).rank() as usize;
    let host = processor_name().unwrap_or_else(|_| "a host without a name".into());
    let _ = start.send(Some((state.clone(), Place { host, local_rank })));
    let told = Cell::new(Instant::now());
    let line = Thread { world, state, every: timeout / SIGNS, told };
    let mut busy = false;
    loop {
        match orders.recv_timeout(if busy { Duration::ZERO } else { PAUSE }) {
            Ok(Order::Send { to, tag, message }) => line.send(to, tag, &message),
            Ok(Order::Reduce { values, answer }) => drop(answer.send(line.reduce(&values))),
            Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        busy = line.serve();
    }
    line.state.over.store(true, Ordering::SeqCst);
    for to in line.others() {
        line.send(to, END, &[]);
    }
    while line.serve() {}
    // Dropping the universe waits until all ranks are here.
}

/// MPI in the hands of its thread.
struct Thread {
    world: SimpleCommunicator,
    state: Arc<State>,
    /// The time between two signs of life.
    every: Duration,
    /// When the last sign of life was given.
    told: Cell<Instant>,
}

impl Thread {
    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.state.rank;
        (0..self.state.size()).filter(move |rank| *rank != own)
    }

    /// Sends a message, and receives others meanwhile, so that two ranks that send to each other do
    /// not wait for ever.
    fn send(&self, to: usize, tag: Tag, message: &[u8]) {
        scope(|scope| {
            let process = self.world.process_at_rank(to as i32);
            let request = process.immediate_send_with_tag(scope, message, i32::from(tag));
            wait(request, || _ = self.serve());
        });
    }

    fn reduce(&self, values: &[f32]) -> Vec<f32> {
        let mut sum = vec![0.0; values.len()];
        scope(|scope| {
            let add = SystemOperation::sum();
            let request =
                self.world.immediate_all_reduce_into(scope, values, sum.as_mut_slice(), add);
            wait(request, || _ = self.serve());
        });
        sum
    }

    /// Receives a message if there is one, and gives a sign of life when it is time. Returns whether
    /// there was one. It is one alone, because the next message to send may be due: a link carries
    /// messages both ways at once.
    fn serve(&self) -> bool {
        let message = self.world.any_process().immediate_matched_probe();
        let any = message.is_some();
        if let Some((message, status)) = message {
            self.receive(message, status);
        }
        self.live();
        any
    }

    /// Hears the others' signs of life alone, and gives the own. Other messages keep their order.
    fn live(&self) {
        let any = self.world.any_process();
        while let Some((message, status)) = any.immediate_matched_probe_with_tag(i32::from(ALIVE)) {
            self.receive(message, status);
        }
        if self.told.get().elapsed() < self.every {
            return;
        }
        self.told.set(Instant::now());
        for to in self.others() {
            scope(|scope| {
                let process = self.world.process_at_rank(to as i32);
                let empty: &[u8] = &[];
                let request = process.immediate_send_with_tag(scope, empty, i32::from(ALIVE));
                wait(request, || ());
            });
        }
    }

    fn receive(&self, message: Message, status: Status) {
        let (from, tag) = (status.source_rank() as usize, status.tag() as Tag);
        let mut bytes = vec![0u8; status.count(u8::equivalent_datatype()) as usize];
        scope(|scope| {
            let request = message.immediate_matched_receive_into(scope, bytes.as_mut_slice());
            wait(request, || self.live());
        });
        self.state.hear(from);
        let mailbox = &self.state.mailbox;
        match tag {
            ALIVE => {}
            FAILED => mailbox.fail(from, String::from_utf8_lossy(&bytes)),
            END => {
                self.state.leave(from);
            }
            tag => mailbox.put(from, tag, bytes),
        }
    }
}

/// Waits for a request, and does something else meanwhile.
fn wait<'a, D: ?Sized, S: Scope<'a>>(request: Request<'a, D, S>, meanwhile: impl Fn()) {
    let (mut request, mut tries) = (request, 0);
    while let Err(pending) = request.test() {
        request = pending;
        meanwhile();
        tries += 1;
        if tries > SPINS {
            std::thread::sleep(PAUSE / 4);
        }
    }
}
