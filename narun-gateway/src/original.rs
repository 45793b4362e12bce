//! The URI of a request with the path that the client sent, where axum has taken the prefix of a nested router off it.

use http::{Request, Uri};

/// The request's URI with the prefix of the nested router. Returns `None` if axum has taken no prefix off.
///
/// Only the prefix is put back. A path that was changed by something else too counts as it is, because that was done on
/// purpose. So do the query and the authority.
#[cfg(feature = "axum")]
pub(crate) fn uri<B>(request: &Request<B>) -> Option<Uri> {
    use axum::extract::{NestedPath, OriginalUri};

    let nested: &NestedPath = request.extensions().get()?;
    let OriginalUri(original) = request.extensions().get()?;
    let uri = request.uri();
    let prefix = prefix(original.path(), uri.path())?;
    if !matches(prefix, nested.as_str()) {
        return None;
    }
    let path_and_query = match uri.query() {
        query if query == original.query() => original.path_and_query()?.clone(),
        None => original.path().parse().ok()?,
        Some(query) => format!("{}?{query}", original.path()).parse().ok()?,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).ok()
}

/// The URI of the request itself counts without axum.
#[cfg(not(feature = "axum"))]
pub(crate) const fn uri<B>(_request: &Request<B>) -> Option<Uri> {
    None
}

/// What was taken off the beginning of `original` if `path` is left. Returns `None` if `path` is not its end.
#[cfg(feature = "axum")]
fn prefix<'a>(original: &'a str, path: &str) -> Option<&'a str> {
    match original.strip_suffix(path) {
        // What is left of the path of the nested router itself is a slash.
        None if path == "/" => Some(original),
        prefix => prefix,
    }
}

/// Returns whether a path is that of a nested router. Empty segments do not count, as axum takes some of them off, too.
#[cfg(feature = "axum")]
fn matches(prefix: &str, nested: &str) -> bool {
    let segments = |path| str::split(path, '/').filter(|segment| !segment.is_empty());
    let is_parameter = |pattern: &str| {
        pattern.starts_with('{')
            && pattern.ends_with('}')
            && !pattern.starts_with("{{")
            && !pattern.ends_with("}}")
    };
    let mut prefix = segments(prefix);
    let all = segments(nested)
        .all(|pattern| prefix.next().is_some_and(|segment| segment == pattern || is_parameter(pattern)));
    all && prefix.next().is_none()
}

#[cfg(all(test, feature = "axum"))]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use axum::middleware::{Next, from_fn};
    use tower_service::Service;

    use super::*;

    /// A router whose fallback responds with the URI that counts, after a middleware has rewritten the URI from the first to
    /// the second.
    fn router(rewritten: Option<(&'static str, &'static str)>) -> Router {
        let fallback = async |request: Request| {
            let restored = uri(&request);
            restored.unwrap_or_else(|| request.uri().clone()).to_string()
        };
        let rewrite = move |mut request: Request, next: Next| {
            if let Some((from, to)) = rewritten {
                assert_eq!(request.uri(), from);
                *request.uri_mut() = Uri::from_static(to);
            }
            next.run(request)
        };
        Router::new().fallback(fallback).layer(from_fn(rewrite))
    }

    async fn counts(mut app: Router, target: &str) -> String {
        let request = Request::builder().uri(target).body(Body::empty()).unwrap();
        let response = app.call(request).await.unwrap();
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_prefix_of_a_nested_router_is_put_back() {
        for (nested, target) in [
            ("/api", "/api/users?a=b"),
            ("/api", "/api"),
            ("/api", "/api?a=b"),
            ("/api", "/api//users"),
            ("/api", "http://a.example/api/api/users?"),
            ("/api/", "/api/users"),
            ("/{tenant}/api", "/a/api/users"),
            ("/{tenant}/api", "/a/api"),
        ] {
            // With a parameter, two fallbacks would be at the same path.
            if !nested.contains('{') {
                assert_eq!(
                    counts(Router::new().nest(nested, router(None)), target).await,
                    target,
                    "{nested}"
                );
            }
            let service = Router::new().nest_service(nested, router(None));
            assert_eq!(counts(service, target).await, target, "{nested} as a service");
        }
        assert_eq!(counts(Router::new().nest_service("/api", router(None)), "/api/").await, "/api/");
        let deep = Router::new().nest_service("/{version}", Router::new().nest("/users", router(None)));
        for target in ["/api/v1/users/1", "/api/v1/users", "/api/v1/users/v1/users"] {
            assert_eq!(counts(Router::new().nest("/api", deep.clone()), target).await, target);
        }
    }

    #[tokio::test]
    async fn what_a_middleware_has_rewritten_counts() {
        for (target, to) in [("/api/users", "/users"), ("/api/users", "/"), ("/users?token=1", "/users")] {
            assert_eq!(counts(router(Some((target, to))), target).await, to);
        }
        for (target, from, to, expected) in [
            ("/api/v1/users", "/v1/users", "/users", "/users"),
            ("/api/users", "/users", "/", "/"),
            ("/api/users", "/users", "/api/users", "/api/users"),
            ("/api/users", "/users", "/others", "/others"),
            ("/api/users?token=1", "/users?token=1", "/users", "/api/users"),
            ("/api/users?token=1&a=b", "/users?token=1&a=b", "/users?a=b", "/api/users?a=b"),
            ("/api?token=1", "/?token=1", "/", "/api"),
            ("/api/users", "/users", "http://a.example/users", "http://a.example/api/users"),
        ] {
            let app = Router::new().nest("/api", router(Some((from, to))));
            assert_eq!(counts(app, target).await, expected, "{target}");
        }
    }
}
