//! Starting, ending and restarting.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use narun_support::Server;

use crate::wire::{Connection, eventually, listens};

#[test]
fn a_server_greets_on_its_port_with_its_version() {
    let server = Server::start().expect("a server");
    assert_eq!(server.url(), format!("nats://127.0.0.1:{}", server.port()));
    let info = Connection::open(server.port()).info;
    let version = format!("\"version\":\"{}\"", server.binary().release());
    assert!(info.contains(&version), "{info}");
    assert!(!info.contains("\"jetstream\":true"), "{info}");
}

#[test]
fn servers_do_not_share_a_port_or_store() {
    let one = Server::builder().jetstream(true).start().expect("one");
    let other = Server::builder().jetstream(true).start().expect("other");
    assert_ne!(one.port(), other.port());
    assert_ne!(one.pid(), other.pid());
    assert_ne!(one.store_dir(), other.store_dir());
}

#[test]
fn a_killed_server_restarts_with_its_port_and_store() {
    let mut server = Server::builder().jetstream(true).start().expect("a server");
    let (port, pid) = (server.port(), server.pid());
    let stream = r#"{"name":"S","subjects":["s"],"storage":"file"}"#;
    let created = server.request("$JS.API.STREAM.CREATE.S", stream).expect("a response");
    assert!(!created.contains("\"error\""), "{created}");
    let stored = server.request("s", "x").expect("a response");
    assert!(stored.contains("\"seq\":1"), "{stored}");

    server.kill().expect("a dead server");
    assert_eq!(server.pid(), None);
    assert!(!listens(port));
    server.kill().expect("a second kill to do nothing");

    server.restart().expect("the server again");
    assert_eq!(server.port(), port);
    assert!(server.pid().is_some());
    assert_ne!(server.pid(), pid);
    let found = server.request("$JS.API.STREAM.INFO.S", "").expect("a response");
    assert!(found.contains("\"messages\":1"), "{found}");
}

#[test]
fn a_running_server_is_killed_and_restarted() {
    let mut server = Server::start().expect("a server");
    let (port, pid) = (server.port(), server.pid());
    server.restart().expect("the server again");
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    Connection::open(port);
}

#[test]
fn a_restart_waits_for_its_port() {
    let mut server = Server::start().expect("a server");
    let (port, log) = (server.port(), server.log_path());
    server.kill().expect("a dead server");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port");

    let restart = thread::spawn(move || server.restart().map(|()| server));
    eventually("a refused start", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("address already in use"))
    });
    drop(listener);
    let server = restart.join().expect("no panic").expect("the server again");
    assert_eq!(server.port(), port);
}

#[test]
fn a_stopped_server_shuts_down_in_order() {
    let mut server = Server::start().expect("a server");
    let port = server.port();
    server.stop().expect("a stopped server");
    assert_eq!(server.pid(), None);
    assert!(!listens(port));
    let log = fs::read_to_string(server.log_path()).expect("a log");
    assert!(log.contains("Server Exiting"), "{log}");

    server.restart().expect("the server again");
    assert_eq!(server.port(), port);
}

#[test]
fn dropping_a_server_ends_it_and_removes_its_files() {
    let server = Server::builder().jetstream(true).start().expect("a server");
    let (port, log, store) = (server.port(), server.log_path(), server.store_dir());
    assert!(log.is_file());
    assert!(store.is_dir());
    drop(server);
    assert!(!listens(port));
    assert!(!log.parent().expect("a directory").exists());
    assert!(!store.exists());
}
