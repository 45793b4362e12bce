use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::{Settings, SettingsError, VARIABLES};

fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    Settings::from_variables(|variable| variables.get(variable).map(Into::into))
}

#[test]
fn every_setting_has_a_default() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.nats_urls, ["nats://127.0.0.1:4222"]);
    assert_eq!((settings.grpc_port, settings.consul_port), (50056, 8500));
    assert_eq!((settings.jetstream, settings.consul), (true, false));
    assert_eq!(settings.service_name, "nats-grpc-service");
}

#[test]
fn variables_override_defaults() {
    let settings = read(&[
        ("NATS_URLS", "nats://a:4222, tls://b"),
        ("GRPC_PORT", "0"),
        ("CONSUL_ENABLED", "true"),
        ("NATS_JETSTREAM_DOMAIN", ""),
    ])
    .unwrap();
    assert_eq!(settings.nats_urls, ["nats://a:4222", "tls://b"]);
    assert_eq!((settings.grpc_port, settings.consul), (0, true));
    assert_eq!(settings.jetstream_domain, None);
}

#[test]
fn errors_name_the_variable_and_no_value() {
    for (variable, value) in [
        ("GRPC_PORT", "65536"),
        ("CONSUL_PORT", "x"),
        ("CONSUL_ENABLED", "maybe"),
        ("NATS_URLS", ","),
        ("NATS_URLS", "nats://[secret"),
        ("NATS_PASSWORD", "secret"),
        ("NATS_TLS_KEY", "secret"),
    ] {
        let error = read(&[(variable, value)]).unwrap_err().to_string();
        assert!(error.contains(variable) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn user_and_password_are_taken_out_of_the_urls() {
    let settings = read(&[("NATS_URLS", "nats://ann:secret@a,nats://ann:secret@b:1")]).unwrap();
    assert_eq!(settings.nats_urls, ["nats://a", "nats://b:1"]);
    assert_eq!(settings.access.username.as_deref(), Some("ann"));
    assert_eq!(settings.access.password.as_deref(), Some("secret"));
    let error = read(&[("NATS_URLS", "nats://ann:secret@a"), ("NATS_TOKEN", "secret")]).unwrap_err();
    assert_eq!(error.to_string(), "NATS_URLS and NATS_TOKEN exclude each other");
    let error = read(&[("NATS_URLS", "ann:secret@a,bob:secret@b")]).unwrap_err().to_string();
    assert!(error.contains("NATS_URLS") && !error.contains("secret"), "{error}");
}

#[test]
fn debug_has_no_secrets() {
    for secret in ["NATS_TOKEN", "NATS_NKEY", "NATS_URLS", "CONSUL_HTTP_TOKEN", "GRPC_ACK_TOKEN_KEY"] {
        let settings = read(&[(secret, "secretsecretsecretsecretsecretsecret")]);
        assert!(!format!("{:?}", settings.unwrap()).contains("secret"));
    }
}

#[test]
fn every_variable_is_in_the_table() {
    let asked = RefCell::new(BTreeSet::new());
    let settings = Settings::from_variables(|variable| {
        asked.borrow_mut().insert(variable.to_owned());
        None
    });
    settings.unwrap();
    // Set by shells.
    asked.borrow_mut().remove("HOSTNAME");
    let known: BTreeSet<_> = VARIABLES.iter().map(|variable| variable.name.to_owned()).collect();
    assert_eq!(*asked.borrow(), known);
    let flags: BTreeSet<_> = VARIABLES.iter().map(|variable| variable.flag).collect();
    assert_eq!(flags.len(), VARIABLES.len());
}

#[test]
fn variables_of_the_service_are_checked() {
    for variable in VARIABLES.iter().map(|variable| variable.name) {
        if !variable.starts_with("GRPC_") {
            continue;
        }
        let error = read(&[(variable, "-secret")]).map(drop).unwrap_err().to_string();
        assert!(error.contains(variable) && !error.contains("secret"), "{error}");
    }
    for (variable, value) in [
        ("GRPC_SCOPE", "organization"),
        ("GRPC_KV_STORAGE", "memory"),
        ("GRPC_COMPRESS_RESPONSES", "true"),
        ("GRPC_QUOTA_STREAMS", "unlimited"),
        ("GRPC_ACK_TOKEN_KEY", "a secret of 32 bytes or more, please"),
        ("GRPC_TIMEOUT_SECONDS", "5"),
    ] {
        assert!(read(&[(variable, value)]).is_ok(), "{variable}");
    }
    assert!(read(&[("GRPC_ACK_TOKEN_KEY", "short")]).is_err());
    assert!(read(&[("GRPC_KV_HISTORY", "0")]).is_err());
    assert!(read(&[("GRPC_KV_HISTORY", "65")]).is_err());
    assert!(read(&[("GRPC_OBJECT_REPLICAS", "6")]).is_err());
}
