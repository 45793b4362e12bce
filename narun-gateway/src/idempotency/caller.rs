use http::request::Parts;

/// Tells on whose behalf a request is made: a user, an account, a tenant.
///
/// What it says separates callers: an `Idempotency-Key` of one is another key than the same of another, and an outcome
/// is told to the caller alone whose request it was. The name itself is not kept, only its SHA-256. It must be
/// something that a client cannot choose: what the app's authentication found out, not a field as it came.
///
/// Closures of the form `Fn(&Parts) -> Option<String>` are hooks:
///
/// ```
/// use narun_gateway::CallerHook;
///
/// /// What an authenticating layer in front of the gateway notes.
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
    /// The caller, if there is one to tell apart. Called once for each request whose outcome is kept or asked for.
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

/// The hook that tells no callers apart: keys are shared by all clients, and whoever knows an id may read its outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultCallerHook;

impl CallerHook for DefaultCallerHook {
    fn caller(&self, _parts: &Parts) -> Option<String> {
        None
    }
}
