use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use async_nats::{ConnectError, ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

use crate::nats_client::NatsClient;

/// How a program authenticates to NATS, and its files for TLS. Default: not at all, and the system's authorities.
///
/// ```no_run
/// # async fn connect() -> Result<(), narun_nats::AccessError> {
/// let client = narun_nats::NatsAccess::from_env()?.connect("tls://nats.example.com").await?;
/// # Ok(())
/// # }
/// ```
///
/// At most one of user and password, `token`, `creds` and `nkey` may be set. Debug output shows no secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NatsAccess {
    /// The user. Needs `password`.
    pub username: Option<String>,
    /// The password of `username`.
    pub password: Option<String>,
    /// A token.
    pub token: Option<String>,
    /// A file with credentials: a user's JWT and seed.
    pub creds: Option<PathBuf>,
    /// The seed of a user's nkey.
    pub nkey: Option<String>,
    /// A file with certificate authorities in PEM, instead of those of the system. Requires TLS.
    pub tls_ca: Option<PathBuf>,
    /// A file with the client's certificate in PEM. Needs `tls_key`, and requires TLS.
    pub tls_cert: Option<PathBuf>,
    /// A file with the key of `tls_cert` in PEM.
    pub tls_key: Option<PathBuf>,
}

/// Why there is no connection with a [`NatsAccess`]. Settings are named like its fields. No secret is part of the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// An environment variable is not text.
    #[error("`{setting}` is not text in UTF-8")]
    NotText {
        /// The setting that it is for.
        setting: &'static str,
    },
    /// A setting needs another one.
    #[error("`{setting}` needs `{other}` to be set too")]
    Incomplete {
        /// The setting.
        setting: &'static str,
        /// The missing one.
        other: &'static str,
    },
    /// There are two ways to authenticate.
    #[error("`{setting}` and `{other}` exclude each other")]
    Several {
        /// One of them.
        setting: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// The URL of a server is invalid.
    #[error("the URL of a NATS server is invalid")]
    Url(#[source] io::Error),
    /// The URLs of the servers have different users: a client has one for all of them.
    #[error("the URLs of the NATS servers have different users or passwords")]
    Users,
    /// A file cannot be read, or its content is invalid.
    #[error("`{setting}`: unreadable file")]
    File {
        /// The setting with its path.
        setting: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The servers cannot be reached, or refuse the connection.
    #[error("cannot connect to NATS")]
    Connect(#[source] ConnectError),
}

impl NatsAccess {
    /// Reads the environment: `NATS_USERNAME` with `NATS_PASSWORD`, `NATS_TOKEN`, `NATS_CREDS` (a file), `NATS_NKEY` (a
    /// seed), `NATS_TLS_CA` (a file), and `NATS_TLS_CERT` with `NATS_TLS_KEY` (files). An empty variable counts as unset.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check), and [`AccessError::NotText`].
    pub fn from_env() -> Result<Self, AccessError> {
        Self::from_variables(|variable| std::env::var_os(variable))
    }

    /// Like [`from_env`](Self::from_env), with another source of variables.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_variables(read: impl Fn(&str) -> Option<OsString>) -> Result<Self, AccessError> {
        let given = |variable| read(variable).filter(|value| !value.is_empty());
        let text = |setting, variable| {
            given(variable)
                .map(OsString::into_string)
                .transpose()
                .map_err(|_| AccessError::NotText { setting })
        };
        let access = Self {
            username: text("username", "NATS_USERNAME")?,
            password: text("password", "NATS_PASSWORD")?,
            token: text("token", "NATS_TOKEN")?,
            creds: given("NATS_CREDS").map(PathBuf::from),
            nkey: text("nkey", "NATS_NKEY")?,
            tls_ca: given("NATS_TLS_CA").map(PathBuf::from),
            tls_cert: given("NATS_TLS_CERT").map(PathBuf::from),
            tls_key: given("NATS_TLS_KEY").map(PathBuf::from),
        };
        access.check().map(|()| access)
    }

    /// Connects to servers, whose URLs are separated by commas and may have user and password. `async_nats::connect` would
    /// ignore both there.
    ///
    /// The client reports [missing permissions](crate::NatsEvents).
    ///
    /// # Errors
    ///
    /// Those of [`take_from`](Self::take_from) and [`connect_options`](Self::connect_options), and
    /// [`AccessError::Connect`].
    pub async fn connect(mut self, urls: &str) -> Result<NatsClient, AccessError> {
        let servers = self.take_from(urls.split(',').map(str::trim))?;
        let options = self.connect_options().await?;
        NatsClient::connect(options, servers).await.map_err(AccessError::Connect)
    }

    /// Parses the URLs of servers, and takes user and password out of them: async-nats would ignore both there. A user
    /// without a password is a token, as in other NATS clients. Both may be percent-encoded.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if a URL is invalid, or there is another way to authenticate already.
    pub fn take_from<'a>(
        &mut self,
        urls: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<ServerAddr>, AccessError> {
        let mut taken: Option<(String, Option<String>)> = None;
        let mut addresses = Vec::new();
        for url in urls {
            let address: ServerAddr = url.parse().map_err(AccessError::Url)?;
            let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(Cow::into_owned);
            let username = address.username().map(decoded).transpose().map_err(not_text)?;
            let password = address.password().map(decoded).transpose().map_err(not_text)?;
            if username.is_some() || password.is_some() {
                let userinfo = (username.unwrap_or_default(), password);
                if taken.as_ref().is_some_and(|taken| *taken != userinfo) {
                    return Err(AccessError::Users);
                }
                taken = Some(userinfo);
            }
            let mut address = address.into_inner();
            // Neither fails for a URL that has a host, and one without a host has neither.
            let _ = address.set_username("").and(address.set_password(None));
            addresses.push(ServerAddr::from_url(address).map_err(AccessError::Url)?);
        }
        if let Some((username, password)) = taken {
            if let Some(other) = self.ways().next() {
                return Err(AccessError::Several { setting: "url", other });
            }
            match password {
                Some(password) => (self.username, self.password) = (Some(username), Some(password)),
                None => self.token = Some(username),
            }
        }
        Ok(addresses)
    }

    /// Checks which settings there are. Reads no file.
    ///
    /// # Errors
    ///
    /// [`AccessError::Incomplete`] and [`AccessError::Several`].
    pub fn check(&self) -> Result<(), AccessError> {
        for (setting, is_set, other, other_is_set) in [
            ("username", self.username.is_some(), "password", self.password.is_some()),
            ("tls_cert", self.tls_cert.is_some(), "tls_key", self.tls_key.is_some()),
        ] {
            match (is_set, other_is_set) {
                (true, false) => return Err(AccessError::Incomplete { setting, other }),
                (false, true) => return Err(AccessError::Incomplete { setting: other, other: setting }),
                _ => {}
            }
        }
        let mut ways = self.ways();
        match (ways.next(), ways.next()) {
            (Some(setting), Some(other)) => Err(AccessError::Several { setting, other }),
            _ => Ok(()),
        }
    }

    /// The options of a client with these settings.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check), and [`AccessError::File`].
    pub async fn connect_options(&self) -> Result<ConnectOptions, AccessError> {
        self.check()?;
        let mut options = ConnectOptions::new();
        if let (Some(username), Some(password)) = (&self.username, &self.password) {
            options = options.user_and_password(username.clone(), password.clone());
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        if let Some(seed) = &self.nkey {
            options = options.nkey(seed.trim().to_owned());
        }
        if let Some(path) = &self.creds {
            let read = options.credentials_file(path).await;
            options = read.map_err(|source| AccessError::File { setting: "creds", source })?;
        }
        // async-nats reads these only when it connects, and again for each connection.
        for (setting, path) in
            [("tls_ca", &self.tls_ca), ("tls_cert", &self.tls_cert), ("tls_key", &self.tls_key)]
        {
            if let Some(path) = path {
                File::open(path).map_err(|source| AccessError::File { setting, source })?;
            }
        }
        if let Some(path) = &self.tls_ca {
            options = options.add_root_certificates(path.clone()).require_tls(true);
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            options = options.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
        }
        Ok(options)
    }

    /// The ways to authenticate that are set.
    fn ways(&self) -> impl Iterator<Item = &'static str> + use<> {
        let ways = [
            ("username", self.username.is_some() || self.password.is_some()),
            ("token", self.token.is_some()),
            ("creds", self.creds.is_some()),
            ("nkey", self.nkey.is_some()),
        ];
        ways.into_iter().filter_map(|(way, is_set)| is_set.then_some(way))
    }
}

impl fmt::Debug for NatsAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsAccess")
            .field("username", &self.username)
            .field("creds", &self.creds)
            .field("tls_ca", &self.tls_ca)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key)
            .finish_non_exhaustive()
    }
}

fn not_text(error: std::str::Utf8Error) -> AccessError {
    AccessError::Url(io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(urls: &[&str]) -> Result<(NatsAccess, Vec<String>), AccessError> {
        let mut access = NatsAccess::default();
        let addresses = access.take_from(urls.iter().copied())?;
        Ok((access, addresses.into_iter().map(|address| address.as_url_str().to_owned()).collect()))
    }

    fn user(username: &str, password: &str) -> NatsAccess {
        let (username, password) = (Some(username.to_owned()), Some(password.to_owned()));
        NatsAccess { username, password, ..Default::default() }
    }

    #[test]
    fn user_and_password_are_taken_out_of_urls() {
        for (urls, access, addresses) in [
            (&["nats://a:4222"][..], NatsAccess::default(), &["nats://a:4222"][..]),
            (&["nats://u:p@a:4222"], user("u", "p"), &["nats://a:4222"]),
            (&["tls://u%40x:p%2F%25@[::1]"], user("u@x", "p/%"), &["tls://[::1]"]),
            (&["u:p@a", "nats://b", "u:p@c"], user("u", "p"), &["nats://a", "nats://b", "nats://c"]),
            (&["u:@a"], NatsAccess { token: Some("u".into()), ..Default::default() }, &["nats://a"]),
            (&["t@a"], NatsAccess { token: Some("t".into()), ..Default::default() }, &["nats://a"]),
        ] {
            let (taken, urls) = taken(urls).unwrap();
            assert_eq!(
                (taken, &urls[..]),
                (access, &addresses.iter().map(|&url| url.into()).collect::<Vec<String>>()[..])
            );
        }
        assert!(matches!(taken(&["u:p@a", "u:q@b"]), Err(AccessError::Users)));
        assert!(matches!(taken(&["u:%ff@a"]), Err(AccessError::Url(_))));
        assert!(matches!(taken(&["http://a"]), Err(AccessError::Url(_))));
    }

    #[test]
    fn there_is_one_way_to_authenticate() {
        let token = || Some("t".to_owned());
        let mut access = NatsAccess { token: token(), ..Default::default() };
        let error = access.take_from(["nats://u:p@a"]).unwrap_err();
        assert_eq!(error.to_string(), "`url` and `token` exclude each other");
        let access = NatsAccess { token: token(), nkey: token(), ..Default::default() };
        assert!(matches!(access.check(), Err(AccessError::Several { setting: "token", other: "nkey" })));
        let access = NatsAccess { token: token(), ..user("u", "p") };
        assert!(matches!(access.check(), Err(AccessError::Several { setting: "username", other: "token" })));
        user("u", "p").check().unwrap();
    }

    #[test]
    fn pairs_are_complete() {
        let some = || Some("x".to_owned());
        for (access, setting, other) in [
            (NatsAccess { username: some(), ..Default::default() }, "username", "password"),
            (NatsAccess { password: some(), ..Default::default() }, "password", "username"),
            (NatsAccess { tls_cert: Some("x".into()), ..Default::default() }, "tls_cert", "tls_key"),
            (NatsAccess { tls_key: Some("x".into()), ..Default::default() }, "tls_key", "tls_cert"),
        ] {
            let error = access.check().unwrap_err().to_string();
            assert_eq!(error, format!("`{setting}` needs `{other}` to be set too"));
        }
    }

    #[test]
    fn debug_output_has_no_secrets() {
        let secret = || Some("secret".to_owned());
        let access = NatsAccess {
            username: Some("ann".to_owned()),
            password: secret(),
            token: secret(),
            nkey: secret(),
            ..Default::default()
        };
        let text = format!("{access:?}");
        assert!(text.contains("ann") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn the_environment_is_read() {
        let read = |variables: &'static [(&str, &str)]| {
            NatsAccess::from_variables(|name| {
                variables.iter().find_map(|(variable, value)| (*variable == name).then(|| value.into()))
            })
        };
        assert_eq!(read(&[]).unwrap(), NatsAccess::default());
        assert_eq!(read(&[("NATS_TOKEN", ""), ("NATS_CREDS", "")]).unwrap(), NatsAccess::default());
        assert_eq!(read(&[("NATS_USERNAME", "u"), ("NATS_PASSWORD", "p")]).unwrap(), user("u", "p"));
        let expected =
            NatsAccess { nkey: Some("n".into()), tls_ca: Some("/ca".into()), ..Default::default() };
        assert_eq!(read(&[("NATS_NKEY", "n"), ("NATS_TLS_CA", "/ca")]).unwrap(), expected);
        assert!(matches!(read(&[("NATS_TLS_CERT", "c")]), Err(AccessError::Incomplete { .. })));
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let missing = || Some(PathBuf::from("/nowhere"));
        for (access, name) in [
            (NatsAccess { creds: missing(), ..Default::default() }, "creds"),
            (NatsAccess { tls_ca: missing(), ..Default::default() }, "tls_ca"),
            (NatsAccess { tls_cert: missing(), tls_key: missing(), ..Default::default() }, "tls_cert"),
        ] {
            let error = access.connect_options().await.unwrap_err();
            assert!(matches!(error, AccessError::File { setting, .. } if setting == name), "{error}");
        }
    }
}
