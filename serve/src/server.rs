//! The listener: accepting connections, TLS, and shutting down.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::connection::{self, Patience};

/// Most connections at the same time. Others wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;

/// Time to tell clients that their requests will not be done.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a listener treats connections.
#[derive(Clone)]
pub struct Listening {
    /// The time limits of a connection.
    pub patience: Patience,
    /// Time for requests under way when the server shuts down.
    pub drain: Duration,
    /// The certificates. Without them the listener speaks plain HTTP.
    pub tls: Option<TlsAcceptor>,
}

/// Reads certificates and a key, both PEM.
///
/// # Errors
/// When a file cannot be read, or the two do not belong together.
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

/// Accepts connections until `stop` turns true. Then it takes the connections that the system has
/// accepted, and lets requests under way be answered, until the time to drain is over or `over`
/// turns true. Returns whether all requests were answered. If not, it turns `over` true, and the
/// requests that are left get an answer that says so.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    how: Listening,
    stop: watch::Receiver<bool>,
    over: watch::Sender<bool>,
) -> bool {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Each connection holds a sender, so the channel ends with the last connection.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let spawn = |stream, peer, place| {
        let connection = connection(stream, peer, router.clone(), how.clone(), stop.clone());
        let alive = alive.clone();
        tokio::spawn(async move {
            connection.await;
            drop((place, alive));
        });
    };
    let mut stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|&stop| stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        if let Some((stream, peer, place)) = accepted {
            spawn(stream, peer, Some(place));
        }
    }
    // Connections that the system has accepted already must not be cut off.
    while let Ok(Ok((stream, peer))) =
        tokio::time::timeout(Duration::from_millis(1), listener.accept()).await
    {
        spawn(stream, peer, None);
    }
    drop(listener);
    drop(alive);
    let mut ended = over.subscribe();
    let drained = tokio::select! {
        // Clients that are told that it is over are gone soon.
        biased;
        _ = ended.wait_for(|&over| over) => false,
        _ = all_gone.recv() => true,
        () = tokio::time::sleep(how.drain) => false,
    };
    if !drained {
        over.send_replace(true);
        let _ = tokio::time::timeout(FAREWELL, all_gone.recv()).await;
    }
    drained
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(e) => {
            // Mostly the process is out of file descriptors, and some are free again soon. Other
            // errors belong to one connection.
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
    stop: watch::Receiver<bool>,
) {
    // Small answers must not wait for more data.
    let _ = stream.set_nodelay(true);
    match &how.tls {
        None => connection::answer(stream, peer, router, how.patience, stop).await,
        Some(acceptor) => {
            let shaken = tokio::time::timeout(how.patience.read, acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                connection::answer(stream, peer, router, how.patience, stop).await;
            }
        }
    }
}
