mod service;
mod variables;

use std::env;
use std::ffi::OsString;
use std::fmt;

use async_nats::ConnectOptions;
use narun_nats::{AccessError, NatsAccess};

pub(crate) use self::service::{BucketVariables, ServiceSettings};
pub use self::variables::{VARIABLES, Variable};

/// Settings of a standalone server, from the environment; see [`from_env`](Self::from_env).
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// `NATS_URLS`: the NATS servers, separated by commas, here without user and password. Default:
    /// `nats://127.0.0.1:4222`.
    pub nats_urls: Vec<String>,
    /// `NATS_JETSTREAM_ENABLED`: whether the server needs JetStream to be ready. Default: true.
    pub jetstream: bool,
    /// `NATS_JETSTREAM_DOMAIN`: the JetStream domain. Default: the domain of the NATS server.
    pub jetstream_domain: Option<String>,
    /// `LOKI_URL`: where a `tracing` layer sends audit records. Default: nowhere.
    pub loki_url: Option<String>,
    /// `CONSUL_ENABLED`: whether to register with Consul. Default: false.
    pub consul: bool,
    /// `CONSUL_HOST`: the host of the agent. Default: `127.0.0.1`.
    pub consul_host: String,
    /// `CONSUL_PORT`: the port of the agent. Default: 8500.
    pub consul_port: u16,
    /// `GRPC_PORT`: the port to listen on. Default: 50056.
    pub grpc_port: u16,
    /// `SERVICE_NAME`: the name to register. Default: `nats-grpc-service`.
    pub service_name: String,
    /// `SERVICE_HOSTNAME`, or else `HOSTNAME`: where clients reach this server. Default: `localhost`.
    pub service_hostname: String,
    access: NatsAccess,
    pub(crate) service: ServiceSettings,
    #[cfg(feature = "consul")]
    consul_token: Option<String>,
}

/// A variable is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The value is invalid. It is not part of the error, as it may be a secret.
    #[error("{variable}: expected {expected}")]
    Unreadable {
        /// The variable.
        variable: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The variable needs another one to be set.
    #[error("{variable} needs {other} to be set too")]
    Incomplete {
        /// The variable.
        variable: &'static str,
        /// The missing variable.
        other: &'static str,
    },
    /// Two variables are two ways to authenticate.
    #[error("{variable} and {other} exclude each other")]
    Several {
        /// One of them.
        variable: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// The file that the variable names cannot be read.
    #[error("{variable}: unreadable file")]
    File {
        /// The variable.
        variable: &'static str,
        /// The error.
        source: std::io::Error,
    },
}

impl Settings {
    /// Reads the environment.
    ///
    /// Besides the variables of the fields, it reads these for [`connect_options`](Self::connect_options):
    /// `NATS_USERNAME` with `NATS_PASSWORD`, `NATS_TOKEN`, `NATS_CREDS` (a file), `NATS_NKEY` (a seed), `NATS_TLS_CA` (a
    /// file), and `NATS_TLS_CERT` with `NATS_TLS_KEY` (files); and `CONSUL_HTTP_TOKEN` for registration with Consul. An
    /// empty variable counts as unset. User and password may be in the URLs instead, `nats://user:password@host`.
    ///
    /// The other variables of [`VARIABLES`] are settings of the service, for
    /// [`NatsServiceBuilder::settings`](crate::NatsServiceBuilder::settings).
    ///
    /// # Errors
    ///
    /// [`SettingsError`], which names the variable.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_variables(|variable| env::var_os(variable))
    }

    /// As [`from_env`](Self::from_env), with this function in place of the environment: for programs that also have flags.
    ///
    /// # Errors
    ///
    /// [`SettingsError`], which names the variable.
    pub fn from_variables(read: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let text = |variable: &'static str| match read(variable).map(OsString::into_string).transpose() {
            Ok(text) => Ok(text.filter(|text| !text.is_empty())),
            Err(_) => Err(SettingsError::Unreadable { variable, expected: "text in UTF-8" }),
        };
        let flag = |variable: &'static str, default: bool| match text(variable)?.as_deref() {
            None => Ok(default),
            Some("true" | "TRUE" | "True" | "1" | "yes" | "on") => Ok(true),
            Some("false" | "FALSE" | "False" | "0" | "no" | "off") => Ok(false),
            Some(_) => Err(SettingsError::Unreadable { variable, expected: "true or false" }),
        };
        let port = |variable: &'static str, default: u16| match text(variable)? {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| SettingsError::Unreadable { variable, expected: "a port, 0 to 65535" }),
        };
        let mut access = NatsAccess::from_variables(&read)?;
        let urls = text("NATS_URLS")?.unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
        let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
        let nats_urls: Vec<_> =
            access.take_from(urls)?.into_iter().map(|address| address.as_url_str().to_owned()).collect();
        if nats_urls.is_empty() {
            return Err(invalid_urls());
        }
        let hostname = text("SERVICE_HOSTNAME")?.or(text("HOSTNAME")?);
        Ok(Self {
            nats_urls,
            jetstream: flag("NATS_JETSTREAM_ENABLED", true)?,
            jetstream_domain: text("NATS_JETSTREAM_DOMAIN")?,
            loki_url: text("LOKI_URL")?,
            consul: flag("CONSUL_ENABLED", false)?,
            consul_host: text("CONSUL_HOST")?.unwrap_or_else(|| "127.0.0.1".to_owned()),
            consul_port: port("CONSUL_PORT", 8500)?,
            grpc_port: port("GRPC_PORT", 50056)?,
            service_name: text("SERVICE_NAME")?.unwrap_or_else(|| "nats-grpc-service".to_owned()),
            service_hostname: hostname.unwrap_or_else(|| "localhost".to_owned()),
            access,
            service: ServiceSettings::read(&text, &flag)?,
            #[cfg(feature = "consul")]
            consul_token: text("CONSUL_HTTP_TOKEN")?,
        })
    }

    #[cfg(feature = "consul")]
    pub(crate) fn consul_token(&self) -> Option<&str> {
        self.consul_token.as_deref()
    }

    /// How to authenticate to NATS, and the files for TLS.
    pub fn nats_access(&self) -> &NatsAccess {
        &self.access
    }

    /// The options to connect to [`nats_urls`](Self::nats_urls) with.
    ///
    /// # Errors
    ///
    /// [`SettingsError::File`] if the credentials cannot be read.
    pub async fn connect_options(&self) -> Result<ConnectOptions, SettingsError> {
        Ok(self.access.connect_options().await?)
    }
}

impl From<AccessError> for SettingsError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Incomplete { setting, other } => {
                Self::Incomplete { variable: variable(setting), other: variable(other) }
            }
            AccessError::Several { setting, other } => {
                Self::Several { variable: variable(setting), other: variable(other) }
            }
            AccessError::NotText { setting } => {
                Self::Unreadable { variable: variable(setting), expected: "text in UTF-8" }
            }
            AccessError::File { setting, source } => Self::File { variable: variable(setting), source },
            AccessError::Users => {
                Self::Unreadable { variable: "NATS_URLS", expected: "URLs with the same user and password" }
            }
            _ => invalid_urls(),
        }
    }
}

/// The variable of a setting of [`NatsAccess`].
fn variable(setting: &str) -> &'static str {
    match setting {
        "username" => "NATS_USERNAME",
        "password" => "NATS_PASSWORD",
        "token" => "NATS_TOKEN",
        "creds" => "NATS_CREDS",
        "nkey" => "NATS_NKEY",
        "tls_ca" => "NATS_TLS_CA",
        "tls_cert" => "NATS_TLS_CERT",
        "tls_key" => "NATS_TLS_KEY",
        _ => "NATS_URLS",
    }
}

fn invalid_urls() -> SettingsError {
    SettingsError::Unreadable { variable: "NATS_URLS", expected: "URLs separated by commas" }
}

impl fmt::Debug for Settings {
    /// Without secrets. The URLs may have passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("jetstream", &self.jetstream)
            .field("jetstream_domain", &self.jetstream_domain)
            .field("consul", &self.consul)
            .field("consul_host", &self.consul_host)
            .field("consul_port", &self.consul_port)
            .field("grpc_port", &self.grpc_port)
            .field("service_name", &self.service_name)
            .field("service_hostname", &self.service_hostname)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
