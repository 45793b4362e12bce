//! The file in which a server lists its ports.

use std::fs;
use std::path::Path;

/// The client port of the server with this process id. Returns `None` until the server listens.
///
/// The name of the file contains the process id: `nats-server_4711.ports`.
pub(super) fn client(directory: &Path, pid: u32) -> Option<u16> {
    let end = format!("_{pid}.ports");
    let entry = fs::read_dir(directory)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().ends_with(&end))?;
    parse(&fs::read_to_string(entry.path()).ok()?)
}

/// Parses `{"nats": ["nats://127.0.0.1:4222"], …}`. Returns `None` if the end is missing, as the
/// server writes the file in place.
fn parse(json: &str) -> Option<u16> {
    let json = json.trim_end().strip_suffix('}')?;
    let (_, urls) = json.split_once("\"nats\"")?;
    let (_, url) = urls.split_once("://")?;
    let (address, _) = url.split_once('"')?;
    let (_, port) = address.rsplit_once(':')?;
    port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
	"nats": [
		"tls://127.0.0.1:40001"
	],
	"monitoring": [
		"http://127.0.0.1:8222"
	]
}"#;

    #[test]
    fn the_client_port_is_parsed() {
        assert_eq!(parse(FILE), Some(40001));
    }

    #[test]
    fn an_unfinished_file_has_no_port() {
        for end in 0..FILE.len() {
            assert_eq!(parse(&FILE[..end]), None, "{}", &FILE[..end]);
        }
    }

    #[test]
    fn the_file_of_another_process_is_ignored() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("nats-server_112.ports"), FILE).expect("a file");
        assert_eq!(client(directory.path(), 12), None);
        assert_eq!(client(directory.path(), 112), Some(40001));
    }
}
