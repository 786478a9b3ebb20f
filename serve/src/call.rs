//! A request as the protocols see it: with its body, read within limits, and its caller.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::app::App;
use crate::error::{Kind, Problem, Result};
use crate::json;
use crate::media::Media;
use crate::offload::offload;
use crate::question::{Caller, EncodeOptions};

/// The message for a form where JSON should be.
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
    /// When it is not JSON.
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
    /// When it is not a JSON object.
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

    /// How texts are encoded where the protocol has no fields for it: as the server was started.
    pub fn default_options(&self) -> EncodeOptions {
        EncodeOptions { truncate: self.app.limits.truncate, ..EncodeOptions::default() }
    }

    /// Refuses parameters of the query that the protocol knows and this server cannot obey. The
    /// message is the parameter's name and `why`.
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

/// Reads a body within `patience`, and within `most` bytes both before and after decompression.
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

/// Decompresses; `None` when the result has more than `most` bytes.
fn inflate(reader: impl Read, most: usize) -> Result<Option<Bytes>> {
    let mut bytes = Vec::new();
    let limit = (most as u64).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes).map_err(|e| {
        Problem::invalid(format!("the body does not match its content encoding: {e}"))
    })?;
    Ok((bytes.len() <= most).then(|| bytes.into()))
}
