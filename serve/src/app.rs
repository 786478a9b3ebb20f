//! The state of the server that all requests share.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tracing::warn;

use crate::clients::Clients;
use crate::error::{Problem, Result};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::sites::Sites;

/// Limits on what a request may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Most bytes of a body, before and after decompression.
    pub body: usize,
    /// Most inputs of a request.
    pub inputs: usize,
    /// Time until the answer, unless the request asks for less.
    pub timeout: Duration,
    /// Time to read a request.
    pub read: Duration,
    /// Whether long texts are cut when a request does not say.
    pub truncate: bool,
    /// Whether requests may have token ids instead of texts.
    pub token_ids: bool,
}

/// Who may do what.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Access {
    /// The keys. Without keys everybody may ask.
    pub keys: Vec<String>,
    /// Whether models may be registered and unregistered.
    pub management: bool,
    /// Whether texts may be traced.
    pub traces: bool,
}

impl Access {
    /// Whether `key` is one of ours. The time does not depend on how much of the key is right.
    pub fn knows(&self, key: &str) -> bool {
        // The key is compared to all of ours, also after one fits.
        self.keys
            .iter()
            .fold(false, |known, ours| known | bool::from(ours.as_bytes().ct_eq(key.as_bytes())))
    }
}

/// The server.
pub struct App {
    /// The models.
    pub models: Registry,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The limits.
    pub limits: Limits,
    /// Who may do what.
    pub access: Access,
    /// Which web sites may ask.
    pub sites: Sites,
    /// How clients are told apart.
    pub clients: Clients,
    /// The path under which a proxy shows the server; empty without such a proxy.
    pub root_path: String,
    /// Turns true when requests under way will not be answered any more.
    pub over: watch::Sender<bool>,
    /// The folder that models may be registered from.
    pub store: Option<PathBuf>,
    /// Whether the server is shutting down.
    pub draining: AtomicBool,
    /// When the server was started.
    pub started: Instant,
    /// Whether `/metrics` has a port of its own.
    pub separate_metrics: bool,
    /// Whether the log has mentioned token ids.
    pub told_token_ids: AtomicBool,
    /// Models named on the command line, which repository listings show even when unloaded.
    pub known: std::sync::Mutex<HashSet<(String, String)>>,
}

impl App {
    /// Accepts token ids instead of texts. The log mentions this once, for the server cannot see
    /// which tokenizer made the ids. `at` is their field.
    ///
    /// # Errors
    /// With `--no-token-ids`.
    pub fn take_token_ids(&self, at: &str) -> Result<()> {
        if !self.limits.token_ids {
            let message = "has token ids, which this server does not take (--no-token-ids); send texts (LangChain: \
                check_embedding_ctx_length=False)";
            return Err(Problem::field(at, message));
        }
        if !self.told_token_ids.swap(true, Ordering::Relaxed) {
            let message = "a request has token ids instead of texts; ids of another tokenizer \
                than the model's give wrong answers, and --no-token-ids refuses ids";
            warn!(field = at, "{message}");
        }
        Ok(())
    }

    /// Whether requests are taken.
    pub fn ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.models.any().is_some()
    }
}
