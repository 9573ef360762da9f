//! The YAML files that were named, document by document.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::fault::{Fault, Place};

/// Thousands of routes with their roots; more in one file is a mistake, such as a disk image.
const FILE_MAX: u64 = 64 << 20;

/// A document and where it stands.
pub(super) struct Document {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// All documents of files, and of the `*.yaml` and `*.yml` of directories in the order of their names.
pub(super) fn documents(paths: &[PathBuf], faults: &mut Vec<Fault>) -> Vec<Document> {
    let mut found = Vec::new();
    for path in paths {
        match files(path) {
            Ok(files) if files.is_empty() => faults.push(Fault::file(path, "holds no *.yaml or *.yml file")),
            Ok(files) => files.into_iter().for_each(|file| read(file, &mut found, faults)),
            Err(e) => faults.push(Fault::file(path, format_args!("cannot be read: {e}"))),
        }
    }
    found
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: PathBuf, found: &mut Vec<Document>, faults: &mut Vec<Fault>) {
    match text(&file).and_then(|text| crds::yaml::documents(&text).map_err(|e| format!("is no YAML: {e}"))) {
        Ok(values) => {
            let file = Arc::new(file);
            found.extend(values.into_iter().enumerate().map(|(n, value)| Document {
                place: Place { file: Arc::clone(&file), document: n + 1, subject: String::new() },
                value,
            }));
        }
        Err(rule) => faults.push(Fault::file(&file, rule)),
    }
}

fn text(file: &Path) -> Result<String, String> {
    let unreadable = |e: io::Error| format!("cannot be read: {e}");
    let size = fs::metadata(file).map_err(unreadable)?.len();
    if size > FILE_MAX {
        return Err(format!("has {size} bytes: at most {FILE_MAX} are read"));
    }
    fs::read_to_string(file).map_err(unreadable)
}
