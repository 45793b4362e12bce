//! Three servers in one cluster.

use std::cell::Cell;
use std::collections::BTreeSet;

use narun_support::Cluster;

use crate::wire::{eventually, listens};

const STREAM: &str = r#"{"name":"S","subjects":["s"],"storage":"file","num_replicas":3}"#;

fn ask(cluster: &Cluster, number: usize, subject: &str, payload: &str) -> String {
    cluster.servers()[number].request(subject, payload).expect("a response")
}

/// The number of the server that leads the stream, once there is one.
fn leader(cluster: &Cluster) -> usize {
    let leader = Cell::new(None);
    eventually("a leader", || {
        leader.set(cluster.stream_leader("S"));
        leader.get().is_some()
    });
    leader.get().expect("a leader")
}

#[test]
fn a_stream_survives_its_leader() {
    let mut cluster = Cluster::start().expect("a cluster");
    let urls = cluster.urls();
    assert_eq!(cluster.url(), urls[0]);
    assert_eq!(urls.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(cluster.stream_leader("S"), None);

    let created = ask(&cluster, 0, "$JS.API.STREAM.CREATE.S", STREAM);
    assert!(!created.contains("\"error\""), "{created}");
    leader(&cluster);
    let stored = ask(&cluster, 1, "s", "x");
    assert!(stored.contains("\"seq\":1"), "{stored}");

    let leader = leader(&cluster);
    cluster.server(leader).kill().expect("a dead server");
    eventually("another leader", || cluster.stream_leader("S").is_some_and(|other| other != leader));
    cluster.wait().expect("a cluster of two");
    let found = ask(&cluster, (leader + 1) % 3, "$JS.API.STREAM.INFO.S", "");
    assert!(found.contains("\"messages\":1"), "{found}");

    cluster.server(leader).restart().expect("the server again");
    cluster.wait().expect("a cluster of three");
    assert_eq!(cluster.urls(), urls);
    let found = ask(&cluster, leader, "$JS.API.STREAM.INFO.S", "");
    assert!(found.contains("\"messages\":1"), "{found}");
}

#[test]
fn a_request_is_answered_once_there_is_a_leader() {
    let mut cluster = Cluster::start().expect("a cluster");
    ask(&cluster, 0, "$JS.API.STREAM.CREATE.S", STREAM);
    let leader = leader(&cluster);
    cluster.server(leader).kill().expect("a dead server");
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    let found = others.map(|other| ask(&cluster, other, "$JS.API.STREAM.INFO.S", ""));
    assert!(found.iter().all(|found| found.contains("\"messages\":0")), "{found:?}");

    // The servers may not be connected with each other yet.
    cluster.server(leader).restart().expect("the server again");
    let found = ask(&cluster, leader, "$JS.API.STREAM.INFO.S", "");
    assert!(found.contains("\"messages\":0"), "{found}");
}

#[test]
fn dropping_a_cluster_ends_it_and_removes_its_files() {
    let cluster = Cluster::start().expect("a cluster");
    let left: Vec<_> = cluster.servers().iter().map(|server| (server.port(), server.store_dir())).collect();
    drop(cluster);
    for (port, store) in left {
        assert!(!listens(port));
        assert!(!store.exists());
    }
}
