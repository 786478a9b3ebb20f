//! Whose turn it is: fair queueing between clients, and first come, first served within a client.
//!
//! This is start-time fair queueing (Goyal, Vin, Cheng 1996). A client that waits has a virtual
//! time, which grows by the tokens that it is given. The client with the smallest time is next, and
//! newcomers begin at the time of the client served last. So a request with one input waits for
//! about one input of each other client, however many those have queued. The requests of one client
//! do not take turns: under overload, all of them would be half done at their deadlines.
//!
//! The same times predict how much is computed before a request is done ([`FairQueue::ahead`]),
//! as long as no newcomer gets an earlier turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

/// Entries in the order of their virtual times, equal ones in the order of their arrival.
struct Turns<K, V> {
    order: BTreeMap<(u64, u64), K>,
    entries: HashMap<K, ((u64, u64), V)>,
    now: u64,
    arrivals: u64,
}

impl<K, V> Default for Turns<K, V> {
    fn default() -> Self {
        Turns { order: BTreeMap::new(), entries: HashMap::new(), now: 0, arrivals: 0 }
    }
}

impl<K: Copy + Eq + Hash, V: Default> Turns<K, V> {
    /// The entry of `key`; a new entry begins now.
    fn entry(&mut self, key: K) -> &mut V {
        let (now, arrivals) = (self.now, &mut self.arrivals);
        let order = &mut self.order;
        let (_, value) = self.entries.entry(key).or_insert_with(|| {
            *arrivals += 1;
            order.insert((now, *arrivals), key);
            ((now, *arrivals), V::default())
        });
        value
    }

    /// The entry of `key` and its virtual time, if it has one.
    fn get(&self, key: K) -> Option<(u64, &V)> {
        self.entries.get(&key).map(|((time, _), value)| (*time, value))
    }

    /// All entries with their virtual times.
    fn iter(&self) -> impl Iterator<Item = (K, u64, &V)> {
        self.entries.iter().map(|(&key, ((time, _), value))| (key, *time, value))
    }

    fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(_, value)| value)
    }

    /// The key whose turn it is.
    fn next(&self) -> Option<K> {
        self.order.first_key_value().map(|(_, &key)| key)
    }

    /// Notes that `key` was given `cost`.
    fn charge(&mut self, key: K, cost: u64) {
        if let Some((place, _)) = self.entries.get_mut(&key) {
            self.order.remove(place);
            self.now = self.now.max(place.0);
            place.0 = place.0.saturating_add(cost);
            self.order.insert(*place, key);
        }
    }

    fn remove(&mut self, key: K) -> Option<V> {
        let (place, value) = self.entries.remove(&key)?;
        self.order.remove(&place);
        Some(value)
    }
}

/// The waiting inputs of one request, with their costs.
struct Waiting<T> {
    request: u64,
    inputs: VecDeque<(usize, T)>,
    cost: u64,
}

/// The requests of one client, the first come first.
struct Line<T> {
    requests: VecDeque<Waiting<T>>,
    cost: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Line { requests: VecDeque::new(), cost: 0 }
    }
}

/// Inputs of requests of clients, each with a cost in tokens.
pub struct FairQueue<T> {
    clients: Turns<u64, Line<T>>,
    inputs: usize,
    tokens: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        FairQueue { clients: Turns::default(), inputs: 0, tokens: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Adds one input of a request.
    pub fn push(&mut self, client: u64, request: u64, cost: usize, input: T) {
        let line = self.clients.entry(client);
        if line.requests.back().is_none_or(|last| last.request != request) {
            line.requests.push_back(Waiting { request, inputs: VecDeque::new(), cost: 0 });
        }
        if let Some(waiting) = line.requests.back_mut() {
            waiting.inputs.push_back((cost, input));
            waiting.cost += cost as u64;
        }
        line.cost += cost as u64;
        self.inputs += 1;
        self.tokens += cost;
    }

    /// The next input, if it costs at most `room`.
    pub fn pop(&mut self, room: usize) -> Option<T> {
        let client = self.clients.next()?;
        let line = self.clients.get_mut(client)?;
        let waiting = line.requests.front_mut()?;
        let (cost, input) = waiting.inputs.pop_front_if(|(cost, _)| *cost <= room)?;
        waiting.cost -= cost as u64;
        line.cost -= cost as u64;
        if waiting.inputs.is_empty() {
            line.requests.pop_front();
        }
        let last_request = line.requests.is_empty();
        self.clients.charge(client, cost as u64);
        if last_request {
            self.clients.remove(client);
        }
        self.inputs -= 1;
        self.tokens -= cost;
        Some(input)
    }

    /// Removes the waiting inputs of a request.
    pub fn remove(&mut self, client: u64, request: u64) -> Vec<T> {
        let Some(line) = self.clients.get_mut(client) else { return Vec::new() };
        let place = line.requests.iter().position(|waiting| waiting.request == request);
        let Some(waiting) = place.and_then(|place| line.requests.remove(place)) else {
            return Vec::new();
        };
        line.cost -= waiting.cost;
        if line.requests.is_empty() {
            self.clients.remove(client);
        }
        self.inputs -= waiting.inputs.len();
        self.tokens -= waiting.cost as usize;
        waiting.inputs.into_iter().map(|(_, input)| input).collect()
    }

    /// How many tokens are given out until a client has its next `own` tokens: these, and the
    /// tokens of other clients whose turn comes before.
    fn until(&self, client: Option<u64>, start: u64, own: u64) -> u64 {
        let others = self.clients.iter().filter(|(key, ..)| Some(*key) != client);
        let before =
            others.map(|(_, time, line)| line.cost.min((start + own).saturating_sub(time)));
        own + before.sum::<u64>()
    }

    /// How many tokens are given out until a request of `cost` tokens that comes now has all of
    /// them.
    pub fn ahead(&self, client: u64, cost: u64) -> u64 {
        let (start, waits) = match self.clients.get(client) {
            Some((time, line)) => (time, line.cost),
            None => (self.clients.now, 0),
        };
        self.until(Some(client), start, waits + cost)
    }

    /// Removes the requests that are too late. It calls `late` for each request, in the order of
    /// each client's line, with its next input, its waiting tokens, and how many tokens are given
    /// out until it has them.
    pub fn shed(&mut self, mut late: impl FnMut(&T, u64, u64) -> bool) -> Vec<T> {
        let mut gone: Vec<(u64, u64)> = Vec::new();
        for (client, start, line) in self.clients.iter() {
            let mut own = 0;
            for waiting in &line.requests {
                let until = self.until(Some(client), start, own + waiting.cost);
                let next = waiting.inputs.front();
                if next.is_some_and(|(_, input)| late(input, waiting.cost, until)) {
                    gone.push((client, waiting.request));
                } else {
                    own += waiting.cost;
                }
            }
        }
        gone.into_iter().flat_map(|(client, request)| self.remove(client, request)).collect()
    }

    /// The next input of each waiting request.
    pub fn requests(&self) -> impl Iterator<Item = &T> {
        let lines = self.clients.iter().flat_map(|(_, _, line)| &line.requests);
        lines.filter_map(|waiting| waiting.inputs.front().map(|(_, input)| input))
    }

    /// How many inputs wait.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The cost of all waiting inputs.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop(usize::MAX)).collect()
    }

    #[test]
    fn one_input_does_not_wait_for_a_thousand() {
        let mut queue = FairQueue::default();
        (0..1000).for_each(|_| queue.push(1, 1, 10, "many"));
        for _ in 0..100 {
            queue.pop(usize::MAX);
        }
        queue.push(2, 2, 10, "one");
        let next: Vec<_> = (0..2).filter_map(|_| queue.pop(usize::MAX)).collect();
        assert!(next.contains(&"one"), "{next:?}");
    }

    #[test]
    fn requests_of_one_client_are_served_as_they_came() {
        let mut queue = FairQueue::default();
        (0..5).for_each(|_| queue.push(1, 1, 10, "a"));
        (0..2).for_each(|_| queue.push(1, 2, 10, "b"));
        assert_eq!(drained(&mut queue), ["a", "a", "a", "a", "a", "b", "b"]);
    }

    #[test]
    fn what_is_ahead_is_what_is_given_out_until_then() {
        // The costs of the inputs of three clients. A newcomer comes from each, and from a fourth.
        let waiting: [&[usize]; 3] = [&[10; 6], &[30, 30, 5], &[20]];
        for (client, cost) in [(0, 10), (0, 40), (1, 20), (2, 5), (2, 50), (3, 5), (3, 35)] {
            let mut queue = FairQueue::default();
            for (client, costs) in waiting.iter().enumerate() {
                costs.iter().for_each(|&cost| queue.push(client as u64, 7, cost, (cost, false)));
            }
            // Some inputs have been served already, so the times differ.
            for _ in 0..4 {
                queue.pop(usize::MAX);
            }
            let expected = queue.ahead(client, cost as u64);
            (0..cost / 5).for_each(|i| queue.push(client, 8, 5, (5, i + 1 == cost / 5)));
            let mut given = 0;
            while let Some((cost, last)) = queue.pop(usize::MAX) {
                given += cost;
                if last {
                    break;
                }
            }
            // An input of each other client may come before or after.
            let others = 60;
            assert!(
                given.abs_diff(expected as usize) <= others,
                "{client} {cost}: {given}, {expected}"
            );
            if client == 3 && cost == 5 {
                assert!(expected < 100, "{expected}");
            }
        }
    }

    #[test]
    fn what_is_shed_does_not_count_for_those_behind_it() {
        let mut queue = FairQueue::default();
        for (request, cost) in [(1, 50), (2, 100), (3, 30)] {
            queue.push(1, request, cost, request);
        }
        // Requests that are done within 90 tokens stay: the third one is, without the second.
        let mut asked = Vec::new();
        let gone = queue.shed(|&request, own, until| {
            asked.push((request, own, until));
            until > 90
        });
        assert_eq!(gone, [2]);
        assert_eq!(asked, [(1, 50, 50), (2, 100, 150), (3, 30, 80)]);
        assert_eq!((queue.inputs(), queue.tokens()), (2, 80));
    }

    #[test]
    fn a_client_gains_nothing_by_many_requests() {
        let mut queue = FairQueue::default();
        (0..6).for_each(|request| queue.push(1, request, 10, "a"));
        (0..3).for_each(|_| queue.push(2, 100, 10, "b"));
        assert_eq!(drained(&mut queue), ["a", "b", "a", "b", "a", "b", "a", "a", "a"]);
    }

    #[test]
    fn turns_are_measured_in_tokens() {
        let mut queue = FairQueue::default();
        (0..2).for_each(|_| queue.push(1, 1, 30, "long"));
        (0..6).for_each(|_| queue.push(2, 2, 10, "short"));
        let order = drained(&mut queue);
        assert_eq!(order[..5], ["long", "short", "short", "short", "long"]);
    }

    #[test]
    fn whoever_pauses_saves_nothing_up() {
        let mut queue = FairQueue::default();
        queue.push(1, 1, 10, "a");
        (0..50).for_each(|_| queue.push(2, 2, 10, "b"));
        for _ in 0..40 {
            queue.pop(usize::MAX);
        }
        (0..4).for_each(|_| queue.push(1, 3, 10, "a"));
        let next: Vec<_> = (0..4).filter_map(|_| queue.pop(usize::MAX)).collect();
        assert_eq!(next.iter().filter(|&&n| n == "a").count(), 2, "{next:?}");
    }

    #[test]
    fn the_room_and_the_sums_are_kept() {
        let mut queue = FairQueue::default();
        queue.push(1, 1, 7, "a");
        queue.push(1, 2, 5, "b");
        assert_eq!((queue.inputs(), queue.tokens()), (2, 12));
        assert_eq!(queue.pop(6), None);
        assert_eq!(queue.pop(7), Some("a"));
        assert_eq!(queue.remove(1, 2), ["b"]);
        assert_eq!(queue.remove(1, 2), Vec::<&str>::new());
        assert_eq!((queue.inputs(), queue.tokens()), (0, 0));
        assert!(queue.clients.entries.is_empty() && queue.clients.order.is_empty());
    }
}
