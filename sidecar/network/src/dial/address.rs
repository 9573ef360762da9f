//! An address of a partner: `[scheme://]host:port[?tags]`, or a comma list of them (PTP section 11.4).

use std::{fmt, net::Ipv6Addr};

use mesh_core::is_host_name;

use super::Tags;
use crate::RouteError;

/// The longest address that is read; the resources' schema has the same bound.
const LONGEST: usize = 512;

/// A list has as many members as a route (`crds`, `addresses`).
const MOST: usize = 8;

/// In what a partner wants calls to be passed on to it (PTP section 8.4, "Hops").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Speaks {
    /// HTTP: `https://`, or no scheme.
    #[default]
    Http,
    /// gRPC: `grpcs://`.
    Grpc,
}

/// What an address begins with that wants gRPC.
const GRPC: &str = "grpcs://";

impl Speaks {
    /// What an address says.
    #[must_use]
    pub fn said_by(address: &str) -> Self {
        if address.starts_with(GRPC) { Self::Grpc } else { Self::Http }
    }
}

/// A host and its port, and what is said of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// What stands before the host.
    pub speaks: Speaks,
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What stands behind the question mark.
    pub tags: Tags,
}

impl Address {
    /// Reads one address.
    ///
    /// # Errors
    /// `E0000000619`.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        Self::with_port_of(text, None)
    }

    /// Reads a comma list, in order. A member without a port takes the port of the last one.
    ///
    /// # Errors
    /// `E0000000619` for the first member that cannot be read, and for more than eight.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, RouteError> {
        let members: Vec<&str> = text.split(',').map(str::trim).filter(|member| !member.is_empty()).collect();
        let Some((last, _)) = members.split_last() else { return Err(wrong(text, "it is empty")) };
        if members.len() > MOST {
            return Err(wrong(text, "it has more than 8 members"));
        }
        let port = Self::parse(last)?.port;
        members.iter().map(|member| Self::with_port_of(member, Some(port))).collect()
    }

    fn with_port_of(text: &str, port: Option<u16>) -> Result<Self, RouteError> {
        let (bare, query) = bare(text.trim())?;
        let speaks = Speaks::said_by(text.trim());
        let (host, given) = split(bare).ok_or_else(|| wrong(text, "write it as host:port"))?;
        let port = match (given, port) {
            (Some(given), _) => given.parse().ok().filter(|port| *port != 0),
            (None, port) => port,
        };
        let port = port.ok_or_else(|| wrong(text, "a port from 1 to 65535 is needed, as in host:7304"))?;
        if !is_host_name(host) && host.parse::<Ipv6Addr>().is_err() {
            return Err(wrong(text, "the host is neither a name nor an IP address"));
        }
        let tags = Tags::parse(query).map_err(|rule| wrong(text, rule))?;
        Ok(Self { speaks, host: host.to_owned(), port, tags })
    }

    /// `host:port` alone, as it stands in `:authority`.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The address without scheme and path, and the tags.
fn bare(text: &str) -> Result<(&str, &str), RouteError> {
    if text.len() > LONGEST {
        return Err(wrong(text.get(..40).unwrap_or_default(), "it is longer than 512 bytes"));
    }
    // A tag may hold a URL of its own.
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let bare = match place.split_once("://") {
        Some(("https" | "grpcs", rest)) => rest,
        Some(_) => return Err(wrong(text, "between nodes only TLS is spoken: https:// or nothing")),
        None => place,
    };
    let end = bare.find(['/', '#']).unwrap_or(bare.len());
    Ok((bare.get(..end).unwrap_or(bare), query))
}

/// Host and port; an IPv6 address stands in brackets, or alone without a port.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text, None));
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

/// What people are shown of an address: the tag `p` may hold the login of a proxy.
#[must_use]
pub fn shown(text: &str) -> String {
    let Some((place, query)) = text.split_once('?') else { return text.to_owned() };
    format!("{place}?{}", query.split('&').map(shown_url).collect::<Vec<_>>().join("&"))
}

/// What people are shown of the URL of a proxy, whatever stands before it: no login.
pub(crate) fn shown_url(text: &str) -> String {
    match text.split_once("//").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (_, host))) => format!("{scheme}//...@{host}"),
        None => text.to_owned(),
    }
}

fn wrong(text: &str, rule: &'static str) -> RouteError {
    RouteError::BadAddress { address: shown(text).chars().filter(|c| !c.is_control()).take(100).collect(), rule }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.speaks == Speaks::Grpc { GRPC } else { "" };
        write!(f, "{scheme}{}{}", self.authority(), self.tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let table = [
            ("mesh.b.example:7304", "mesh.b.example", 7304),
            ("https://10.0.0.1:27304", "10.0.0.1", 27304),
            ("[2001:db8::1]:7304", "2001:db8::1", 7304),
            ("https://b.example:7304/path?d=x&s=blue", "b.example", 7304),
            (" b:1 ", "b", 1),
        ];
        for (text, host, port) in table {
            let read = Address::parse(text).unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port), "{text}");
        }
    }

    #[test]
    fn the_login_of_a_proxy_is_shown_to_nobody() {
        let table = [
            ("b:1", "b:1"),
            ("b:1?s=x", "b:1?s=x"),
            ("b:1?p=http://proxy:3128", "b:1?p=http://proxy:3128"),
            ("b:1?s=x&p=http://user:sec@ret@proxy:3128&k=1", "b:1?s=x&p=http://...@proxy:3128&k=1"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected);
        }
        let refused = Address::parse("b?p=ftp://user:secret@proxy").unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn tags_are_read_kept_and_written_in_one_form() {
        let read = Address::parse("https://b:1/x?d=mesh.b&s=blue&k&v=2&p=socks5://p:1080&t=9&w").unwrap();
        assert_eq!(read.to_string(), "b:1?s=blue&p=socks5://p:1080&k=1&v=2&d=mesh.b");
        assert_eq!(Address::parse(&read.to_string()), Ok(read), "also where the scheme is left out");
        let grpc = Address::parse("grpcs://b:1/x?s=blue").unwrap();
        assert_eq!(
            (grpc.to_string().as_str(), grpc.authority().as_str(), grpc.speaks),
            ("grpcs://b:1?s=blue", "b:1", Speaks::Grpc)
        );
        assert_eq!(
            (Address::parse(&grpc.to_string()), Address::parse("b:1").unwrap().speaks),
            (Ok(grpc), Speaks::Http)
        );
        assert_eq!(Address::parse("b:1?k=0&s=").unwrap().to_string(), "b:1");
        let list = Address::parse_list("a?s=x,b:7304").unwrap();
        assert_eq!((list[0].to_string().as_str(), list[1].to_string().as_str()), ("a:7304?s=x", "b:7304"));
        for wrong in ["b:1?p=proxy", "b:1?s=a b", "b:1?s=\"", &format!("b:1?s={}", "x".repeat(300))] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        let long = format!("{}:1", "a".repeat(600));
        let wrong =
            ["", "b", "b:", "b:0", "b:65536", "b:x", ":7304", "http://b:1", "[::1", "a b:1", "a..b:1", "[b]:1", &long];
        for text in wrong {
            assert!(matches!(Address::parse(text), Err(RouteError::BadAddress { .. })), "{text}");
        }
    }

    #[test]
    fn members_of_a_list_without_a_port_take_the_last_ones() {
        let hosts = Address::parse_list("a,b:1, c:7304").unwrap();
        assert_eq!(hosts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:7304", "b:1", "c:7304"]);
        assert!(Address::parse_list(",").is_err());
        assert_eq!(Address::parse_list(&["a:1"; 8].join(",")).unwrap().len(), 8);
        assert!(Address::parse_list(&["a:1"; 9].join(",")).is_err());
        assert!(Address::parse_list("a:1,b").is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_read_is_read_again_as_the_same(text in "\\PC{0,40}|(grpcs://)?[a-z0-9.:\\[\\]/?,-]{0,40}|[ab]:1\\?[spkvd=&0a:/]{0,20}") {
            if let Ok(list) = Address::parse_list(&text) {
                for address in list {
                    proptest::prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
                }
            }
        }
    }
}
