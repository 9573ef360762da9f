//! Tables in comments that name, for each rule of a contract, the tests that fail without it.

use std::{collections::HashSet, fs, path::Path};

/// The rows of all tables of a file.
pub(crate) fn rows(file: &str) -> Vec<&str> {
    file.lines().filter(|line| line.starts_with("//! | ")).collect()
}

/// Every test that a file's tables name is there, in one of these folders of the crate.
pub(crate) fn each_test_is_there(file: &str, folders: &[&str]) {
    let mut all = String::new();
    for folder in folders {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
    }
    let mut words = HashSet::new();
    for line in all.lines().map(str::trim) {
        let line = line.strip_prefix("async ").unwrap_or(line);
        words.extend(line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()));
    }
    for row in rows(file) {
        let tests = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2);
        for test in tests {
            assert!(words.contains(test), "there is no test {test}");
        }
    }
}

/// The text of all Rust files below a folder.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
