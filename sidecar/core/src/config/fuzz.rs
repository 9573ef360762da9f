//! Fuzz targets of what people write: the file, and variables. How they run, and where their inputs lie, says
//! `sidecar/fuzz`.

use std::{cell::RefCell, fs};

use super::{Environment, Settings, file, testing::root};

/// A file that is taken keeps the bounds of the resources; one that is not is named with the place that is wrong.
#[test]
fn config_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.crt"), root("LX2").certificate_pem()).unwrap();
    let path = folder.path().join("mesh.yaml");
    fuzz::run("config-file", |bytes| {
        fs::write(&path, bytes).unwrap();
        match file::read(&path) {
            Err(problem) => assert!(problem.to_string().contains(&folder.path().display().to_string()), "{problem}"),
            Ok(config) => {
                let transport = &config.transport;
                assert!(
                    transport.max_body_bytes <= transport.session_bytes
                        && transport.session_bytes <= transport.total_bytes
                );
                for route in &config.routes {
                    assert!(!route.peer.node_id.is_empty() && route.roots.len() <= 4 && !route.addresses.is_empty());
                }
            }
        }
    });
}

/// Variables are taken, or the one that is wrong is named, and never its value where that may be a secret.
#[test]
fn environment() {
    let taken = RefCell::new(0);
    fuzz::run("environment", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let pairs: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let environment = Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        match Settings::read(&environment) {
            Ok(settings) => {
                *taken.borrow_mut() += 1;
                assert!(settings.name.is_none_or(|name| !name.is_empty()));
                let secret = environment.get("DSN").unwrap_or("\0");
                assert!(secret.len() < 8 || settings.notes.iter().all(|note| !note.contains(secret)));
            }
            Err(problem) => {
                let problem = problem.to_string();
                assert!(
                    problem.starts_with("MESH_") || problem.starts_with("PLUGIN_") || problem.starts_with("HOME"),
                    "{problem}"
                );
            }
        }
    });
    assert!(taken.into_inner() > 0, "some environment must be good");
}
