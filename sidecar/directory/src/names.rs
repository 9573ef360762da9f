//! Names of the directory: central systems, data addresses, adapter classes, protocols and endpoints; how they are written, and
//! when two are the same.

use std::net::SocketAddrV6;

use mesh_core::is_host_name;

/// Characters of the longest central system id (contract section 1).
pub(crate) const LONGEST_ID: usize = 32;

/// Characters of the longest second part of a data address: a 64-bit number in hexadecimal digits.
const LONGEST_PART: usize = 16;

/// Bytes of the longest name of a class, a data system or a protocol: people read them.
pub(crate) const LONGEST_NAME: usize = 128;

/// Bytes of the longest endpoint: a URL with a path.
pub(crate) const LONGEST_ENDPOINT: usize = 512;

/// Bytes of the longest description.
pub(crate) const LONGEST_TEXT: usize = 4096;

/// How a name looks beside what the strict rules of the seed allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As the seed says.
    Strict,
    /// As its examples are.
    Lenient,
}

/// Whether it is a central system's id (leniency 9): letters and digits, or with `-` and `_` behind the first of them.
#[must_use]
pub(crate) fn csid(text: &str) -> Option<Form> {
    let strict = text.bytes().all(|b| b.is_ascii_alphanumeric());
    let lenient = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    (first && lenient && text.len() <= LONGEST_ID).then_some(if strict { Form::Strict } else { Form::Lenient })
}

/// The two parts of a data address, and whether the second is hexadecimal as the seed means it (leniency 10).
#[must_use]
pub(crate) fn address(text: &str) -> Option<(&str, Form)> {
    let (host, part) = text.split_once('.')?;
    csid(host)?;
    let fits = (1..=LONGEST_PART).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let hex = part.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then_some((host, if hex { Form::Strict } else { Form::Lenient }))
}

/// Ids and addresses are the same when they differ in case alone.
#[must_use]
pub(crate) fn fold(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// Whether it is the name of something that people read: not blank, no control characters, no space at its ends.
#[must_use]
pub(crate) fn name(text: &str) -> bool {
    let printable = text.chars().all(|c| !c.is_control() && !invisible(c));
    !text.is_empty() && text.len() <= LONGEST_NAME && printable && text.trim() == text
}

/// Marks that change nothing or the direction of what is seen: two names that look the same must be the same.
fn invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Names of classes are the same when they differ in the case of ASCII letters alone. The case of others is what a version of Unicode
/// says, and two replicas may have two: what a log led to must not depend on that.
#[must_use]
pub(crate) fn fold_name(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// Versions are compared without white space and without case (leniency 7).
#[must_use]
pub(crate) fn fold_version(text: &str) -> String {
    unspaced(text).to_ascii_lowercase()
}

fn unspaced(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// What a protocol is called in answers (leniency 5).
#[must_use]
pub(crate) fn label(protocol: &str, version: &str) -> String {
    format!("{}-{}", protocol.to_ascii_lowercase(), unspaced(version))
}

/// Whether it is an endpoint (leniency 12): `host:port`, `[v6]:port`, or a URL.
#[must_use]
pub(crate) fn endpoint(text: &str) -> bool {
    text.len() <= LONGEST_ENDPOINT && (url(text) || authority(text, Port::Needed))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Needed,
    Optional,
}

fn url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let scheme_fits = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority_part, path) = rest.split_at(end);
    let path_fits = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'));
    scheme_fits && path_fits && authority(authority_part, Port::Optional)
}

fn authority(text: &str, port: Port) -> bool {
    if text.starts_with('[') {
        let whole = if text.ends_with(']') && port == Port::Optional { format!("{text}:1") } else { text.to_owned() };
        return whole.parse::<SocketAddrV6>().is_ok_and(|address| address.port() != 0);
    }
    match text.split_once(':') {
        Some((name, number)) => is_host_name(name) && port_number(number),
        None => port == Port::Optional && is_host_name(text),
    }
}

fn port_number(text: &str) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    digits && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_letters_and_digits_and_leniently_a_hyphen() {
        for (text, expected) in [
            ("yunqi", Some(Form::Strict)),
            ("Yunqi", Some(Form::Strict)),
            ("9", Some(Form::Strict)),
            ("xuelang-centralsystem", Some(Form::Lenient)),
            ("a_b", Some(Form::Lenient)),
            (&"a".repeat(32), Some(Form::Strict)),
            (&"a".repeat(33), None),
            ("", None),
            (" ", None),
            ("-a", None),
            ("_a", None),
            ("a.b", None),
            ("a b", None),
            ("a\0", None),
            ("a\n", None),
            ("аbc", None),
            ("云栖", None),
        ] {
            assert_eq!(csid(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_address_has_one_dot_and_a_host() {
        for (text, expected) in [
            ("yunqi.BCAE345BCAE345P0", Some(("yunqi", Form::Lenient))),
            ("yunqi.BCAE345BCAE345F0", Some(("yunqi", Form::Strict))),
            ("a-b.0", Some(("a-b", Form::Strict))),
            ("yunqi.", None),
            (".abc", None),
            ("yunqi", None),
            ("yunqi.a.b", None),
            ("yunqi.12345678901234567", None),
            ("yunqi.a-b", None),
            ("yunqi.é", None),
        ] {
            assert_eq!(address(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_what_people_see() {
        for text in ["odps-adapter", "data system 1", "数据系统", "a", &"a".repeat(128)] {
            assert!(name(text), "{text}");
        }
        for text in ["", " ", " a", "a ", "a\u{0}", "a\tb", "a\u{200b}b", "a\u{202e}b", "a\u{7f}", &"a".repeat(129)] {
            assert!(!name(text), "{text:?}");
        }
    }

    /// The printed lists of the seed, sections 3.1 and 4.2.
    #[test]
    fn labels_are_those_of_the_seed() {
        assert_eq!(label("ODPS", "aspara1.0"), "odps-aspara1.0");
        assert_eq!(label("MySQL", "5.7"), "mysql-5.7");
        assert_eq!(label("odps", "aspara 1.0"), "odps-aspara1.0");
        assert_eq!(label("É ODPS", "Ä 1"), "É odps-Ä1");
        assert_eq!(fold_version(" Aspara 1.0\t"), fold_version("aspara1.0"));
    }

    #[test]
    fn endpoints_are_addresses_or_urls() {
        for text in [
            "1.2.3.4:9904",
            "mesh.example:7304",
            "[2001:db8::1]:7304",
            "https://mesh.example/datanet?x=1",
            "http://10.0.0.1:80",
            "grpcs://[::1]",
            "wss://[::1]:6789/a",
        ] {
            assert!(endpoint(text), "{text}");
        }
        for text in [
            "",
            "1.2.3.4",
            "1.2.3:80",
            "1.2.3.4:0",
            "1.2.3.4:080",
            "1.2.3.4:65536",
            "1.2.3.4:9904x",
            "[::1]",
            "[::1]:0",
            "[::g]:1",
            "::1:80",
            "http://",
            "http://a b",
            "http://u:p@host/",
            "://host",
            "http://host/\n",
            "http://host/é",
            "host :80",
            &format!("http://host/{}", "a".repeat(512)),
        ] {
            assert!(!endpoint(text), "{text:?}");
        }
    }
}
