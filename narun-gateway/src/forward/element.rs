use std::fmt::{self, Write};
use std::net::IpAddr;

/// An element of `Forwarded` (RFC 7239, 4). Parameters that are `None` are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) client: Option<IpAddr>,
    pub(super) host: Option<&'a str>,
    pub(super) proto: Option<&'a str>,
}

impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(client) = self.client {
            match client {
                IpAddr::V4(client) => write!(f, "for={client}")?,
                // The brackets must be quoted (RFC 7239, 6).
                IpAddr::V6(client) => write!(f, "for=\"[{client}]\"")?,
            }
            separator = ";";
        }
        for (name, value) in [("host", self.host), ("proto", self.proto)] {
            if let Some(value) = value {
                write!(f, "{separator}{name}=")?;
                write_value(f, value)?;
                separator = ";";
            }
        }
        Ok(())
    }
}

/// Writes a token, or anything else as a quoted string (RFC 9110, 5.6.2 and 5.6.4).
fn write_value(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    if !value.is_empty() && value.bytes().all(is_token) {
        return f.write_str(value);
    }
    f.write_char('"')?;
    for char in value.chars() {
        if matches!(char, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(char)?;
    }
    f.write_char('"')
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
