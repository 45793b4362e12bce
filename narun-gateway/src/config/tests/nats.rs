use super::*;

#[test]
fn nats_is_accessed_with_the_keys_or_the_url() {
    let some = |text: &str| Some(text.to_owned());
    let user = NatsAccess { username: some("me"), password: some("a secret"), ..Default::default() };
    for (text, expected) in [
        ("", NatsAccess::default()),
        ("nats_url: nats://me:a%20secret@example.com", user.clone()),
        ("nats_username: me\nnats_password: a secret", user),
        ("nats_url: nats://t@example.com", NatsAccess { token: some("t"), ..Default::default() }),
        ("nats_token: t", NatsAccess { token: some("t"), ..Default::default() }),
        ("nats_nkey: SUA", NatsAccess { nkey: some("SUA"), ..Default::default() }),
        ("nats_creds: /a.creds", NatsAccess { creds: Some("/a.creds".into()), ..Default::default() }),
        (
            "nats_tls_ca: /ca.pem\nnats_tls_cert: /cert.pem\nnats_tls_key: /key.pem",
            NatsAccess {
                tls_ca: Some("/ca.pem".into()),
                tls_cert: Some("/cert.pem".into()),
                tls_key: Some("/key.pem".into()),
                ..Default::default()
            },
        ),
    ] {
        assert_eq!(read(text).unwrap().nats_access(), &expected, "{text}");
    }
    for (text, parts) in [
        ("nats_username: me", &["`nats_username`", "`nats_password`"][..]),
        ("nats_tls_key: k", &["`nats_tls_key`", "`nats_tls_cert`"]),
        ("nats_token: t\nnats_nkey: n", &["`nats_token`", "`nats_nkey`"]),
        ("nats_token: t\nnats_url: nats://a:b@c", &["`nats_token`", "`nats_url`"]),
        ("nats_creds: ''", &["nats_creds: ", "empty"]),
    ] {
        let error = read(text).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn environment_variables_are_replaced_in_texts() {
    // `CARGO_PKG_NAME` is a variable that cargo sets.
    let config = read(
        "nats_url: 'nats://${CARGO_PKG_NAME}'\n\
         server_addr: '${NARUN_UNSET:-127.0.0.1}:80'\n\
         routes:\n\
         - {path: '/${CARGO_PKG_NAME}/$${id}', app: '${CARGO_PKG_NAME}', method: '${NARUN_UNSET:-PUT}'}\n\
         - {path: /b, app: b, methods: ['${NARUN_UNSET:-GET}', POST]}",
    );
    let config = config.unwrap();
    assert_eq!(config.nats_url(), "nats://narun-gateway");
    assert_eq!(config.server_addr().to_string(), "127.0.0.1:80");
    assert_eq!(
        config.routes(),
        [
            Route::put("/narun-gateway/${id}", "narun-gateway"),
            Route::any("/b", "b").methods([Method::GET, Method::POST])
        ]
    );
    for (text, parts) in [
        ("nats_url: '${NARUN_UNSET}'", &["nats_url: ", "`NARUN_UNSET`"][..]),
        ("nats_token: 'a${NARUN_UNSET}'", &["nats_token: ", "`NARUN_UNSET`"]),
        ("routes: [{path: '/${NARUN_UNSET}', app: a}]", &["routes[0].path: ", "`NARUN_UNSET`"]),
        ("routes: [{path: /a, app: a, method: ['${NARUN_UNSET}']}]", &["routes[0].method", "`NARUN_UNSET`"]),
        ("request_timeout_seconds: ${CARGO_PKG_NAME}", &["request_timeout_seconds: ", "a number"]),
    ] {
        let error = read(text).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let config = read("nats_url: nats://me:secret@example.com:4222").unwrap();
    assert_eq!(config.nats_url(), "nats://example.com:4222");
    let text = format!("{config:?}");
    assert!(text.contains("example.com") && !text.contains("secret"), "{text}");
    for bad in ["http://me:secret@example.com", "nats://me:secret@example.com:port"] {
        let error = read(&format!("nats_url: {bad}")).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
