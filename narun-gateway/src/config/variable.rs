//! Environment variables in the texts of the file.

use std::borrow::Cow;

/// Replaces `${NAME}` by the value of an environment variable, `${NAME:-default}` also by the default if the variable is
/// unset or empty, and `$${` by `${`. A default is a plain text. The error says what is wrong, as the end of a sentence.
pub(super) fn expand<'a>(
    text: &'a str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Cow<'a, str>, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.push_str(escaped);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            return Err("`${` is not closed; write `$${` for the text itself".to_owned());
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        // None of these errors shows the text: it can be a part of a password.
        if !is_name(name) {
            let what = "what is in `${…}` is not the name of an environment variable";
            return Err(format!("{what}; write `$${{` for the text itself"));
        }
        if default.is_some_and(|default| default.contains("${")) {
            return Err(format!("the default of the environment variable `{name}` has `${{` in it"));
        }
        match (variable(name), default) {
            (Some(value), None) => expanded.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => expanded.push_str(&value),
            (_, Some(default)) => expanded.push_str(default),
            (None, None) => {
                return Err(format!("the environment variable `{name}` is not set, or is not text"));
            }
        }
        rest = after;
    }
    if expanded.is_empty() && rest.len() == text.len() {
        return Ok(Cow::Borrowed(text));
    }
    expanded.push_str(rest);
    Ok(Cow::Owned(expanded))
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    name.bytes().all(is_part) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("nats.example".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("a$b$$c {d}", "a$b$$c {d}"),
            ("${HOST}", "nats.example"),
            ("nats://${HOST}:4222/${HOST}", "nats://nats.example:4222/nats.example"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${UNSET:-}", ""),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${HOST:-x}", "nats.example"),
            ("$${HOST}", "${HOST}"),
            ("/$${id}/${HOST}", "/${id}/nats.example"),
        ] {
            assert_eq!(expand(text, variable).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_an_error() {
        for (text, part) in [
            ("${UNSET}", "`UNSET` is not set"),
            ("a${", "not closed"),
            ("${HOST", "not closed"),
            ("${}", "not the name"),
            ("${1A}", "not the name"),
            ("${A B}", "not the name"),
            ("${A-b}", "not the name"),
            ("${UNSET:-${HOST}}", "default"),
            ("${HOST:-${UNSET}}", "default"),
            ("${UNSET:-a$${HOST}", "default"),
        ] {
            let error = expand(text, variable).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn errors_do_not_show_what_can_be_part_of_a_password() {
        for text in ["top${se-cret}", "${se-cret:-x}", "${HOST:-${secret}}", "${UNSET:-se-cret${"] {
            let error = expand(text, variable).unwrap_err();
            assert!(!error.contains("cret"), "{text}: {error}");
        }
    }
}
