use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A block of IP addresses, such as `10.0.0.0/8`, `2001:db8::/32` or `192.0.2.1` (RFC 4632, RFC 4291).
///
/// An IPv4 block contains the IPv4-mapped IPv6 addresses too. All addresses are the two blocks `0.0.0.0/0` and `::/0`.
///
/// ```
/// use narun_gateway::Cidr;
///
/// let block: Cidr = "192.0.2.0/24".parse()?;
/// assert!(block.contains([192, 0, 2, 7].into()));
/// assert!(!block.contains([192, 0, 3, 7].into()));
/// # Ok::<(), narun_gateway::ParseCidrError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

impl Cidr {
    /// Returns whether the block contains the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                (block.to_bits() ^ address.to_bits()).leading_zeros() >= self.length.into()
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                (block.to_bits() ^ address.to_bits()).leading_zeros() >= self.length.into()
            }
            _ => false,
        }
    }

    /// Whether the address has no bits after the prefix.
    fn is_first(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.to_bits().trailing_zeros() >= 32 - u32::from(self.length),
            IpAddr::V6(address) => address.to_bits().trailing_zeros() >= 128 - u32::from(self.length),
        }
    }
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let mut address: IpAddr = address.parse().map_err(|_| ParseCidrError::Address)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let mut length = match length {
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().ok().filter(|length| *length <= most).ok_or(ParseCidrError::Length(most))?
            }
            Some(_) => return Err(ParseCidrError::Length(most)),
            None => most,
        };
        if !(Self { address, length }).is_first() {
            return Err(ParseCidrError::Bits);
        }
        // As all addresses that are compared.
        if address.is_ipv6() && address.to_canonical().is_ipv4() && length >= 96 {
            address = address.to_canonical();
            length -= 96;
        }
        Ok(Self { address, length })
    }
}

/// The text form: an address, a slash, and the length of the prefix.
impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error of parsing a [`Cidr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCidrError {
    /// There is no IP address before the slash.
    #[error("not an IP address, or one with a slash and the length of a prefix")]
    Address,
    /// What follows the slash is not a number up to this one.
    #[error("the length of the prefix is not a number from 0 to {0}")]
    Length(u8),
    /// The address has bits after the prefix, as in `10.0.0.1/8`.
    #[error("the address has bits after the prefix")]
    Bits,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Cidr {
        text.parse().expect(text)
    }

    #[test]
    fn blocks_contain_their_addresses() {
        for (text, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..],
                &["11.0.0.0", "9.255.255.255"][..],
            ),
            ("192.0.2.1", &["192.0.2.1"], &["192.0.2.0", "192.0.2.3"]),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127", "192.0.3.128"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::1"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "10.0.0.1"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            ("::/0", &["::1", "ffff::"], &["127.0.0.1"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0"]),
        ] {
            for address in inside {
                assert!(block(text).contains(address.parse().unwrap()), "{text} {address}");
            }
            for address in outside {
                assert!(!block(text).contains(address.parse().unwrap()), "{text} {address}");
            }
        }
    }

    #[test]
    fn invalid_blocks_are_errors() {
        for text in ["", "/8", "10.0.0/8", "a/8", "10.0.0.0 /8", "010.0.0.0/8", "[::1]/128", "localhost"] {
            assert_eq!(text.parse::<Cidr>(), Err(ParseCidrError::Address), "{text}");
        }
        for text in
            ["10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "::/a"]
        {
            assert!(matches!(text.parse::<Cidr>(), Err(ParseCidrError::Length(_))), "{text}");
        }
        for text in ["10.0.0.1/8", "192.0.2.1/0", "2001:db8::1/32"] {
            assert_eq!(text.parse::<Cidr>(), Err(ParseCidrError::Bits), "{text}");
        }
    }

    #[test]
    fn the_text_form_is_parsed_again() {
        for (text, shown) in [("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128"), ("192.0.2.1", "192.0.2.1/32")]
        {
            assert_eq!(block(text).to_string(), shown);
            assert_eq!(block(shown), block(text));
        }
    }
}
