//! One connection: it answers requests one after the other, and limits how long either side waits.
//!
//! | while | at most | then |
//! | --- | --- | --- |
//! | the server waits for the first byte of the first request | `read` | closed |
//! | the head of a request comes | `read` | 408, closed |
//! | its body comes | `read`, in [`crate::call`] | 408, closed |
//! | the server answers it | its own deadline | |
//! | the client takes nothing of the answer | `write` | closed |
//! | nothing is under way | `keep_alive` | closed |
//!
//! A client that closes its sending side counts as gone: it looks like a client that hung up, and
//! the request of such a client must cost nothing.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use hyper::body::{Body as HyperBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::clients::Peer;

/// The time limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// To send the head of a request, to send its body, and for the TLS handshake.
    pub read: Duration,
    /// To take a part of an answer.
    pub write: Duration,
    /// To send the next request.
    pub keep_alive: Duration,
}

/// The time that a new connection without a request gets when the server stops: its request may be
/// on its way.
const GRACE: Duration = Duration::from_secs(1);

/// The answer to a client that is too slow to send the head of a request.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet.
    New,
    /// A head is coming.
    Head,
    /// A request is being answered.
    Answering,
    /// The last request has been answered, and no other has come.
    Idle,
}

/// What a connection is doing; its stream, its service and its timer share it.
#[derive(Clone)]
struct Watch(Arc<Mutex<Stage>>);

/// What a connection is doing.
struct Stage {
    phase: Phase,
    since: Instant,
    /// Since when the client takes nothing.
    blocked: Option<Instant>,
}

impl Watch {
    fn new() -> Watch {
        let stage = Stage { phase: Phase::New, since: Instant::now(), blocked: None };
        Watch(Arc::new(Mutex::new(stage)))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Stage) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, phase: Phase) {
        self.with(|stage| (stage.phase, stage.since) = (phase, Instant::now()));
    }

    fn has_read(&self) {
        self.with(|stage| {
            if matches!(stage.phase, Phase::New | Phase::Idle) {
                (stage.phase, stage.since) = (Phase::Head, Instant::now());
            }
        });
    }

    fn has_written<T>(&self, outcome: &Poll<T>) {
        self.with(|stage| match outcome {
            Poll::Pending => drop(stage.blocked.get_or_insert_with(Instant::now)),
            Poll::Ready(_) => {
                stage.blocked = None;
                if stage.phase == Phase::Idle {
                    // The end of the answer is on its way only now.
                    stage.since = Instant::now();
                }
            }
        });
    }

    /// When the connection has waited long enough.
    fn due(&self, patience: &Patience, stopped: Option<Instant>) -> Option<Instant> {
        self.with(|stage| match (stage.blocked, stage.phase) {
            (Some(since), _) => Some(since + patience.write),
            (None, Phase::New) => {
                let due = stage.since + patience.read;
                Some(stopped.map_or(due, |at| due.min(at + GRACE)))
            }
            (None, Phase::Head) => Some(stage.since + patience.read),
            (None, Phase::Idle) => Some(stage.since + patience.keep_alive),
            (None, Phase::Answering) => None,
        })
    }

    fn is_new(&self) -> bool {
        self.with(|stage| stage.phase == Phase::New)
    }

    fn slow_head(&self) -> bool {
        self.with(|stage| stage.blocked.is_none() && stage.phase == Phase::Head)
    }
}

/// A stream that reports to a `Watch`.
struct Watched<S> {
    stream: S,
    watch: Watch,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.watch.has_read();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch.has_written(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch.has_written(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        if outcome.is_pending() {
            self.watch.has_written(&outcome);
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch.has_written(&outcome);
        outcome
    }
}

/// The body of an answer. When it is dropped, the connection is idle.
struct Answer {
    body: Body,
    watch: Watch,
}

impl HyperBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.watch.enter(Phase::Idle);
    }
}

/// Answers the requests of a connection until it ends. Once `stop` turns true, it answers only the
/// request under way.
pub async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    router: Router,
    patience: Patience,
    mut stop: watch::Receiver<bool>,
) {
    let watch = Watch::new();
    let entered = watch.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let (router, watch) = (router.clone(), entered.clone());
        watch.enter(Phase::Answering);
        async move {
            let answered = router.oneshot(request).await;
            let response = answered.unwrap_or_else(|never: Infallible| match never {});
            Ok::<_, Infallible>(response.map(|body| Answer { body, watch }))
        }
    });
    let stream = Watched { stream, watch: watch.clone() };
    let mut connection = http1::Builder::new()
        // `Watch` limits the time of a head, apart from the time between two requests.
        .header_read_timeout(None)
        .max_headers(100)
        .serve_connection(TokioIo::new(stream), service);

    let mut stopping = pin!(async move { drop(stop.wait_for(|&stop| stop).await) });
    let mut stopped = None;
    let mut alarm = pin!(tokio::time::sleep(Duration::ZERO));
    let mut last_request = false;
    let ended = poll_fn(|context| {
        if stopped.is_none() && stopping.as_mut().poll(context).is_ready() {
            stopped = Some(Instant::now());
        }
        loop {
            // An error is the client's: it went, or did not speak HTTP, which hyper answers itself.
            if Pin::new(&mut connection).poll(context).is_ready() {
                return Poll::Ready(true);
            }
            // On shutdown hyper would close a connection that has sent nothing yet.
            if stopped.is_none() || last_request || watch.is_new() {
                break;
            }
            last_request = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let Some(due) = watch.due(&patience, stopped) else { return Poll::Pending };
        alarm.as_mut().reset(due);
        alarm.as_mut().poll(context).map(|()| false)
    });
    if !ended.await && watch.slow_head() {
        let mut stream = connection.into_parts().io.into_inner().stream;
        let said = async {
            stream.write_all(TOO_SLOW).await?;
            stream.shutdown().await
        };
        let _ = tokio::time::timeout(GRACE, said).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;

    const PATIENCE: Patience = Patience {
        read: Duration::from_secs(10),
        write: Duration::from_secs(20),
        keep_alive: Duration::from_secs(70),
    };

    /// How long a connection with this client lasts, and what the client gets. The clock leaps when
    /// all tasks wait.
    async fn meets<F: Future<Output = Vec<u8>>>(
        client: impl FnOnce(DuplexStream) -> F,
        stop: Option<Duration>,
    ) -> (Duration, String) {
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/large", get(|| async { "x".repeat(100_000) }))
            .route(
                "/slow",
                get(|| async {
                    tokio::time::sleep(Duration::from_secs(500)).await;
                    "at last"
                }),
            );
        let (ours, theirs) = tokio::io::duplex(4096);
        let (stopping, stopped) = watch::channel(false);
        let start = Instant::now();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let served = async {
            answer(theirs, peer, router, PATIENCE, stopped).await;
            start.elapsed()
        };
        let stop = async {
            tokio::time::sleep(stop.unwrap_or(Duration::from_secs(100_000))).await;
            stopping.send_replace(true);
            std::future::pending::<()>().await;
        };
        let both = async { tokio::join!(served, client(ours)) };
        tokio::select! {
            (took, got) = both => (took, String::from_utf8(got).unwrap()),
            () = stop => unreachable!(),
        }
    }

    /// Sends a text, then reads until the connection ends.
    async fn sends(mut stream: DuplexStream, text: &str) -> Vec<u8> {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got).await;
        got
    }

    fn about(took: Duration, expected: Duration) {
        assert!(took.abs_diff(expected) < Duration::from_millis(10), "{took:?}, not {expected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_for_its_own_time() {
        let (took, got) = meets(|s| sends(s, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"), None).await;
        about(took, PATIENCE.keep_alive);
        assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("here"), "{got}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_head_begins_with_its_first_byte() {
        let client = async |mut stream: DuplexStream| {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            sends(stream, "GET / HT").await
        };
        let (took, got) = meets(client, None).await;
        about(took, Duration::from_secs(60) + PATIENCE.read);
        assert!(got.contains("HTTP/1.1 408") && got.contains("connection: close"), "{got}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_gets_nothing() {
        let (took, got) = meets(|s| sends(s, ""), None).await;
        about(took, PATIENCE.read);
        assert_eq!(got, "");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_longer_than_all_of_these() {
        let request = "GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let (took, got) = meets(|s| sends(s, request), None).await;
        about(took, Duration::from_secs(500));
        assert!(got.ends_with("at last"), "{got}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_ends_the_connection() {
        let client = async |mut stream: DuplexStream| {
            stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            tokio::time::sleep(Duration::from_secs(1000)).await;
            Vec::new()
        };
        about(meets(client, None).await.0, PATIENCE.write);
        // A slow client gets the whole answer, and the connection is idle from then on.
        let client = async |mut stream: DuplexStream| {
            stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let (mut got, mut part) = (Vec::new(), [0; 4096]);
            while got.len() < 100_000 {
                tokio::time::sleep(Duration::from_secs(15)).await;
                let count = stream.read(&mut part).await.unwrap();
                got.extend(&part[..count]);
            }
            sends(stream, "").await;
            got
        };
        let (took, got) = meets(client, None).await;
        assert!(took >= Duration::from_secs(15 * 23) + PATIENCE.keep_alive, "{took:?}");
        assert!(got.ends_with(&"x".repeat(1000)), "{}", got.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_waits_for_no_idle_connection() {
        let at = Duration::from_secs(3);
        let idle = |s| sends(s, "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        about(meets(idle, Some(at)).await.0, at);
        about(meets(|s| sends(s, ""), Some(at)).await.0, at + GRACE);
        let slow = |s| sends(s, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n");
        let (took, got) = meets(slow, Some(at)).await;
        about(took, Duration::from_secs(500));
        assert!(got.ends_with("at last"), "{got}");
    }
}
