//! Whose turn it is: fair queueing between clients, and between the requests of one client.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996) at two levels. Whoever waits has a virtual time, which grows by
//! the tokens that it is given; the smallest is next, and newcomers begin at the time of the one served last. So a
//! request with one input waits for about one input of each other client, however many those have queued.

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
    /// The entry of `key`; a new one begins now.
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

    fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(_, value)| value)
    }

    /// Whose turn it is.
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

/// The inputs of one request that wait, with what each costs.
type Inputs<T> = VecDeque<(usize, T)>;

/// Inputs of requests of clients, each with a cost in tokens.
pub struct FairQueue<T> {
    clients: Turns<u64, Turns<u64, Inputs<T>>>,
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
        self.clients.entry(client).entry(request).push_back((cost, input));
        self.inputs += 1;
        self.tokens += cost;
    }

    /// The next input, if it costs at most `room`.
    pub fn pop(&mut self, room: usize) -> Option<T> {
        let client = self.clients.next()?;
        let requests = self.clients.get_mut(client)?;
        let request = requests.next()?;
        let waiting = requests.get_mut(request)?;
        let (cost, input) = waiting.pop_front_if(|(cost, _)| *cost <= room)?;
        let last_input = waiting.is_empty();
        requests.charge(request, cost as u64);
        if last_input {
            requests.remove(request);
        }
        let last_request = requests.next().is_none();
        self.clients.charge(client, cost as u64);
        if last_request {
            self.clients.remove(client);
        }
        self.inputs -= 1;
        self.tokens -= cost;
        Some(input)
    }

    /// Removes what waits of a request.
    pub fn remove(&mut self, client: u64, request: u64) -> Vec<T> {
        let Some(requests) = self.clients.get_mut(client) else { return Vec::new() };
        let removed = requests.remove(request).unwrap_or_default();
        if requests.next().is_none() {
            self.clients.remove(client);
        }
        self.inputs -= removed.len();
        self.tokens -= removed.iter().map(|(cost, _)| cost).sum::<usize>();
        removed.into_iter().map(|(_, input)| input).collect()
    }

    /// How many inputs wait.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// What the inputs that wait cost together.
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
    fn requests_of_one_client_take_turns_too() {
        let mut queue = FairQueue::default();
        (0..5).for_each(|_| queue.push(1, 1, 10, "a"));
        (0..2).for_each(|_| queue.push(1, 2, 10, "b"));
        assert_eq!(drained(&mut queue), ["a", "b", "a", "b", "a", "a", "a"]);
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
