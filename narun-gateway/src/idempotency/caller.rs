use http::request::Parts;

/// Names the caller of a request: a user, an account, a tenant.
///
/// The name separates callers: the same `Idempotency-Key` of two callers is two keys, and only the caller of a request can
/// read its outcome. Only the SHA-256 of the name is stored. A client must not be able to choose the name: take it from the
/// app's authentication, not from a field.
///
/// Closures of the form `Fn(&Parts) -> Option<String>` are hooks:
///
/// ```
/// use narun_gateway::CallerHook;
///
/// /// Inserted by an authenticating layer around the gateway.
/// #[derive(Clone)]
/// struct User(String);
///
/// let hook = |parts: &http::request::Parts| Some(parts.extensions.get::<User>()?.0.clone());
/// # let mut parts = http::Request::new(()).into_parts().0;
/// # assert_eq!(hook.caller(&parts), None);
/// # parts.extensions.insert(User("ann".into()));
/// # assert_eq!(hook.caller(&parts).as_deref(), Some("ann"));
/// ```
pub trait CallerHook: Send + Sync + 'static {
    /// Returns the caller, or `None` if the request has no caller. Called once for each request whose outcome is stored or read.
    fn caller(&self, parts: &Parts) -> Option<String>;
}

impl<F> CallerHook for F
where
    F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
{
    fn caller(&self, parts: &Parts) -> Option<String> {
        self(parts)
    }
}

/// The hook that does not separate callers: all clients share their keys, and anyone who knows an id can read its outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultCallerHook;

impl CallerHook for DefaultCallerHook {
    fn caller(&self, _parts: &Parts) -> Option<String> {
        None
    }
}
