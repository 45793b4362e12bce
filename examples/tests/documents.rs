//! Checks that the repository's documents name files that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 4] =
    ["README.md", "CONTRIBUTING.md", "benches/README.md", "narun-core/fuzz/README.md"];

/// Path prefixes that mark a piece of code in CONTRIBUTING.md as a path.
const FOLDERS: [&str; 6] = ["narun-", "examples/", "benches/", ".ci/", "Cargo.", "README.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).expect(document)
}

/// The pieces of a text between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

#[test]
fn links_lead_to_files_and_headings() {
    for document in DOCUMENTS {
        let text = read(document);
        let headings: BTreeSet<_> = text.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
        let folder = root().join(document);
        let folder = folder.parent().expect("a document is in a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            match link.strip_prefix('#') {
                Some(heading) => assert!(headings.contains(heading), "{document}: no heading #{heading}"),
                None if link.contains("://") => {}
                None => assert!(folder.join(link).exists(), "{document}: no file {link}"),
            }
        }
    }
}

#[test]
fn paths_in_contributing_exist() {
    let text = read("CONTRIBUTING.md");
    let prose = text.split("```").step_by(2).collect::<String>();
    for path in code(&prose).filter(|code| FOLDERS.iter().any(|folder| code.starts_with(folder))) {
        let is_crate = !path.contains(['/', '.']);
        assert!(is_crate || path.contains("NAME") || root().join(path).exists(), "no {path}");
    }
}
