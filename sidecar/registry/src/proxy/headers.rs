//! What a proxy takes off and puts on: hop-by-hop headers, the target's name, and who the caller was proven to be.
//!
//! Keeps RFC 9110 section 7.6.1 and PTP sections 4.1 and 4.3.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version,
    header::{self, CONNECTION, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE, VIA},
    uri::{Authority, PathAndQuery, Scheme},
};
use mesh_core::{CallContext, Caller, InstId, Node, NodeId};

use crate::{Address, RegistryError, address::Carried};

/// The headers that speak of one connection only (RFC 9110 section 7.6.1), beside those that `Connection` names.
static HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

const SOURCE_NODE: HeaderName = HeaderName::from_static("x-ptp-source-node-id");
const SOURCE_INST: HeaderName = HeaderName::from_static("x-ptp-source-inst-id");

/// Takes the hop-by-hop headers off a request or an answer.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most have none of them, which costs less to see in one pass than to ask for each.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            // A caller must not be able to take away what frames or addresses the message.
            .filter(|name| *name != HOST && *name != header::CONTENT_LENGTH)
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Notes that the message came through here (RFC 9110 section 7.6.3). It also keeps another node's plain-text port from
/// taking a partner's call for one of its own applications: a local call comes through nobody.
pub(crate) fn add_via<B>(request: &mut Request<B>) {
    let via = match request.version() {
        Version::HTTP_2 => "2 mesh",
        Version::HTTP_10 => "1.0 mesh",
        _ => "1.1 mesh",
    };
    request.headers_mut().append(VIA, HeaderValue::from_static(via));
}

/// Whether the caller reads trailers: the one thing that `TE` says and a gRPC service must know.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case("trailers"))
}

/// Whether the request asks to go on as a WebSocket. Nothing else is passed through: an upgrade to h2c would lead past
/// the checks of every later request.
pub(crate) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let names = |name: HeaderName, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let tokens: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        tokens.iter().any(|token| token.eq_ignore_ascii_case(wanted))
    };
    headers.contains_key(UPGRADE) && names(UPGRADE, "websocket") && names(CONNECTION, "upgrade")
}

/// Writes down who the caller was proven to be. A partner's claim is replaced, and whatever else a service might take for a word
/// about its caller goes; what a local application or a member
/// claims is kept (design section 4), and one that claims nothing is this node (PTP section 4.3).
pub(crate) fn set_identity(
    headers: &mut HeaderMap,
    context: &CallContext,
    caller: &Caller,
    own: impl FnOnce() -> Result<Arc<Source>, RegistryError>,
) -> Result<(), RegistryError> {
    match caller.partner() {
        Some(route) => {
            remove_all(headers, is_said_of_callers);
            set_source(headers, &Source::new(&route.node_id, route.inst_id.as_ref())?);
        }
        None if context.source_node.is_none() && context.source_inst.is_none() => {
            let own = own()?;
            set_source(headers, &own);
        }
        None => {}
    }
    Ok(())
}

/// A node and its institution as headers say them.
#[derive(Debug)]
pub(crate) struct Source {
    node: HeaderValue,
    inst: Option<HeaderValue>,
}

impl Source {
    /// # Errors
    /// An id that is no header value.
    pub(crate) fn new(node: &NodeId, inst: Option<&InstId>) -> Result<Self, RegistryError> {
        let value =
            |id: &str| HeaderValue::from_str(id).map_err(|_| RegistryError::Request("a node's id is no header value"));
        Ok(Self { node: value(node.as_str())?, inst: inst.map(|inst| value(inst.as_str())).transpose()? })
    }

    /// Whether it says this node, as it is written.
    pub(crate) fn is_of(&self, node: &Node) -> bool {
        self.node == node.node_id.as_str() && self.inst.as_ref().is_some_and(|inst| inst == node.inst_id.as_str())
    }
}

/// Replaces the source ids, in all four spellings.
pub(crate) fn set_source(headers: &mut HeaderMap, source: &Source) {
    remove_all(headers, is_source_claim);
    headers.insert(SOURCE_NODE, source.node.clone());
    if let Some(inst) = &source.inst {
        headers.insert(SOURCE_INST, inst.clone());
    }
}

/// What frames, routes or authorises a message has no place behind it (RFC 9110 section 6.5.1).
const NEVER_BEHIND: [HeaderName; 11] = [
    header::CONTENT_LENGTH,
    TRANSFER_ENCODING,
    HOST,
    CONNECTION,
    TE,
    header::TRAILER,
    UPGRADE,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::AUTHORIZATION,
    header::SET_COOKIE,
];

/// Whether a header may stand behind a message.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    !NEVER_BEHIND.contains(name)
}

/// Takes out of a caller's trailers what a service might take for headers that were checked.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    remove_all(trailers, |name| !may_trail(name) || is_source_claim(name) || is_said_of_callers(name));
}

fn remove_all(headers: &mut HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) {
    let all: Vec<HeaderName> = headers.keys().filter(|name| is_meant(name)).cloned().collect();
    for name in all {
        headers.remove(name);
    }
}

/// What callers, and the proxies in front of them, say of who calls and what for: PTP's own (section 7), the general names, and
/// those by which frameworks let a proxy change the path. From a partner none of it is proven.
fn is_said_of_callers(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let begins = |start: &[u8]| name.split_at_checked(start.len()).is_some_and(|(begun, _)| is_alike(begun, start));
    let general = [&b"forwarded"[..], b"x-real-ip", b"x-client-ip", b"true-client-ip", b"x-rewrite-url"];
    let ours = [&b"mesh-consumer"[..], b"mesh-incoming-host", b"mesh-incoming-proxy"];
    let ptp = [&b"x-ptp-consumer"[..], b"x-ptp-incoming-host", b"x-ptp-incoming-proxy"];
    general.iter().chain(&ours).chain(&ptp).any(|one| is_alike(name, one))
        || begins(b"x-forwarded")
        || begins(b"x-original-")
}

/// Whether a name is this one; `_` is what CGI and its heirs read as `-`.
fn is_alike(name: &[u8], wanted: &[u8]) -> bool {
    name.len() == wanted.len() && name.iter().zip(wanted).all(|(a, b)| a == b || (*a == b'_' && *b == b'-'))
}

fn is_source_claim(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let rest = [&b"x-ptp-"[..], b"mesh-"].iter().find_map(|family| {
        let (start, rest) = name.split_at_checked(family.len())?;
        is_alike(start, family).then_some(rest)
    });
    let ids = [&b"source-node-id"[..], b"source-inst-id", b"from-node-id", b"from-inst-id"];
    rest.is_some_and(|rest| ids.iter().any(|id| is_alike(rest, id)))
}

/// The host that the caller named, wherever its protocol puts it.
#[derive(Debug)]
pub(crate) enum Named {
    /// `Host` says it, and nothing else does: HTTP/1.1 to the service says it in the same way.
    InHost,
    /// It.
    By(Authority),
    /// Nowhere.
    Not,
}

impl Named {
    /// The host that a request names.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let host = request.headers().get(HOST);
        match (request.uri().authority(), host) {
            (Some(authority), _) => Self::By(authority.clone()),
            (None, Some(host)) if is_plain_host(host.as_bytes()) => Self::InHost,
            (None, host) => authority(host).map_or(Self::Not, Self::By),
        }
    }
}

fn authority(host: Option<&HeaderValue>) -> Option<Authority> {
    host.and_then(|host| host.to_str().ok()?.parse().ok())
}

/// A name or an address of four numbers, with or without a port: what nearly every `Host` is, and what needs no closer reading.
fn is_plain_host(host: &[u8]) -> bool {
    let mut parts = host.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    let is_name =
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    is_name && parts.next().is_none_or(|port| (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit))
}

/// Says on a connection of HTTP/1.1 that its caller reads trailers (RFC 9110 section 10.1.4).
pub(crate) fn ask_for_trailers(headers: &mut HeaderMap) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.append(CONNECTION, HeaderValue::from_static("te"));
}

/// Gives the request the form of HTTP/1.1: the target as a path, the host as a header.
///
/// The caller's `Host` is kept: the path is not rewritten either, so the absolute links, redirects and cookies that the
/// service makes from both hold for the caller. Without one the instance's address stands in.
pub(crate) fn for_http1<B>(request: &mut Request<B>, named: &Named, address: &Address) -> Result<(), RegistryError> {
    let host = match named {
        Named::InHost => None,
        Named::By(host) => Some(host.as_str().to_owned()),
        Named::Not => Some(address.authority()),
    };
    if let Some(host) = host {
        let host = HeaderValue::try_from(host).map_err(|_| RegistryError::Request("its Host is no header value"))?;
        request.headers_mut().insert(HOST, host);
    }
    join_cookies(request.headers_mut())?;
    if request.uri().authority().is_some() || request.uri().path_and_query().is_none() {
        let target = path_and_query(request.uri());
        *request.uri_mut() = Uri::from(target);
    }
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().remove(TE);
    request.headers_mut().remove(CONNECTION);
    Ok(())
}

/// HTTP/2 cuts cookies into several headers; HTTP/1.1 knows one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), RegistryError> {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
    headers.insert(COOKIE, whole.map_err(|_| RegistryError::Request("its cookies are no header value"))?);
    Ok(())
}

/// Gives the request the form of HTTP/2: everything in the target, and `te: trailers`, which gRPC servers insist on.
pub(crate) fn for_http2<B>(request: &mut Request<B>, named: &Named, address: &Address) -> Result<(), RegistryError> {
    let wrong = |_| RegistryError::Request("its target is no URI");
    let named = match named {
        // Where an attempt before this one took it off, the target says it.
        Named::InHost => request.uri().authority().cloned().or_else(|| authority(request.headers().get(HOST))),
        Named::By(named) => Some(named.clone()),
        Named::Not => None,
    };
    let authority = named.map_or_else(|| address.authority().parse(), Ok);
    let authority = authority.map_err(|_| RegistryError::Request("its authority is no host"))?;
    let target = path_and_query(request.uri());
    let scheme = match address.carried() {
        Carried::Plain => Scheme::HTTP,
        Carried::Tls => Scheme::HTTPS,
    };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().map_err(wrong)?;
    request.headers_mut().remove(HOST);
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

fn path_and_query(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn hop_by_hop_headers_go_and_with_them_what_connection_names() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Secret"),
            ("connection", "close,host,content-length"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-secret", "1"),
            ("x-kept", "2"),
            ("host", "a"),
            ("content-length", "3"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("x-kept", "2"), ("host", "a"), ("content-length", "3")]));
    }

    #[test]
    fn only_a_websocket_is_an_upgrade_that_passes() {
        assert!(asks_for_websocket(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")])));
        assert!(!asks_for_websocket(&headers(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")])));
        assert!(!asks_for_websocket(&headers(&[("upgrade", "websocket")])));
        assert!(!asks_for_websocket(&headers(&[("connection", "upgrade")])));
    }

    #[test]
    fn the_callers_host_is_kept_in_either_protocol() {
        let address = Address::parse("10.0.0.5:8000").unwrap();
        let mut request = Request::get("http://named/a?b=c").body(()).unwrap();
        let named = Named::of(&request);
        for_http1(&mut request, &named, &address).unwrap();
        assert_eq!(request.uri().to_string(), "/a?b=c");
        assert_eq!(request.headers()[HOST], "named");
        for_http2(&mut request, &named, &address).unwrap();
        let has_host = request.headers().contains_key(HOST);
        assert_eq!((request.uri().to_string().as_str(), has_host), ("http://named/a?b=c", false));
    }

    #[test]
    fn without_a_host_each_instance_is_called_by_its_own_address() {
        let mut request = Request::get("/a").body(()).unwrap();
        let named = Named::of(&request);
        for address in ["10.0.0.5:8000", "10.0.0.6:8000"] {
            for_http1(&mut request, &named, &Address::parse(address).unwrap()).unwrap();
            assert_eq!(request.headers()[HOST], address);
        }
    }

    #[test]
    fn a_plain_host_stays_as_it_is_and_any_other_is_read() {
        let address = Address::parse("10.0.0.5:8000").unwrap();
        for (host, kept, asked) in [
            ("a.example:80", true, "a.example:80"),
            ("10.0.0.7", true, "10.0.0.7"),
            ("[::1]:80", false, "[::1]:80"),
            ("a b", false, "10.0.0.5:8000"),
            ("", false, "10.0.0.5:8000"),
        ] {
            let mut request = Request::get("/a").header(HOST, host).body(()).unwrap();
            let named = Named::of(&request);
            assert_eq!(matches!(named, Named::InHost), kept, "{host}");
            for_http1(&mut request, &named, &address).unwrap();
            assert_eq!(request.headers()[HOST], asked, "{host}");
            // Whichever instance it goes to, and however often.
            for _ in 0..2 {
                for_http2(&mut request, &named, &address).unwrap();
                assert_eq!(request.uri().authority().unwrap(), asked, "{host}");
            }
        }
    }

    #[test]
    fn crumbs_of_cookies_become_one_header() {
        let mut map = headers(&[("cookie", "a=1"), ("cookie", "b=2"), ("x", "y")]);
        join_cookies(&mut map).unwrap();
        assert_eq!(map, headers(&[("cookie", "a=1; b=2"), ("x", "y")]));
    }

    #[test]
    fn trailers_are_known_to_be_taken() {
        assert!(takes_trailers(&headers(&[("te", "gzip, Trailers")])));
        assert!(!takes_trailers(&headers(&[("te", "gzip")])));
    }

    #[test]
    fn every_spelling_of_a_source_is_a_claim() {
        for name in [
            "x-ptp-source-node-id",
            "x-ptp-from-inst-id",
            "mesh-from-node-id",
            "mesh_source_inst_id",
            "x_ptp_from_node_id",
        ] {
            assert!(is_source_claim(&HeaderName::try_from(name).unwrap()), "{name}");
        }
        assert!(!is_source_claim(&HeaderName::from_static("x-ptp-target-node-id")));
    }
}
