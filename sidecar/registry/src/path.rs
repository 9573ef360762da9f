//! Paths: how a urn becomes a prefix, which prefixes nobody may register, and which paths a partner may not send.
//!
//! Pure. Keeps PTP section 8.5 (reserved paths) and section 10.4 points 1 and 7.

use crate::RegistryError;

/// What this node serves itself (PTP section 8.5). An entry that ends in `/` or `.` stands for everything that starts
/// with it, any other for itself and everything below it.
const RESERVED: [&str; 8] = [
    "/v1/interconn/",
    "/org.ppc.ptp.",
    "/mesh-rpc/",
    "/mesh/invoke",
    "/datanet/",
    "/grpc.health.v1.",
    "/grpc.reflection.",
    "/stats",
];

/// As long as the resource allows; the urns of real SDKs have about 120 characters.
pub(crate) const LONGEST_URN: usize = 512;

/// The prefix that a urn stands for: with `/` in front, without a trailing `/` or `/*`.
///
/// # Errors
/// A urn that is no plain path, or lies over or under a reserved path.
pub(crate) fn prefix_of(urn: &str) -> Result<String, RegistryError> {
    let wrong = |rule: &str| Err(RegistryError::invalid(format!("urn {}", shown(urn)), rule));
    if urn.is_empty() {
        return wrong("is empty: write the path that callers use, such as /a/b/c");
    }
    if urn.len() > LONGEST_URN {
        return wrong("is longer than 512 bytes");
    }
    let mut prefix = if urn.starts_with('/') { urn.to_owned() } else { format!("/{urn}") };
    let kept = prefix.strip_suffix("/*").unwrap_or(&prefix).trim_end_matches('/').len();
    prefix.truncate(kept);
    if !prefix.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\' | b'"' | b'*')) {
        return wrong("is no path: no spaces, quotes, backslashes, ?, # or *, but for one /* at the end");
    }
    if prefix.split('/').skip(1).any(|s| s.is_empty() || s == "." || s == "..") {
        return wrong("has an empty or a dot segment");
    }
    match RESERVED.iter().find(|reserved| overlaps(&prefix, reserved)) {
        Some(reserved) => Err(RegistryError::Reserved { urn: shown(urn), reserved }),
        None => Ok(prefix),
    }
}

/// Whether the node serves `path` itself.
#[must_use]
pub fn is_reserved(path: &str) -> bool {
    // All of them begin alike, and the byte behind that tells nearly every path apart.
    let differs = path.as_bytes().get(1);
    RESERVED.iter().any(|reserved| reserved.as_bytes().get(1) == differs && lies_under(path, reserved))
}

fn overlaps(prefix: &str, reserved: &str) -> bool {
    lies_under(prefix, reserved) || covers(prefix, reserved)
}

fn lies_under(path: &str, reserved: &str) -> bool {
    if reserved.ends_with('.') {
        return path.starts_with(reserved);
    }
    covers(reserved.trim_end_matches('/'), path)
}

/// Whether `prefix` matches `path`, at a `/` boundary.
#[must_use]
pub(crate) fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether one of a route's `exports` covers `path`. An export is read like a urn: `/` and `/*` export everything, an empty
/// one nothing.
#[must_use]
pub(crate) fn is_exported(exports: &[String], path: &str) -> bool {
    exports.iter().any(|export| {
        let prefix = export.strip_suffix("/*").unwrap_or(export).trim_end_matches('/');
        match prefix.strip_prefix('/') {
            Some(_) => covers(prefix, path),
            None if prefix.is_empty() => matches!(export.as_str(), "/" | "/*"),
            None => path.strip_prefix('/').is_some_and(|path| covers(prefix, path)),
        }
    })
}

/// Whether one of a route's `exports` covers the service of this name: by its name or by a beginning of it that ends at a
/// dot, with or without a slash in front; `/` exports everything.
#[must_use]
pub(crate) fn exports_name(exports: &[String], name: &str) -> bool {
    exports.iter().any(|export| {
        let prefix = export.strip_prefix('/').unwrap_or(export);
        let rest = name.strip_prefix(prefix).filter(|_| !prefix.is_empty());
        matches!(export.as_str(), "/" | "/*") || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Refuses a partner's path that we and the service behind us may read in two ways, so that nothing leads out of what
/// is exported: dot segments (also encoded, also with a parameter), encoded slashes, backslashes, empty segments.
///
/// # Errors
/// What is ambiguous about it.
pub(crate) fn screen(path: &str) -> Result<(), RegistryError> {
    let bytes = path.as_bytes();
    if !path.starts_with('/') {
        return Err(RegistryError::AmbiguousPath("it does not start with a slash"));
    }
    if bytes.windows(2).any(|w| w == b"//") {
        return Err(RegistryError::AmbiguousPath("it has an empty segment"));
    }
    if bytes.contains(&b'\\') || has_escape(bytes, b"5c") {
        return Err(RegistryError::AmbiguousPath("it has a backslash"));
    }
    if has_escape(bytes, b"2f") {
        return Err(RegistryError::AmbiguousPath("it has an encoded slash"));
    }
    if has_escape(bytes, b"00") {
        return Err(RegistryError::AmbiguousPath("it has an encoded zero byte"));
    }
    if path.split('/').any(is_dot_segment) {
        return Err(RegistryError::AmbiguousPath("it has a dot segment"));
    }
    Ok(())
}

fn has_escape(bytes: &[u8], hex: &[u8; 2]) -> bool {
    bytes.windows(3).any(|w| w[0] == b'%' && w[1..].eq_ignore_ascii_case(hex))
}

/// `.` or `..`, where each dot may be `%2e`, and a `;parameter` (which some servers cut off first) may follow.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment.as_bytes();
    let mut dots = 0;
    loop {
        if let [b'.', tail @ ..] = rest {
            rest = tail;
        } else if let [b'%', b'2', b'e' | b'E', tail @ ..] = rest {
            rest = tail;
        } else {
            break;
        }
        dots += 1;
    }
    let ends = matches!(rest, [] | [b';', ..]) || has_escape(&rest[..rest.len().min(3)], b"3b");
    (1..=2).contains(&dots) && ends
}

/// Enough of a text from outside to recognise it in a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urns_become_prefixes() {
        for (urn, prefix) in [
            ("/a/b/c", "/a/b/c"),
            ("a/b", "/a/b"),
            ("/a/b/*", "/a/b"),
            ("/a/", "/a"),
            ("/statistics", "/statistics"),
            ("/v1/chat", "/v1/chat"),
            ("/mesh/other", "/mesh/other"),
            ("/tensorflow.serving.PredictionService", "/tensorflow.serving.PredictionService"),
        ] {
            assert_eq!(prefix_of(urn).unwrap(), prefix, "{urn}");
        }
    }

    #[test]
    fn names_are_exported_whole_or_by_what_stands_before_a_dot() {
        for (export, name, is_exported) in [
            ("acme.score", "acme.score", true),
            ("/acme.score", "acme.score", true),
            ("acme", "acme.score", true),
            ("acme.sc", "acme.score", false),
            ("acme.score.x", "acme.score", false),
            ("/", "acme.score", true),
            ("", "acme.score", false),
            ("/serving", "acme.score", false),
        ] {
            assert_eq!(exports_name(&[export.to_owned()], name), is_exported, "{export} {name}");
        }
    }

    #[test]
    fn nobody_takes_what_the_node_serves_itself() {
        for urn in [
            "/",
            "/*",
            "*/",
            "/v1",
            "/v1/interconn",
            "/v1/interconn/chan/push",
            "v1/interconn/*",
            "/mesh",
            "/mesh/invoke/x",
            "/org.ppc.ptp.PrivateTransferTransport",
            "/org.ppc.ptp.PrivateTransferTransport/push",
            "/mesh-rpc",
            "/mesh-rpc/v1",
            "/datanet",
            "/datanet/v1",
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection",
            "/stats",
            "/stats/x",
        ] {
            let code = mesh_core::ProtocolError::code(&prefix_of(urn).unwrap_err());
            assert_eq!(code, mesh_core::Code::BAD_REQUEST, "{urn}");
        }
    }

    #[test]
    fn a_urn_that_is_no_plain_path_is_refused() {
        for urn in ["", "/a b", "/a?x", "/a#x", "/a\\b", "/a//b", "/a/../b", "/a/./b", "/a/*/b", "/\u{7f}", "/互联"] {
            assert!(prefix_of(urn).is_err(), "{urn}");
        }
        assert!(prefix_of(&format!("/{}", "a".repeat(LONGEST_URN))).is_err());
    }

    #[test]
    fn exports_match_at_boundaries_only() {
        let exports = ["/serving".to_owned(), "score/*".to_owned()];
        for (path, open) in [
            ("/serving", true),
            ("/serving/x", true),
            ("/servings", false),
            ("/score/1", true),
            ("/scores", false),
            ("/", false),
        ] {
            assert_eq!(is_exported(&exports, path), open, "{path}");
        }
        for all in ["/", "/*"] {
            assert!(is_exported(&[all.to_owned()], "/anything"), "{all}");
        }
        assert!(!is_exported(&[], "/anything"));
    }

    /// An export that was emptied, by hand or by a program, must not open everything.
    #[test]
    fn an_empty_export_is_nothing() {
        for path in ["/", "/anything", "/serving/x", ""] {
            for nothing in ["", "//", "*", " "] {
                assert!(!is_exported(&[nothing.to_owned()], path), "{nothing:?} {path}");
            }
        }
    }

    #[test]
    fn a_partners_ambiguous_path_is_refused() {
        for path in [
            "/serving/../admin",
            "/serving/./x",
            "/serving/%2e%2e/admin",
            "/serving/.%2E/admin",
            "/serving%2fadmin",
            "/serving%2Fadmin",
            "/serving%5cadmin",
            "/serving\\admin",
            "//serving",
            "/serving//x",
            "/serving/..;/admin",
            "/serving/..;v=1/x",
            "/serving/..%3b/x",
            "/serving/%00",
            "/serving/..",
            "*",
            "",
        ] {
            assert!(screen(path).is_err(), "{path}");
        }
        for path in ["/serving", "/serving/...", "/serving/.hidden", "/serving/a..b", "/serving/a%20b", "/serving/"] {
            assert!(screen(path).is_ok(), "{path}");
        }
    }
}
