//! Checks that the repository's documents name files that exist, and that the map covers all modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 5] =
    ["README.md", "CONTRIBUTING.md", "SECURITY.md", "benches/README.md", "narun-core/fuzz/README.md"];

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

/// Adds the names of all tests below a folder.
fn tests_below(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests_below(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let mut is_test = false;
            for line in text.lines().map(str::trim_start) {
                if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                    names.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
                }
                let continues = is_test && (line.starts_with("#[") || line.starts_with("//"));
                is_test = continues || line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            }
        }
    }
}

/// The first cells of a table's rows: names between backticks.
fn first_cells(text: &str) -> impl Iterator<Item = String> {
    let rows = text.lines().filter_map(|line| line.trim_start_matches("//! ").strip_prefix("| `"));
    rows.filter_map(|row| row.split(" |").next()).flat_map(|cell| {
        let cell = format!("`{cell}");
        code(&cell).map(str::to_owned).collect::<Vec<_>>()
    })
}

#[test]
fn each_threat_has_a_test_that_exists() {
    let mut names = BTreeSet::new();
    for folder in
        ["narun-core", "narun-core/nats", "narun-gateway", "narun-consumer", "narun-grpc", "examples"]
    {
        for part in ["src", "tests"] {
            let folder = root().join(folder).join(part);
            if folder.is_dir() {
                tests_below(&folder, &mut names);
            }
        }
    }
    for program in ["faults", "bad_input", "crowd"] {
        names.extend(first_cells(&read(&format!("benches/src/bin/{program}.rs"))));
    }
    names.extend(first_cells(&read("narun-core/fuzz/README.md")));
    let text = read("narun-gateway/THREATS.md");
    let (_, threats) = text.split_once("## Threats\n").expect("the section");
    let (threats, _) = threats.split_once("\n## ").expect("a section after it");
    let mut tests = 0;
    for row in threats.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        if cells[0].starts_with("**") {
            continue;
        }
        let named: Vec<_> = code(cells[3]).collect();
        assert!(!named.is_empty(), "a threat without a test: {}", cells[0]);
        for name in named {
            assert!(names.contains(name), "no test {name}");
            tests += 1;
        }
    }
    assert!(tests > 30, "{tests} tests are named");
}
