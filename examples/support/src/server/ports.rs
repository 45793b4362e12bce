//! The file in which a server says what ports it listens on.

use std::fs;
use std::path::Path;

/// The port for clients of the server with that process id, once it listens there.
///
/// The server names the file after its program and process id, `nats-server_4711.ports`.
pub(super) fn client(directory: &Path, pid: u32) -> Option<u16> {
    let end = format!("_{pid}.ports");
    let entry = fs::read_dir(directory)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().ends_with(&end))?;
    parse(&fs::read_to_string(entry.path()).ok()?)
}

/// Reads `{"nats": ["nats://127.0.0.1:4222"], …}`, but not the beginning of it: the server writes
/// the file in place.
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
    fn reads_the_port_for_clients() {
        assert_eq!(parse(FILE), Some(40001));
    }

    #[test]
    fn takes_nothing_from_an_unfinished_file() {
        for end in 0..FILE.len() {
            assert_eq!(parse(&FILE[..end]), None, "{}", &FILE[..end]);
        }
    }

    #[test]
    fn is_not_misled_by_the_file_of_another_process() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("nats-server_112.ports"), FILE).expect("a file");
        assert_eq!(client(directory.path(), 12), None);
        assert_eq!(client(directory.path(), 112), Some(40001));
    }
}
