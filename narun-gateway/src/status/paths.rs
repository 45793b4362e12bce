use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderValue;
use http::uri::PathAndQuery;
use narun_core::ExchangeId;

/// The paths of the status resources of a gateway.
#[derive(Debug)]
pub(crate) struct StatusPaths {
    prefix: String,
    active: AtomicBool,
}

impl StatusPaths {
    /// The paths below `prefix`, served at once, or below the default prefix, served after [`start`](Self::start). Returns
    /// `None` if the prefix is not a path that begins and ends with a slash.
    pub(crate) fn new(prefix: Option<String>) -> Option<Self> {
        let active = AtomicBool::new(prefix.is_some());
        let prefix = prefix.unwrap_or_else(|| "/.narun/requests/".to_owned());
        let is_path = prefix.len() > 1
            && prefix.starts_with('/')
            && prefix.ends_with('/')
            && PathAndQuery::try_from(prefix.as_str()).is_ok_and(|path| path.path() == prefix)
            && HeaderValue::try_from(prefix.as_str()).is_ok();
        is_path.then_some(Self { prefix, active })
    }

    /// Serves them from now on, even when there are no durable routes any more: outcomes outlive their routes.
    pub(crate) fn start(&self) {
        self.active.store(true, Ordering::Relaxed);
    }

    /// Whether this is the path of a status resource that is served.
    pub(crate) fn serve(&self, path: &str) -> bool {
        self.id_of(path).is_some() && self.active.load(Ordering::Relaxed)
    }

    /// The id in a path, which may be invalid. Returns `None` if the path has another prefix.
    pub(super) fn id_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.prefix.as_str())
    }

    /// The `Location` of this request's status resource.
    pub(crate) fn location(&self, id: &ExchangeId) -> HeaderValue {
        // Cannot fail: both parts are valid.
        HeaderValue::try_from(format!("{}{id}", self.prefix))
            .unwrap_or_else(|_| HeaderValue::from_static("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_must_be_a_path_between_slashes() {
        for good in ["/x/", "/.narun/requests/", "/a%20b/"] {
            assert!(StatusPaths::new(Some(good.to_owned())).is_some(), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "/a?b/", "/a#b/", "/a b/", "/a\r\n/", "http://host/"] {
            assert!(StatusPaths::new(Some(bad.to_owned())).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_location_is_the_prefix_and_the_id() {
        let paths = StatusPaths::new(None).expect("a path");
        let id = ExchangeId::from_bytes([7; 16]);
        let location = paths.location(&id);
        let path = location.to_str().expect("text");
        assert_eq!(path, format!("/.narun/requests/{id}"));
        assert_eq!(paths.id_of(path).map(str::parse), Some(Ok(id)));
        assert_eq!(paths.id_of("/.narun/requests"), None);
        assert!(!paths.serve(path), "not started");
        paths.start();
        assert!(paths.serve(path));
        assert!(!paths.serve("/elsewhere"));
    }
}
