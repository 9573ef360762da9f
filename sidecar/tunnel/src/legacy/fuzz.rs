//! The fuzz target of a database that somebody brings. How it runs, and where its inputs lie, says `sidecar/fuzz`.

use super::{columns, database};
use crate::tokens::presented;

/// Whatever the file holds, what is found has the form of a token, and nothing that was not in the file is told.
#[test]
fn tunnel_database() {
    fuzz::run("tunnel-database", |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let names = columns::names(text).unwrap_or_default();
            assert!(names.iter().all(|name| text.contains(name.as_str())));
        }
        let Ok(found) = database::read(bytes, 0, |text| i64::try_from(text.len()).ok()) else { return };
        let tokens = found.nodes.iter().map(|node| &node.token).chain(found.tokens.iter().map(|token| &token.token));
        for token in tokens {
            assert!(presented(token).is_some() && bytes.windows(token.len()).any(|part| part == token.as_bytes()));
        }
    });
}
