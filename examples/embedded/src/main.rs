//! Checks that narun's crates go into a program that has rustls with its default provider, as most programs have it.
//!
//! A crate that turned on another provider would make rustls panic in code that worked before, since it could not choose.

use std::io::Write;
use std::net::TcpListener;

use narun_consumer as _;
use narun_gateway::async_nats::{ConnectErrorKind, ConnectOptions};
use narun_gateway::config::Config;
use narun_grpc::auth::{CertificateSubject, JsonWebTokens, RequiredClaims};

/// What a nats-server with TLS sends first.
const INFO: &[u8] =
    br#"INFO {"server_id":"A","version":"2.11.0","port":4222,"max_payload":1048576,"tls_required":true}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The program's own use of TLS.
    let _ = rustls::ServerConfig::builder();
    let _ = rustls::ClientConfig::builder();

    let _ = (Config::default(), CertificateSubject::new());
    let _ = JsonWebTokens::hs256(b"a secret of 32 bytes or more, please", RequiredClaims::any());
    let _ = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();

    // narun's: async-nats makes its TLS configuration after the server's first line, and uses the same provider.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(INFO)?;
        stream.write_all(b"\r\n")
    });
    match ConnectOptions::new().connect(address.to_string()).await {
        Err(error) if matches!(error.kind(), ConnectErrorKind::Io | ConnectErrorKind::Tls) => {}
        other => {
            return Err(
                format!("the handshake should have failed, since the server ends it: {other:?}").into()
            );
        }
    }
    server.join().map_err(|_| "the server panicked")??;
    println!("the crates go beside rustls");
    Ok(())
}
