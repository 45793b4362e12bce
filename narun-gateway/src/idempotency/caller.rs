use http::request::Parts;
use http::{HeaderMap, HeaderName, header};

/// Names the caller of a request: a user, an account, a tenant.
///
/// The name separates callers: the same `Idempotency-Key` of two callers is two keys, and only the caller of a request can
/// read its outcome. Only the SHA-256 of the name is stored. A client must not be able to take another's name: a name comes
/// from the app's authentication, or is a secret of the client, such as its credentials. A caller whose credentials change,
/// such as access tokens that are renewed, keeps its keys only if the hook names the user.
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

/// The hook that takes the value of one field for the caller. Requests without the field have no caller, and share keys and
/// outcomes with each other.
///
/// ```
/// use narun_gateway::{CallerHook, FieldCallerHook};
///
/// let request = http::Request::builder().header("x-user", "ann").header("authorization", "Bearer a").body(())?;
/// let (parts, ()) = request.into_parts();
/// assert_eq!(FieldCallerHook::default().caller(&parts).as_deref(), Some("Bearer a"));
/// assert_eq!(FieldCallerHook::new("x-user".parse()?).caller(&parts).as_deref(), Some("ann"));
/// assert_eq!(FieldCallerHook::none().caller(&parts), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldCallerHook(Option<HeaderName>);

/// The hook that takes the `Authorization` field for the caller, as [`FieldCallerHook::default`] does: whoever sends the same
/// credentials is the same caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultCallerHook;

impl FieldCallerHook {
    /// Takes this field. Clients must know its value only if they are the caller, as with `Authorization`, or must not be able
    /// to set it, because the app or a proxy does.
    pub const fn new(name: HeaderName) -> Self {
        Self(Some(name))
    }

    /// Takes no field: no request has a caller, so all clients share their keys, and anyone who knows an id can read its
    /// outcome.
    pub const fn none() -> Self {
        Self(None)
    }
}

/// Takes the `Authorization` field.
impl Default for FieldCallerHook {
    fn default() -> Self {
        Self::new(header::AUTHORIZATION)
    }
}

impl CallerHook for FieldCallerHook {
    fn caller(&self, parts: &Parts) -> Option<String> {
        field(&parts.headers, self.0.as_ref()?)
    }
}

impl CallerHook for DefaultCallerHook {
    fn caller(&self, parts: &Parts) -> Option<String> {
        field(&parts.headers, &header::AUTHORIZATION)
    }
}

/// The values of a field, joined as those of a list (RFC 9110, section 5.3). Different bytes are different texts.
fn field(fields: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut caller: Option<String> = None;
    for value in fields.get_all(name) {
        let escaped = value.as_bytes().escape_ascii();
        match &mut caller {
            Some(caller) => *caller = format!("{caller}, {escaped}"),
            None => caller = Some(escaped.to_string()),
        }
    }
    caller
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn caller(values: &[&[u8]]) -> Option<String> {
        let mut parts = Request::new(()).into_parts().0;
        for value in values {
            parts.headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).expect("a value"));
        }
        DefaultCallerHook.caller(&parts)
    }

    #[test]
    fn the_credentials_are_the_caller_by_default() {
        assert_eq!(caller(&[]), None);
        assert_eq!(caller(&[b"Bearer a"]).as_deref(), Some("Bearer a"));
        assert_eq!(caller(&[b"a", b"b"]).as_deref(), Some("a, b"));
    }

    #[test]
    fn callers_with_different_credentials_are_different() {
        let all: [&[&[u8]]; 7] = [&[], &[b""], &[b"a"], &[b"A"], &[b"\xff"], &[b"\xfe"], &[b"\\xff"]];
        let callers = all.map(caller);
        assert!((1..callers.len()).all(|i| !callers[..i].contains(&callers[i])), "{callers:?}");
    }
}
