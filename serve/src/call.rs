//! One request as the protocols see it: its body read within limits, its caller known.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use gradus_tensor::Device;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde_json::Value;

use crate::app::App;
use crate::ask::{Caller, Usage, offload};
use crate::error::{Kind, Problem, Result};
use crate::json;
use crate::media::Media;

/// What is said of a form where JSON should be.
const FORM: &str = "the body is a form; send JSON (with `requests`: json=…, not data=… or files=…)";

/// A request.
pub struct Call {
    /// The server.
    pub app: Arc<App>,
    /// Who asks.
    pub caller: Caller,
    /// The headers.
    pub headers: HeaderMap,
    /// The path and the query.
    pub uri: Uri,
    /// The body, decompressed.
    pub body: Bytes,
}

impl FromRequest<Arc<App>> for Call {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Call> {
        let (parts, body) = request.into_parts();
        let caller = parts.extensions.get::<Caller>().copied();
        let caller = caller.ok_or_else(|| Problem::new(Kind::Internal, "the caller is unknown"))?;
        let body = read(body, &parts.headers, app.limits.body, app.limits.read).await?;
        Ok(Call { app: Arc::clone(app), caller, headers: parts.headers, uri: parts.uri, body })
    }
}

impl Call {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub async fn json(&self) -> Result<Value> {
        let (body, media) = (self.body.clone(), Media::of(&self.headers));
        // Parsing is some ten times faster than encoding.
        offload(body.len() / 10, move || {
            let value = match media.other_charset() {
                true => json::parse(media.text(&body)?.as_bytes()),
                false => json::parse(&body),
            };
            value.map_err(|problem| match media.holds_form(&body) {
                true => Problem::new(Kind::MediaType, FORM),
                false => problem,
            })
        })
        .await
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    /// When it is none.
    pub async fn fields(&self) -> Result<json::Fields> {
        json::Fields::of(self.json().await?, "")
    }

    /// Checks how many inputs there are.
    ///
    /// # Errors
    /// When there are none, or too many.
    pub fn count(&self, inputs: usize, at: &str) -> Result<()> {
        if inputs == 0 {
            let message = format!("`{at}` is empty; send at least one");
            return Err(Problem { param: Some(at.into()), ..Problem::new(Kind::Empty, message) });
        }
        let most = self.app.limits.inputs;
        if inputs > most {
            let message =
                format!("`{at}` has {inputs} inputs; at most {most} are taken (--max-inputs)");
            return Err(Problem {
                param: Some(at.into()),
                ..Problem::new(Kind::TooLarge, message)
            });
        }
        Ok(())
    }

    /// Refuses parameters of the query that the protocol knows and this server cannot obey; `why`
    /// is said after the name.
    ///
    /// # Errors
    /// When one of them asks for something.
    pub fn refuse_query(&self, names: &[&str], why: &str) -> Result<()> {
        let asks = |name: &&&str| {
            self.query(name).is_some_and(|value| !["", "0", "false"].contains(&value.as_str()))
        };
        match names.iter().find(asks) {
            Some(name) => Err(Problem::field(name, why)),
            None => Ok(()),
        }
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&self.uri).ok()?.0;
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Reads a body within `most` bytes, both as it comes and decompressed, and within `patience`.
async fn read(body: Body, headers: &HeaderMap, most: usize, patience: Duration) -> Result<Bytes> {
    let too_large = || {
        let message =
            format!("the body has more than {most} bytes, which is the limit (--max-body)");
        Problem::new(Kind::TooLarge, message)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > most as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(patience, Limited::new(body, most).collect()).await;
    let collected = collected.map_err(|_| {
        let seconds = patience.as_secs_f64();
        let message = format!("the body did not arrive within {seconds} s (--read-timeout)");
        Problem::new(Kind::SlowRequest, message)
    })?;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => return Err(too_large()),
        Err(error) => return Err(Problem::invalid(format!("the body is cut off: {error}"))),
    };
    let encoding = headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim());
    match encoding.map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "identity") => Ok(bytes),
        Some("gzip" | "x-gzip") => offload(bytes.len(), move || {
            inflate(flate2::read::MultiGzDecoder::new(&bytes[..]), most)
        })
        .await?
        .ok_or_else(too_large),
        Some("deflate") => {
            offload(bytes.len(), move || inflate(flate2::read::ZlibDecoder::new(&bytes[..]), most))
                .await?
                .ok_or_else(too_large)
        }
        Some(other) => Err(Problem::new(
            Kind::MediaType,
            format!("the content encoding `{other}` is not known; send gzip, deflate, or none"),
        )),
    }
}

/// Decompresses; `None` when there is more than `most`.
fn inflate(reader: impl Read, most: usize) -> Result<Option<Bytes>> {
    let mut bytes = Vec::new();
    let limit = (most as u64).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes).map_err(|e| {
        Problem::invalid(format!("the body is not what its content encoding says: {e}"))
    })?;
    Ok((bytes.len() <= most).then(|| bytes.into()))
}

/// An answer as JSON; a large one is written out on a thread that may block.
///
/// # Errors
/// Never in practice: the answers are numbers and strings.
pub async fn answer(value: impl Serialize + Send + 'static, numbers: usize) -> Result<Response> {
    // Some ten bytes and a twentieth of a microsecond a number.
    let bytes = offload(numbers / 4, move || {
        serde_json::to_vec(&value).map_err(|e| Problem::new(Kind::Internal, e.to_string()))
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// A small answer as JSON.
pub fn small(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// The headers with which text-embeddings-inference tells what an answer took; times in
/// milliseconds.
pub fn with_usage(mut response: Response, usage: &Usage) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: u128| {
        headers.insert(name, HeaderValue::from(value.min(u64::MAX.into()) as u64));
    };
    set("x-compute-time", (usage.tokenized + usage.computed).as_millis());
    set("x-compute-characters", usage.characters as u128);
    set("x-compute-tokens", usage.tokens as u128);
    set("x-total-time", usage.total.as_millis());
    set("x-tokenization-time", usage.tokenized.as_millis());
    set("x-queue-time", usage.queued.as_millis());
    set("x-inference-time", usage.computed.as_millis());
    let kind = if usage.device == Device::Cpu { "cpu" } else { "gpu" };
    headers.insert("x-compute-type", HeaderValue::from_static(kind));
    response
}
