//! Connections: accepting them, TLS, clients that are slow, and shutting down.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tower::ServiceExt;

use crate::around::Peer;

/// Connections at the same time at most; more wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;

/// How a listener treats its connections.
#[derive(Clone)]
pub struct Listening {
    /// Time to read the headers of a request in, and to shake hands in.
    pub patience: Duration,
    /// Time for what is under way when the server shuts down.
    pub drain: Duration,
    /// Certificates; without them, plain HTTP.
    pub tls: Option<TlsAcceptor>,
}

/// Reads certificates and a key, both PEM.
///
/// # Errors
/// When a file cannot be read, or they do not belong together.
pub fn tls(certificates: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let named = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| named(certificates, &e))?;
    if chain.is_empty() {
        return Err(named(certificates, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| named(key, &e))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| named(certificates, &e))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| named(key, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts connections until `stop` turns true; then takes those that were made by then, lets what is under way be
/// answered, and returns whether all was within the time to drain.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    how: Listening,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|&stop| stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let router = router.clone();
        let how = how.clone();
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            connection(stream, peer, router, how, watcher).await;
            drop(place);
        });
    }
    // Connections that the system has accepted for us must not be cut off.
    while let Ok(Ok((stream, peer))) =
        tokio::time::timeout(Duration::from_millis(1), listener.accept()).await
    {
        let watcher = graceful.watcher();
        tokio::spawn(connection(stream, peer, router.clone(), how.clone(), watcher));
    }
    drop(listener);
    tokio::time::timeout(how.drain, graceful.shutdown()).await.is_ok()
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(e) => {
            // Out of file descriptors, mostly: some are free again soon. Other errors belong to one connection.
            if e.kind() != io::ErrorKind::ConnectionAborted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    how: Listening,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Small answers must not wait for more.
    let _ = stream.set_nodelay(true);
    match &how.tls {
        None => requests(stream, peer, router, how.patience, watcher).await,
        Some(acceptor) => {
            let shaken = tokio::time::timeout(how.patience, acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                requests(stream, peer, router, how.patience, watcher).await;
            }
        }
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: SocketAddr,
    router: Router,
    patience: Duration,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let router = router.clone();
        async move {
            let answered = router.oneshot(request).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|never: Infallible| match never {}))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_headers(100)
        .serve_connection(TokioIo::new(stream), service);
    // An error here is the client's: it went, was too slow, or spoke no HTTP, which hyper answers itself.
    let _ = watcher.watch(connection).await;
}
