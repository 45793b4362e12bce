//! Any text is a configuration, or an error that says something.

use narun_gateway::config::Config;

/// The input is the file.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match serde_yaml_ng::from_str::<Config>(text) {
        Ok(config) => {
            for route in config.routes() {
                assert!(!route.to_string().is_empty());
            }
            assert!(!config.request_timeout().is_zero());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
