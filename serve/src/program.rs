//! The program: from flags to a running server, and to its end.

use std::collections::HashSet;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gradus_cli::{Failure, Outcome, SharedArgs};
use gradus_tensor::Device;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{Level, info, warn};

use crate::app::{Access, App, Limits};
use crate::clients::{self, Clients};
use crate::connection::Patience;
use crate::flags::{Flags, Program};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::names;
use crate::pipeline::Compute;
use crate::registry::Registry;
use crate::scheduler::Options;
use crate::server::{Listening, serve, tls};
use crate::signals::Signals;
use crate::sites::{self, Sites};
use crate::{root_path, router};

/// Threads that read and write; models run on others.
const IO_THREADS: usize = 2;

/// The program.
///
/// # Errors
/// A usage error for wrong flags; an error when a model cannot be opened or the address is taken.
pub fn main(program: Program) -> Outcome {
    let Program { shared, flags } = program;
    let (shared, flags) = gradus_cli::layered(&shared, &flags)?;
    let settings = Settings::new(&flags)?;
    let device = shared.start_beside()?;
    let level = match (shared.quiet, shared.verbose) {
        (true, _) => Level::ERROR,
        (_, true) => Level::DEBUG,
        _ => Level::INFO,
    };
    let log = Log::start(level, shared.json);
    let outcome = run(&shared, device, &flags, settings);
    log.finish();
    outcome
}

/// The checked meaning of the flags.
struct Settings {
    address: SocketAddr,
    models: Vec<(String, String)>,
    aliases: Vec<(String, String)>,
    options: Options,
    limits: Limits,
    access: Access,
    sites: Sites,
    clients: Clients,
    root_path: String,
    listening: Listening,
}

impl Settings {
    fn new(flags: &Flags) -> Outcome<Settings> {
        let ip = ip(flags.host.as_deref().unwrap_or("127.0.0.1"))?;
        let models = models(&flags.model, flags.model_store.is_some())?;
        let aliases = aliases(&flags.alias, &models, flags.model_store.is_some())?;
        let keys = keys(&flags.api_key)?;
        if let Some(store) = &flags.model_store {
            check_store(store, ip, &keys)?;
        }
        let patience = Patience {
            read: seconds("read-timeout", flags.read_timeout, 15.0)?,
            write: seconds("write-timeout", flags.write_timeout, 15.0)?,
            keep_alive: seconds("keep-alive", flags.keep_alive, 75.0)?,
        };
        let tls = match (&flags.tls_cert, &flags.tls_key) {
            (Some(cert), Some(key)) => Some(tls(cert, key).map_err(Failure::error)?),
            (None, None) => None,
            _ => return Err(Failure::usage("--tls-cert and --tls-key go together")),
        };
        let root_path = root_path::parse(flags.root_path.as_deref().unwrap_or_default());
        Ok(Settings {
            sites: Sites {
                origins: each(&flags.cors_origin, sites::origin)?,
                hosts: each(&flags.allowed_host, sites::name)?,
                check_host: !flags.allowed_host.is_empty() || (keys.is_empty() && ip.is_loopback()),
                keyless: keys.is_empty(),
            },
            clients: Clients {
                proxies: each(&flags.trusted_proxy, clients::network)?,
                by_key: keys.len() > 1,
            },
            root_path: root_path.map_err(Failure::usage)?,
            address: SocketAddr::new(ip, flags.port.unwrap_or(8080)),
            models,
            aliases,
            options: Options {
                max_batch_tokens: positive("max-batch-tokens", flags.max_batch_tokens, 1024)?,
                max_queue: positive("max-queue", flags.max_queue, 512)?,
                max_delay: seconds("max-delay", flags.max_delay.map(|ms| ms / 1e3), 0.0)?,
                workers: positive("workers", flags.workers, 1)?,
            },
            limits: Limits {
                body: positive("max-body", flags.max_body, 16)?.saturating_mul(1 << 20),
                inputs: positive("max-inputs", flags.max_inputs, 2048)?,
                timeout: seconds("timeout", flags.timeout, 60.0)?,
                read: patience.read,
                truncate: !flags.no_truncate,
                token_ids: !flags.no_token_ids,
            },
            access: Access { keys, management: flags.model_store.is_some(), traces: flags.trace },
            listening: Listening { patience, drain: seconds("drain", flags.drain, 30.0)?, tls },
        })
    }
}

/// The address of `--host`.
fn ip(host: &str) -> Outcome<IpAddr> {
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse().map_err(|_| {
        let message = format!("--host is `{host}`; it must be an IP address, as 127.0.0.1 or ::");
        Failure::usage(message)
    })
}

/// The names and folders of `--model`.
fn models(flags: &[String], store: bool) -> Outcome<Vec<(String, String)>> {
    if flags.is_empty() && !store {
        return Err(Failure::usage("no model to serve; give --model DIR, or --model-store DIR"));
    }
    let models: Vec<(String, String)> = flags.iter().map(|m| named(m)).collect();
    let mut seen = HashSet::new();
    for (name, _) in &models {
        names::check(name).map_err(|e| Failure::usage(format!("--model: {}", e.message)))?;
        if !seen.insert(name) {
            let message =
                format!("two models are called `{name}`; name them with --model NAME=DIR");
            return Err(Failure::usage(message));
        }
    }
    Ok(models)
}

/// The keys of `--api-key` and of the environment.
fn keys(flags: &[String]) -> Outcome<Vec<String>> {
    let mut keys = flags.to_vec();
    if let Ok(more) = std::env::var("GRADUS_API_KEY") {
        keys.extend(more.split(',').map(str::trim).filter(|k| !k.is_empty()).map(Into::into));
    }
    for key in &keys {
        if key.is_empty() {
            return Err(Failure::usage("--api-key is empty"));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = "--api-key: a key has a space, or a letter that is not ASCII, which no client can send in a \
                           header; choose another";
            return Err(Failure::usage(message));
        }
    }
    Ok(keys)
}

/// Checks that the store is a folder, and that strangers cannot change models.
fn check_store(store: &Path, ip: IpAddr, keys: &[String]) -> Outcome {
    if keys.is_empty() && !ip.is_loopback() {
        return Err(Failure::usage(format!(
            "--model-store lets whoever reaches {ip} register and remove models; give --api-key KEY, or listen at \
             127.0.0.1"
        )));
    }
    match store.is_dir() {
        true => Ok(()),
        false => {
            let message = format!("--model-store {}: there is no such folder", store.display());
            Err(Failure::usage(message))
        }
    }
}

fn positive(name: &str, value: Option<usize>, default: usize) -> Outcome<usize> {
    match value {
        Some(0) => Err(Failure::usage(format!("--{name} is 0; it must be 1 or more"))),
        value => Ok(value.unwrap_or(default)),
    }
}

/// A time from zero to a day.
fn seconds(name: &str, value: Option<f64>, default: f64) -> Outcome<Duration> {
    let value = value.unwrap_or(default);
    match (0.0..=86_400.0).contains(&value) {
        true => Ok(Duration::from_secs_f64(value)),
        false => Err(Failure::usage(format!("--{name} is {value}; it must be from 0 to 86400"))),
    }
}

/// The values of a repeated flag.
fn each<T>(values: &[String], read: fn(&str) -> Result<T, String>) -> Outcome<Vec<T>> {
    values.iter().map(|value| read(value)).collect::<Result<_, _>>().map_err(Failure::usage)
}

/// The name and source of `NAME=DIR`, or of a folder or id whose last part is the name.
fn named(model: &str) -> (String, String) {
    match model.split_once('=') {
        Some((name, source)) => (name.to_string(), source.to_string()),
        None => {
            let path = Path::new(model);
            let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
            let last = path.file_name().map(|n| n.to_string_lossy().into_owned());
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let name = last.unwrap_or_else(|| "model".into());
            let name = name.replace(|c| !allowed(c), "-");
            (name.trim_start_matches('.').to_string(), model.to_string())
        }
    }
}

/// The aliases: those of `--alias`, and the hub ids that models come from.
fn aliases(
    flags: &[String],
    models: &[(String, String)],
    store: bool,
) -> Outcome<Vec<(String, String)>> {
    let mut aliases: Vec<(String, String)> = Vec::new();
    let taken = |aliases: &[(String, String)], alias: &str| {
        aliases.iter().chain(models).any(|(name, _)| name == alias)
    };
    for flag in flags {
        let (alias, model) = flag.split_once('=').ok_or_else(|| {
            Failure::usage(format!(
                "--alias {flag}: it must be ALIAS=NAME, where NAME is that of a model"
            ))
        })?;
        names::check(alias)
            .map_err(|e| Failure::usage(format!("--alias {flag}: {}", e.message)))?;
        if taken(&aliases, alias) {
            return Err(Failure::usage(format!(
                "--alias {flag}: the name `{alias}` is taken already"
            )));
        }
        if !store && models.iter().all(|(name, _)| name != model) {
            let names: Vec<&str> = models.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!(
                "--alias {flag}: no model is called `{model}`; there are {}",
                names.join(", ")
            );
            return Err(Failure::usage(message));
        }
        aliases.push((alias.to_string(), model.to_string()));
    }
    for (name, source) in models {
        let hub = source.contains('/') && names::check(source).is_ok();
        if hub && !Path::new(source).exists() && !taken(&aliases, source) {
            aliases.push((source.clone(), name.clone()));
        }
    }
    Ok(aliases)
}

fn run(shared: &SharedArgs, device: Device, flags: &Flags, settings: Settings) -> Outcome {
    let metrics = Arc::new(Metrics::new()?);
    let compute = Compute { device, precision: shared.precision() };
    let mut models = Registry::new(settings.options, compute, Arc::clone(&metrics));
    models.base = flags.base.clone();
    // The address comes first: a model may take long to open, and a person should learn at once
    // that a port is taken.
    let listener = bind(settings.address)?;
    let metrics_address = |port| SocketAddr::new(settings.address.ip(), port);
    let metrics_listener =
        flags.metrics_port.map(|port| bind(metrics_address(port))).transpose()?;
    load(&models, &settings.models)?;
    check_base(&models, flags)?;
    for (alias, name) in &settings.aliases {
        models.aliases.add(alias, name).map_err(|problem| Failure::error(problem.message))?;
    }
    let store = flags.model_store.as_ref().map(|store| store.canonicalize()).transpose()?;
    let app = Arc::new(App {
        models,
        metrics,
        limits: settings.limits,
        access: settings.access,
        sites: settings.sites,
        clients: settings.clients,
        root_path: settings.root_path,
        over: watch::Sender::new(false),
        store,
        draining: AtomicBool::new(false),
        started: Instant::now(),
        separate_metrics: metrics_listener.is_some(),
        told_token_ids: AtomicBool::new(false),
        known: std::sync::Mutex::new(settings.models.into_iter().collect()),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .thread_name("gradus-io")
        .enable_all()
        .build()?;
    let drained =
        runtime.block_on(listen(shared, app, settings.listening, listener, metrics_listener))?;
    runtime.shutdown_background();
    match drained {
        true => Ok(()),
        false => Err(Failure::error(
            "stopped with requests under way, which were answered 503: --drain ran out, or a second signal came",
        )),
    }
}

/// Opens the models of the command line. Notes about them go to the log.
fn load(models: &Registry, sources: &[(String, String)]) -> Outcome {
    for (name, source) in sources {
        let start = Instant::now();
        models.load(name, source, false).map_err(|problem| Failure::error(problem.message))?;
        for version in models.versions(name).into_iter().flat_map(|listed| listed.versions) {
            for note in version.pipeline().notes() {
                warn!(model = name, note, "model");
            }
        }
        let ms = start.elapsed().as_millis() as u64;
        info!(model = name, folder = source, ms, "model loaded");
    }
    Ok(())
}

/// Refuses a --base that no model has a use for. A store may bring adapters later.
fn check_base(models: &Registry, flags: &Flags) -> Outcome {
    let mut versions = models.list().into_iter().flat_map(|listed| listed.versions);
    let adapters = versions.any(|version| version.pipeline().base().is_some());
    match flags.base.is_some() && !adapters && flags.model_store.is_none() {
        true => Err(Failure::usage("--base goes with an adapter; the models are whole ones")),
        false => Ok(()),
    }
}

/// Says where the server is, and answers until it is asked to stop. Returns whether all requests
/// under way were answered.
async fn listen(
    shared: &SharedArgs,
    app: Arc<App>,
    how: Listening,
    listener: std::net::TcpListener,
    metrics_listener: Option<std::net::TcpListener>,
) -> Outcome<bool> {
    let address = listener.local_addr()?;
    let listener = TcpListener::from_std(listener)?;
    let scheme = if how.tls.is_some() { "https" } else { "http" };
    let (stop, stopped) = watch::channel(false);
    // Whoever reads the address may ask the server to stop at once, so it listens for that first.
    stop_when_asked(Arc::clone(&app), stop)?;
    announce(shared, "url", &format!("{scheme}://{address}"))?;
    let mut metrics = None;
    if let Some(listener) = metrics_listener {
        announce(shared, "metrics", &format!("http://{}", listener.local_addr()?))?;
        let how = Listening { tls: None, ..how.clone() };
        let (router, listener) = (router::metrics_router(&app), TcpListener::from_std(listener)?);
        let serving = serve(listener, router, how, stopped.clone(), watch::Sender::new(false));
        metrics = Some(tokio::spawn(serving));
    }
    let drained = serve(listener, router::router(&app), how, stopped, app.over.clone()).await;
    if let Some(metrics) = metrics {
        metrics.abort();
    }
    Ok(drained)
}

/// Waits for signals. The first one stops the server, the second one ends the requests under way.
fn stop_when_asked(app: Arc<App>, stop: watch::Sender<bool>) -> Outcome {
    let mut signals = Signals::listen()?;
    tokio::spawn(async move {
        signals.next().await;
        app.draining.store(true, Ordering::Relaxed);
        info!("stopping");
        let _ = stop.send(true);
        signals.next().await;
        warn!("stopping at once");
        app.over.send_replace(true);
    });
    Ok(())
}

fn bind(address: SocketAddr) -> Outcome<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address).map_err(|e| {
        Failure::error(format!("cannot listen at {address}: {e}; choose another --port"))
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Says on standard output where the server is. Scripts read this line.
fn announce(shared: &SharedArgs, what: &str, url: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match (shared.json, what) {
        (true, _) => writeln!(out, "{}", json!({what: url}))?,
        (false, "url") => writeln!(out, "listening at {url}")?,
        (false, _) => writeln!(out, "{what} at {url}")?,
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One key that all share tells no clients apart.
    #[test]
    fn keys_are_clients_where_there_are_several() {
        let by_key = |keys: &[&str]| {
            let api_key = keys.iter().map(|key| key.to_string()).collect();
            let flags = Flags { model: vec!["m".into()], api_key, ..Flags::default() };
            Settings::new(&flags).unwrap_or_else(|e| panic!("{e}")).clients.by_key
        };
        assert_eq!([by_key(&[]), by_key(&["a"]), by_key(&["a", "b"])], [false, false, true]);
    }

    #[test]
    fn hub_ids_are_names_of_their_models() {
        let model = |name: &str, source: &str| (name.to_string(), source.to_string());
        let models = [
            model("embed", "sentence-transformers/all-MiniLM-L6-v2"),
            model("again", "sentence-transformers/all-MiniLM-L6-v2"),
            // Folders are not hub ids.
            model("source", "../serve/src"),
            model("tests", "tests/all"),
            model("plain", "bert-base-uncased"),
        ];
        let found = aliases(&["a=plain".into()], &models, false).unwrap_or_default();
        let id = ("sentence-transformers/all-MiniLM-L6-v2".into(), "embed".into());
        assert_eq!(found, [("a".into(), "plain".into()), id]);
    }
}
