//! `--root-path`: the path under which a proxy shows the server, such as `/models/bert`. Some
//! proxies remove it before they pass a request on, and some do not; the server answers both. The
//! OpenAPI document names it.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header, uri::PathAndQuery};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

/// The path with a `/` at its beginning and none at its end.
///
/// # Errors
/// When the text is no path.
pub fn parse(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let fit = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
    match path.is_empty() || (path.starts_with('/') && path.chars().all(fit)) {
        true => Ok(path.to_string()),
        false => Err(format!("--root-path is `{text}`; it must be a path, as /models/bert")),
    }
}

/// The routes, and the same routes below `root`.
pub fn below(root: &str, routes: Router) -> Router {
    let root = root.to_string();
    Router::new().fallback(move |mut request: Request| {
        let (root, routes) = (root.clone(), routes.clone());
        async move {
            match stripped(request.uri(), &root) {
                // The links of the page are relative to its folder.
                Some(None) => moved(&root),
                Some(Some(uri)) => {
                    *request.uri_mut() = uri;
                    answered(routes, request).await
                }
                None => answered(routes, request).await,
            }
        }
    })
}

async fn answered(routes: Router, request: Request) -> Response {
    routes.oneshot(request).await.unwrap_or_else(|never| match never {})
}

fn moved(root: &str) -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, format!("{root}/"))]).into_response()
}

/// The target without the root path: `None` if it does not begin with it, `Some(None)` if it is the
/// root path itself.
fn stripped(uri: &Uri, root: &str) -> Option<Option<Uri>> {
    let rest = uri.path().strip_prefix(root)?;
    if rest.is_empty() {
        return Some(None);
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = PathAndQuery::try_from(format!("{rest}{query}")).ok()?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = rest.starts_with('/').then_some(target);
    parts.path_and_query.as_ref()?;
    Uri::from_parts(parts).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_taken_off_where_it_is() {
        let of = |target: &str| {
            stripped(&target.parse().unwrap(), "/a/b").map(|u| u.map(|u| u.to_string()))
        };
        assert_eq!(of("/a/b/embed?x=1"), Some(Some("/embed?x=1".into())));
        assert_eq!(of("/a/b/"), Some(Some("/".into())));
        assert_eq!(of("/a/b"), Some(None));
        assert_eq!(of("/a/bc"), None);
        assert_eq!(of("/embed"), None);
        assert_eq!(of("http://host/a/b/embed"), Some(Some("http://host/embed".into())));
    }

    #[test]
    fn paths_are_read() {
        assert_eq!(parse("/a/b/").unwrap(), "/a/b");
        assert_eq!(parse("/").unwrap(), "");
        for bad in ["a/b", "/a b", "http://x/a", "/a?b"] {
            assert!(parse(bad).unwrap_err().contains("--root-path"), "{bad}");
        }
    }
}
