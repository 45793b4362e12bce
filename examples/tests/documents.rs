//! Checks that the repository's documents name files that exist, and that the map covers all modules.

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

#[test]
fn the_map_covers_all_modules() {
    let text = read("CONTRIBUTING.md");
    let sections: Vec<_> = text.split("\n### ").filter(|section| section.starts_with("narun-")).collect();
    assert_eq!(sections.len(), 5, "a section for each crate");
    for section in sections {
        let source = root().join(code(section).next().expect("the folder of the crate"));
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let modules: BTreeSet<_> = rows.flat_map(code).collect();
        for module in &modules {
            let file = source.join(format!("{module}.rs"));
            let is_path = module.chars().all(|c| c.is_ascii_lowercase() || "_/".contains(c));
            assert!(!is_path || file.exists() || source.join(module).is_dir(), "no {}", file.display());
        }
        for entry in fs::read_dir(&source).expect("the source of the crate") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            let name = name.strip_suffix(".rs").unwrap_or(&name);
            let below = format!("{name}/");
            let is_covered =
                modules.iter().any(|module| *module == name || module.starts_with(&below)) || name == "lib";
            assert!(is_covered || name == "generated", "{} is not in the map", source.join(name).display());
        }
    }
}
