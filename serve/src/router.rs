//! All paths, with the middleware around them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use tower::Layer;
use tower::util::MapRequestLayer;

use crate::app::App;
use crate::error::{Kind, Problem};
use crate::{middleware, names, openapi, page, protocols, root_path};

/// All paths, also under the root path at which a proxy shows them.
pub fn router(app: &Arc<App>) -> Router {
    match app.root_path.as_str() {
        "" => routes(app),
        root => root_path::below(root, routes(app)),
    }
}

fn routes(app: &Arc<App>) -> Router {
    // With a port of their own, the metrics are not here as well.
    let metrics = match app.separate_metrics {
        true => Router::new(),
        false => protocols::metrics_route(),
    };
    let router = protocols::routes()
        .merge(metrics)
        .merge(page::routes())
        .merge(openapi::routes(&app.root_path))
        .fallback(|uri: Uri| async move {
            let path: String = uri.path().chars().take(200).collect();
            Problem::new(Kind::NotFound, format!("there is nothing at `{path}`; see /docs"))
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let path: String = uri.path().chars().take(200).collect();
            Problem::new(Kind::Method, format!("`{path}` has no method {method}; see /docs"))
        })
        .layer(from_fn_with_state(Arc::clone(app), middleware::handle))
        .with_state(Arc::clone(app));
    // A layer of the router itself would come after the path has been matched.
    let app = Arc::clone(app);
    let joined = move |request: Request| with_joined_name(request, &app);
    Router::new().fallback_service(MapRequestLayer::new(joined).layer(router))
}

/// The request with the slash in a model's name percent-encoded, as the routes expect it.
fn with_joined_name(mut request: Request, app: &App) -> Request {
    let uri = request.uri();
    let Some(path) = names::joined(uri.path(), |name| app.models.knows(name)) else {
        return request;
    };
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    if let Ok(uri) = Uri::try_from(path) {
        *request.uri_mut() = uri;
    }
    request
}

/// The paths of the port for metrics.
pub fn metrics_router(app: &Arc<App>) -> Router {
    protocols::health_route()
        .merge(protocols::metrics_route())
        .layer(from_fn_with_state(Arc::clone(app), middleware::known_host))
        .with_state(Arc::clone(app))
}
