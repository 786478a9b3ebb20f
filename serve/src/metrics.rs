//! What Prometheus reads at `/metrics`: what waits and runs for each model, and how long it takes.
//! The same numbers also have the names of text-embeddings-inference, for its dashboards.

use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry,
    TextEncoder, core::Collector,
};

use crate::scheduler::{BatchReport, Load};
use crate::usage::Usage;

type Result<T> = std::result::Result<T, prometheus::Error>;

/// Seconds, from a tenth of a millisecond to a minute.
const SECONDS: [f64; 18] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// Buckets of inputs and tokens: powers of two up to `2^most`.
fn counts(most: u32) -> Vec<f64> {
    (0..=most).map(|exponent| f64::from(1 << exponent)).collect()
}

/// All metrics of a server.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    phases: HistogramVec,
    batch_inputs: HistogramVec,
    batch_tokens: HistogramVec,
    batch_seconds: HistogramVec,
    queue: GaugeVec,
    inputs: IntCounterVec,
    tokens: IntCounterVec,
    in_flight: Gauge,
    te_count: IntCounterVec,
    te_success: IntCounterVec,
    te_failure: IntCounterVec,
    te_duration: Histogram,
    te_tokenization: Histogram,
    te_queue: Histogram,
    te_inference: Histogram,
    te_length: Histogram,
    te_batch_size: Histogram,
    te_batch_tokens: Histogram,
    te_queue_size: Gauge,
}

/// Makes metrics and registers them.
struct Maker(Registry);

impl Maker {
    fn register<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<Gauge> {
        self.register(Gauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
        self.register(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options)?)
    }

    /// A histogram for each model, and for each value of a second label if there is one.
    fn by_model(
        &self,
        name: &str,
        help: &str,
        label: Option<&str>,
        buckets: &[f64],
    ) -> Result<HistogramVec> {
        let labels: Vec<&str> = std::iter::once("model").chain(label).collect();
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, &labels)?)
    }
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// When two metrics have one name, which a test would show.
    pub fn new() -> Result<Metrics> {
        let make = Maker(Registry::new());
        let (inputs, tokens, model) = (&counts(10), &counts(15), &["model"]);
        let answered = "Requests answered, by protocol, route and status code";
        let phases = "Where the time of a request goes: tokenization, queue, inference, total";
        let waits = "What waits or runs: requests, inputs, tokens, running inputs";
        let te = |phase: &str, help: &str| {
            make.histogram(&format!("te_request_{phase}duration"), help, &SECONDS)
        };
        Ok(Metrics {
            requests: make.counter(
                "gradus_requests_total",
                answered,
                &["protocol", "route", "code"],
            )?,
            phases: make.by_model("gradus_phase_seconds", phases, Some("phase"), &SECONDS)?,
            batch_inputs: make.by_model(
                "gradus_batch_inputs",
                "Inputs of a batch",
                None,
                inputs,
            )?,
            batch_tokens: make.by_model(
                "gradus_batch_tokens",
                "Tokens of a batch",
                None,
                tokens,
            )?,
            batch_seconds: make.by_model(
                "gradus_batch_seconds",
                "Time of a batch",
                None,
                &SECONDS,
            )?,
            queue: make.gauges("gradus_queue", waits, &["model", "version", "what"])?,
            inputs: make.counter("gradus_inputs_total", "Inputs computed", model)?,
            tokens: make.counter("gradus_tokens_total", "Tokens computed", model)?,
            in_flight: make.gauge("gradus_requests_in_flight", "Requests being answered")?,
            te_count: make.counter("te_request_count", "Requests, by method", &["method"])?,
            te_success: make.counter(
                "te_request_success",
                "Requests answered, by method",
                &["method"],
            )?,
            te_failure: make.counter(
                "te_request_failure",
                "Requests failed, by error",
                &["err"],
            )?,
            te_duration: te("", "Seconds of a request")?,
            te_tokenization: te("tokenization_", "Seconds of encoding")?,
            te_queue: te("queue_", "Seconds in the queue")?,
            te_inference: te("inference_", "Seconds of computing")?,
            te_length: make.histogram("te_request_input_length", "Tokens of an input", inputs)?,
            te_batch_size: make.histogram("te_batch_next_size", "Inputs of a batch", inputs)?,
            te_batch_tokens: make.histogram("te_batch_next_tokens", "Tokens of a batch", tokens)?,
            te_queue_size: make.gauge("te_queue_size", "Requests in the queue")?,
            registry: make.0,
        })
    }

    /// A request came in.
    pub fn begin(&self) {
        self.in_flight.inc();
    }

    /// A request was answered, or given up by its client.
    pub fn end(&self) {
        self.in_flight.dec();
    }

    /// Notes an answer. `computing` says that the request was a question to a model, `failure`
    /// which kind of problem it had.
    pub fn answered(
        &self,
        protocol: &str,
        route: &str,
        code: u16,
        computing: bool,
        failure: Option<&str>,
    ) {
        self.requests.with_label_values(&[protocol, route, &code.to_string()]).inc();
        if computing {
            self.te_count.with_label_values(&[route]).inc();
            match failure {
                None => self.te_success.with_label_values(&[route]).inc(),
                Some(kind) => self.te_failure.with_label_values(&[kind]).inc(),
            }
        }
    }

    /// A model answered a request.
    pub fn asked(&self, model: &str, usage: &Usage) {
        let phase = |name: &str, time: Duration| {
            self.phases.with_label_values(&[model, name]).observe(time.as_secs_f64());
        };
        phase("tokenization", usage.tokenized);
        phase("queue", usage.queued);
        phase("inference", usage.computed);
        phase("total", usage.total);
        self.inputs.with_label_values(&[model]).inc_by(usage.inputs as u64);
        self.tokens.with_label_values(&[model]).inc_by(usage.tokens as u64);
        self.te_duration.observe(usage.total.as_secs_f64());
        self.te_tokenization.observe(usage.tokenized.as_secs_f64());
        self.te_queue.observe(usage.queued.as_secs_f64());
        self.te_inference.observe(usage.computed.as_secs_f64());
        self.te_length.observe(usage.tokens as f64 / usage.inputs.max(1) as f64);
    }

    /// A batch was computed.
    pub fn batch(&self, model: &str, report: &BatchReport) {
        let (inputs, tokens) = (report.inputs as f64, report.tokens as f64);
        self.batch_inputs.with_label_values(&[model]).observe(inputs);
        self.batch_tokens.with_label_values(&[model]).observe(tokens);
        self.batch_seconds.with_label_values(&[model]).observe(report.duration.as_secs_f64());
        self.te_batch_size.observe(inputs);
        self.te_batch_tokens.observe(tokens);
    }

    /// The text that Prometheus reads; `loads` has the name, version and load of each model.
    pub fn render(&self, loads: impl Iterator<Item = (String, u64, Load)>) -> String {
        self.queue.reset();
        let mut waiting = 0;
        for (name, version, load) in loads {
            let version = version.to_string();
            let counts = [
                ("requests", load.requests),
                ("inputs", load.inputs),
                ("tokens", load.tokens),
                ("running", load.running),
                ("workers", load.workers),
            ];
            for (what, count) in counts {
                self.queue.with_label_values(&[&*name, &*version, what]).set(count as f64);
            }
            waiting += load.requests;
        }
        self.te_queue_size.set(waiting as f64);
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
