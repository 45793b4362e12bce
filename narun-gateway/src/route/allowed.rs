use std::fmt;

use http::{HeaderValue, Method};

/// The methods of a host and path, for the `Allow` field of a 405 (RFC 9110, 10.2.1).
///
/// Sorted by name, each once, with `HEAD` if `GET` is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowedMethods(Vec<Method>);

impl AllowedMethods {
    pub(crate) fn new(mut methods: Vec<Method>) -> Self {
        if methods.contains(&Method::GET) {
            methods.push(Method::HEAD);
        }
        methods.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        methods.dedup();
        Self(methods)
    }

    /// The value of an `Allow` field.
    pub(crate) fn to_value(&self) -> HeaderValue {
        // Cannot fail: methods are tokens, and a list of them is a valid field value, even if it is empty.
        HeaderValue::try_from(self.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// The list in the form of the `Allow` field: `GET, HEAD, POST`.
impl fmt::Display for AllowedMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, method) in self.0.iter().enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(f, "{comma}{method}")?;
        }
        Ok(())
    }
}
