//! The settings of a server.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use narun_support::{Binary, Error, Release, Server};

use crate::wire::{Connection, http_get};

#[test]
fn the_requested_version_is_run() {
    for version in Binary::known() {
        let binary = Binary::version(version).expect("a binary");
        let server = Server::builder().binary(binary).start().expect("a server");
        let info = Connection::open(server.port()).info;
        assert!(info.contains(&format!("\"version\":\"{version}\"")), "{info}");
    }
}

#[test]
fn an_older_version_has_jetstream_and_restarts() {
    let binary = Binary::version("2.10.26").expect("a binary");
    assert_eq!(binary.release(), Release::new(2, 10, 26));
    let setup = Server::builder().binary(binary).jetstream(true);
    let mut server = setup.start().expect("a server");
    let port = server.port();
    server.kill().expect("a dead server");
    server.restart().expect("the server again");
    let info = Connection::open(port).info;
    assert!(info.contains("\"jetstream\":true"), "{info}");
}

#[test]
fn the_configuration_is_used_except_for_its_address() {
    let config = "server_name: somebody\nlisten: \"0.0.0.0:1\"\njetstream: {max_mem: 1MB}";
    let server = Server::builder().config(config).start().expect("a server");
    let info = Connection::open(server.port()).info;
    assert!(info.contains("\"server_name\":\"somebody\""), "{info}");
    assert!(info.contains("\"host\":\"127.0.0.1\""), "{info}");
    assert!(info.contains("\"jetstream\":true"), "{info}");
    assert!(server.store_dir().is_dir());
}

#[test]
fn every_message_is_synced_if_that_is_set() {
    let setting = |server: &Server| {
        let log = fs::read_to_string(server.log_path()).expect("a log");
        let (_, rest) = log.rsplit_once("http monitor on 127.0.0.1:").expect("a monitor");
        let port = rest.lines().next().and_then(|port| port.parse().ok()).expect("a port");
        http_get(port, "/jsz").contains("\"sync_always\": true")
    };
    let setup = Server::builder().jetstream(true).config("http: \"127.0.0.1:-1\"");
    let server = setup.clone().start().expect("a server");
    assert!(!setting(&server));

    let mut server = setup.sync_always(true).start().expect("a server");
    assert!(setting(&server));
    server.restart().expect("the server again");
    assert!(setting(&server));
}

#[test]
fn a_store_directory_that_is_set_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = directory.path().join("mine");
    let setup = Server::builder().jetstream(true).store_dir(&store);
    let server = setup.start().expect("a server");
    assert_eq!(server.store_dir(), store);
    drop(server);
    assert!(store.join("jetstream").is_dir());
}

#[test]
fn an_invalid_configuration_is_an_error_with_the_log() {
    let result = Server::builder().config("no_such_setting: 1").start();
    let Err(Error::Exited { log, .. }) = result else {
        panic!("{result:?}");
    };
    assert!(log.contains("no_such_setting"), "{log}");
}

#[test]
fn a_fixed_port_is_used_if_it_is_free() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let result = Server::builder().port(port).start();
    let Err(Error::Exited { log, .. }) = result else {
        panic!("{result:?}");
    };
    assert!(log.contains("address already in use"), "{log}");

    drop(listener);
    let server = Server::builder().port(port).start().expect("a server");
    assert_eq!(server.port(), port);
    Connection::open(port);
}
