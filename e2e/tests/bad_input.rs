//! The pages of bad inputs and of lessons, and the list of tests that are not asked twice, name tests; here is that each of them exists.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};

/// The inputs that issue by issue were asked for; a page that lost some of them is not the page.
const ROWS: usize = 35;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all functions that stand behind a test attribute.
fn tests() -> Result<BTreeSet<String>> {
    let mut folders = vec![root()];
    let mut names = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(tests_of(&std::fs::read_to_string(&path)?));
            }
        }
    }
    Ok(names)
}

fn tests_of(source: &str) -> impl Iterator<Item = String> {
    let behind = source.split("#[test]\n").skip(1).chain(source.split("#[tokio::test").skip(1));
    behind.filter_map(|rest| {
        let name = rest.split_once("fn ")?.1;
        Some(name.split(['(', '<']).next()?.to_owned())
    })
}

#[test]
fn every_bad_input_has_its_tests() -> Result<()> {
    let (page, tests) = (std::fs::read_to_string(root().join("docs/bad-input.md"))?, tests()?);
    ensure!(tests.len() > 300, "only {} tests were found", tests.len());
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| input")).collect();
    ensure!(rows.len() >= ROWS, "only {} rows", rows.len());
    let mut missing = Vec::new();
    for row in rows {
        let named = row.rsplit('|').nth(1).unwrap_or_default();
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        ensure!(!named.is_empty(), "no test proves: {row}");
        missing.extend(named.into_iter().filter(|name| !tests.contains(*name)));
    }
    ensure!(missing.is_empty(), "the page names tests that are not there: {missing:?}");
    Ok(())
}

/// What is named there with underscores is a test; what else stands in the column is a file or a page.
#[test]
fn every_lesson_of_others_has_its_tests() -> Result<()> {
    let (page, tests) = (std::fs::read_to_string(root().join("docs/practice.md"))?, tests()?);
    let columns = page.lines().filter(|line| line.starts_with("| ")).filter_map(|row| row.rsplit('|').nth(1));
    let named: Vec<&str> = columns
        .flat_map(|proof| proof.split('`').skip(1).step_by(2))
        .filter(|name| name.contains('_') && !name.contains('/'))
        .collect();
    ensure!(named.len() >= 25, "only {} tests are named", named.len());
    let missing: Vec<_> = named.into_iter().filter(|name| !tests.contains(*name)).collect();
    ensure!(missing.is_empty(), "the page names tests that are not there: {missing:?}");
    Ok(())
}

/// One that was given another name would be asked again.
#[test]
fn every_test_whose_failure_is_final_is_there() -> Result<()> {
    let (list, tests) = (std::fs::read_to_string(root().join("e2e/final.txt"))?, tests()?);
    let named: Vec<&str> = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    ensure!(named.len() >= 25, "only {} tests are named", named.len());
    let missing: Vec<_> = named.into_iter().filter(|name| !tests.contains(*name)).collect();
    ensure!(missing.is_empty(), "e2e/final.txt names tests that are not there: {missing:?}");
    Ok(())
}
