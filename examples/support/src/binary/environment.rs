//! The environment of a look-up: variables, and the directory of the cache.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// The environment of a look-up, as a value that tests can make.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    /// `NATS_SERVER`, unless empty.
    pub(super) nats_server: Option<OsString>,
    /// `PATH`.
    pub(super) path: OsString,
    /// The directory of fetched servers; it need not exist.
    pub(super) cache: PathBuf,
}

impl Environment {
    pub(super) fn current() -> Result<Self, Error> {
        let executable = env::current_exe().unwrap_or_default();
        let target = target_dir(env::var_os("CARGO_TARGET_DIR"), &executable);
        let cache = target.join("nats-server");
        Ok(Self {
            nats_server: env::var_os("NATS_SERVER").filter(|path| !path.is_empty()),
            path: env::var_os("PATH").unwrap_or_default(),
            // A relative path would change its meaning with the working directory.
            cache: std::path::absolute(&cache).map_err(Error::file(cache))?,
        })
    }

    /// The first executable of that name on the `PATH`.
    pub(super) fn on_path(&self, name: &str) -> Option<PathBuf> {
        env::split_paths(&self.path).map(|directory| directory.join(name)).find(|file| {
            file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
    }
}

/// Cargo's target directory.
///
/// This is `CARGO_TARGET_DIR` if that is absolute. A relative one is ignored, as cargo runs tests in
/// another working directory than its own. Otherwise it is the directory above the executable that
/// cargo marks with a `CACHEDIR.TAG`, or else the one of this workspace.
fn target_dir(variable: Option<OsString>, executable: &Path) -> PathBuf {
    if let Some(directory) = variable.map(PathBuf::from)
        && directory.is_absolute()
    {
        return directory;
    }
    let tagged = executable.ancestors().skip(1).find(|directory| directory.join("CACHEDIR.TAG").is_file());
    match tagged {
        Some(directory) => directory.to_owned(),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_absolute_variable_is_used() {
        let target = target_dir(Some("/somewhere".into()), Path::new("/nowhere/program"));
        assert_eq!(target, Path::new("/somewhere"));
    }

    #[test]
    fn the_directory_is_found_above_the_executable() {
        let target = tempfile::tempdir().expect("a directory");
        fs::write(target.path().join("CACHEDIR.TAG"), "").expect("a tag");
        let executable = target.path().join("debug/deps/it-0123456789abcdef");
        for variable in [None, Some("target".into()), Some("".into())] {
            assert_eq!(target_dir(variable, &executable), target.path());
        }
    }

    #[test]
    fn the_workspace_is_used_if_nothing_else_is_found() {
        let target = target_dir(None, Path::new("/nowhere/program"));
        let workspace = target.parent().expect("a parent");
        assert!(workspace.join("Cargo.lock").is_file());
        assert!(target.ends_with("target"));
    }
}
