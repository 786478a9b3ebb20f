//! Ids of requests, answers and traces.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderMap;

/// The request's id: the client's `x-request-id` if it is fit for a log, otherwise a new one.
pub fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|v| v.to_str().ok());
    let fit = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    given.filter(fit).map_or_else(|| format!("{:016x}", unique()), str::to_string)
}

/// The trace that a request belongs to (W3C trace context, version 00).
pub struct Trace {
    /// The id of the trace.
    pub id: String,
    /// The header for the next service: the same trace with a span of this server.
    pub header: String,
}

impl Trace {
    /// The trace of the header `traceparent`, if it is well-formed.
    pub fn of(headers: &HeaderMap) -> Option<Trace> {
        let parent = headers.get("traceparent")?.to_str().ok()?;
        let parts: Vec<&str> = parent.trim().split('-').collect();
        let &[version, id, span, flags] = parts.as_slice() else { return None };
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let zero = id.bytes().all(|b| b == b'0');
        let fits = hex(version, 2) && hex(id, 32) && hex(span, 16) && hex(flags, 2);
        (fits && version != "ff" && !zero).then(|| Trace {
            id: id.to_string(),
            header: format!("00-{id}-{:016x}-{flags}", unique() | 1),
        })
    }
}

/// The id of an answer: no other answer has it.
pub fn answer_id() -> String {
    format!("{:016x}{:016x}", unique(), unique())
}

/// A number that no other request of this process has, and other processes hardly have.
fn unique() -> u64 {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    STATE.hash_one(COUNT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn a_trace_is_passed_on_if_it_is_well_formed() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = Trace::of(&of("traceparent", parent)).unwrap();
        assert_eq!(trace.id, "0af7651916cd43dd8448eb211c80319c");
        assert!(trace.header.starts_with(&parent[..36]) && trace.header.ends_with("-01"));
        assert_ne!(trace.header, parent);
        for wrong in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-x1",
        ] {
            assert!(Trace::of(&of("traceparent", wrong)).is_none(), "{wrong}");
        }
    }

    #[test]
    fn ids_of_clients_are_kept_if_they_are_fit_for_a_log() {
        assert_eq!(request_id(&of("x-request-id", "abc-7")), "abc-7");
        for unfit in ["", "a b", "a\tb"] {
            let own = request_id(&of("x-request-id", unfit));
            assert!(own.len() == 16 && own != request_id(&HeaderMap::new()), "{own}");
        }
    }
}
