//! `POST /trace`: a page that tells what a model does with a text, operation by operation. It is off
//! unless the server was started with `--trace`.

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::native::text;
use super::shared::model;
use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::json::Fields;
use crate::offload::offload;
use crate::question::Text;
use crate::scheduler::Failure;
use crate::served::Served;

const FIELDS: [&str; 3] = ["inputs", "model", "target"];

/// The page is one file with its script and style in it. It gets an origin of its own, so that it can
/// ask this server nothing.
const POLICY: &str = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One trace at a time: they would wait for each other anyway, each on a thread.
static ONE: Semaphore = Semaphore::const_new(1);

/// The page about a text.
pub async fn trace(call: Call) -> Result<Response> {
    if !call.app.access.traces {
        let message = "this server traces no texts; --trace lets it";
        return Err(Problem::new(Kind::Forbidden, message));
    }
    let mut fields: Fields = call.fields().await?;
    let served = model::any(&call, &mut fields)?;
    let target = fields.string("target")?;
    let text = text(fields.required("inputs")?)?;
    fields.end(&FIELDS)?;
    let made = async {
        let turn = ONE.acquire().await;
        offload(usize::MAX, move || {
            // The thread holds its turn to its end: nobody can stop it at the deadline.
            let _turn = turn;
            page(&served, &text, target.as_deref())
        })
        .await
    };
    let made = tokio::time::timeout_at(call.caller.deadline.into(), made).await;
    let html = made.unwrap_or_else(|_| Err(Failure::Expired.into()))?;
    let mut response = html.into_response();
    let mut set =
        |name, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CACHE_CONTROL, "no-store");
    Ok(response)
}

fn page(served: &Arc<Served>, text: &Text, target: Option<&str>) -> Result<String> {
    let (text, pair) = match text {
        Text::Plain(text) => (text.as_str(), None),
        Text::Pair(text, pair) => (text.as_str(), Some(pair.as_str())),
        Text::Ids(_) => {
            return Err(Problem::field("inputs", "has token ids; a trace takes a text"));
        }
    };
    let traced = served.pipeline().trace(text, pair, target);
    let traced = traced.map_err(|error| match error {
        gradus_models::Error::Input(_) => Problem::of_input(&error),
        other => Problem::new(Kind::Internal, other.to_string()),
    })?;
    Ok(traced.page(format!("trace: {}", served.name)).to_html())
}
