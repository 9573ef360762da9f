//! The forms that strings of the API have, as regular expressions that Go's RE2 and Rust's `regex` read alike.
//!
//! Anchored at both ends, no classes by name, since those differ between the two.

/// Letters and digits, with `-` and `_` inside.
macro_rules! id {
    () => {
        "[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
    };
}

/// A name, an IPv4 address, or an IPv6 address in brackets; a port from 1 to 65535.
macro_rules! host_port {
    () => {
        concat!(
            "(\\[[0-9A-Fa-f:.]{2,45}\\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?):",
            "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
        )
    };
}

/// What stands behind `=` in a tag of an address: printable, without what ends it.
macro_rules! tag_value {
    () => {
        "[!$%'()*+,./0-9:;=?@A-Z\\[\\]^_`a-z{|}~-]{0,256}"
    };
}

/// The URL of a proxy that is dialled through: CONNECT, over TLS or not, or SOCKS5; perhaps with user and password.
macro_rules! proxy {
    () => {
        concat!("(https?|socks5h?)://([!$%'()*+,./0-9:;=?@A-Z\\[\\]^_`a-z{|}~-]{0,255}@)?", host_port!(), "/?")
    };
}

/// A tag of an address (PTP section 11.4): s, v, d, p, k, and those that are read by nobody.
macro_rules! tag {
    () => {
        concat!("([svdthewfol](=", tag_value!(), ")?|p(=(", proxy!(), ")?)?|k(=(0|1|true|false)?)?)")
    };
}

/// A server of NATS: the port is 4222 where it is not named.
macro_rules! nats {
    () => {
        concat!(
            "(nats|tls)://(",
            host_port!(),
            "|\\[[0-9A-Fa-f:.]{2,45}\\]|",
            "[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)/?"
        )
    };
}

/// Four numbers from 0 to 255.
macro_rules! ipv4 {
    () => {
        "((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    };
}

/// What stands between two slashes: neither nothing nor `.` nor `..`; no `*`, `?`, `#`, `"` or `\`.
macro_rules! segment {
    () => {
        "([!$%&'()+,0-9:;<=>@A-Z\\[\\]^_`a-z{|}~-][!$%&'()+,.0-9:;<=>@A-Z\\[\\]^_`a-z{|}~-]*|\\.[!$%&'()+,0-9:;<=>@A-Z\\[\\]^_`a-z{|}~-][!$%&'()+,.0-9:;<=>@A-Z\\[\\]^_`a-z{|}~-]*|\\.\\.[!$%&'()+,.0-9:;<=>@A-Z\\[\\]^_`a-z{|}~-]+)"
    };
}

/// A node's or an institution's id: a label, since `<node id>.trustbe.cn` is a name in certificates (PTP section 12.3).
pub(crate) const ID: &str = concat!("^", id!(), "$");

/// [`ID`], or nothing.
pub(crate) const ID_OR_EMPTY: &str = concat!("^(", id!(), ")?$");

/// `host:port`: a name, an IPv4 address, or an IPv6 address in brackets; a port from 1 to 65535.
pub(crate) const HOST_PORT: &str = concat!("^", host_port!(), "$");

/// [`HOST_PORT`], or nothing.
pub(crate) const HOST_PORT_OR_EMPTY: &str = concat!("^(", host_port!(), ")?$");

/// An address of a partner: [`HOST_PORT`], perhaps with `https://` before it and tags behind a question mark.
pub(crate) const PEER_ADDRESS: &str =
    concat!("^((https|grpcs)://)?", host_port!(), "/?(\\?", tag!(), "(&", tag!(), ")*)?$");

/// An address of a service or of a way out, or nothing: [`HOST_PORT`], perhaps with a scheme before it.
pub(crate) const SERVICE_ADDRESS_OR_EMPTY: &str = concat!("^(((https?|grpcs?|socks5)://)?", host_port!(), "/?)?$");

/// An IP address.
pub(crate) const IP: &str = concat!(
    "^(",
    ipv4!(),
    "|([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|([0-9A-Fa-f]{1,4}:){1,7}:|([0-9A-Fa-f]{1,4}:){1,6}:[0-9A-Fa-f]{1,4}",
    "|([0-9A-Fa-f]{1,4}:){1,5}(:[0-9A-Fa-f]{1,4}){1,2}|([0-9A-Fa-f]{1,4}:){1,4}(:[0-9A-Fa-f]{1,4}){1,3}",
    "|([0-9A-Fa-f]{1,4}:){1,3}(:[0-9A-Fa-f]{1,4}){1,4}|([0-9A-Fa-f]{1,4}:){1,2}(:[0-9A-Fa-f]{1,4}){1,5}",
    "|[0-9A-Fa-f]{1,4}:(:[0-9A-Fa-f]{1,4}){1,6}|:((:[0-9A-Fa-f]{1,4}){1,7}|:))$"
);

/// A host name, or nothing.
pub(crate) const HOST_OR_EMPTY: &str = "^([A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?)?$";

/// A name or an address, IPv6 without brackets.
pub(crate) const HOST: &str = "^[A-Za-z0-9:]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9:])?$";

/// The name of a Kubernetes object: a DNS subdomain.
pub(crate) const OBJECT: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";

/// The name of a Service, a namespace, or a listener: a DNS label.
pub(crate) const LABEL: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";

/// The value of a label.
pub(crate) const LABEL_VALUE: &str = "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$";

/// CPUs, or thousandths of one.
pub(crate) const CPU: &str = "^([0-9]{1,5}|[0-9]{1,8}m)$";

/// A key of a Secret or ConfigMap.
pub(crate) const KEY: &str = "^[A-Za-z0-9._-]+$";

/// A key of a Secret or ConfigMap, or nothing.
pub(crate) const KEY_OR_EMPTY: &str = "^[A-Za-z0-9._-]*$";

/// A name that partners ask for in TLS; the first label may be a wildcard.
pub(crate) const HOSTNAME: &str = "^(\\*\\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";

/// A moment, RFC 3339, in this millennium: what Go's `date-time` and Rust's parsers read alike.
pub(crate) const MOMENT: &str = "^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$";

/// The URL of a proxy to dial through, or nothing.
pub(crate) const PROXY_OR_EMPTY: &str = concat!("^(", proxy!(), ")?$");

/// The URL of an HTTP server.
pub(crate) const URL: &str = "^https?://[^\\x00-\\x20\"\\\\\\x7f]+$";

/// The URL of an HTTP server, or nothing.
pub(crate) const URL_OR_EMPTY: &str = "^(https?://[^\\x00-\\x20\"\\\\\\x7f]+)?$";

/// The servers of NATS, with commas between; nobody's credentials have a place in it.
pub(crate) const NATS: &str = concat!("^", nats!(), "(,", nats!(), ")*$");

/// A plain path: no query, no empty and no dot segment, and a `*` only as the whole last one.
pub(crate) const PATH: &str = concat!("^(/|(/", segment!(), ")+(/\\*?)?)$");

/// What a service is found by: a plain path or a urn, of which the first slash may be left out (PTP section 10.4).
pub(crate) const URN: &str = concat!("^/?", segment!(), "(/", segment!(), ")*(/\\*?)?$");

/// A JSON pointer.
pub(crate) const POINTER: &str = "^/[^\\x00-\\x1f\"\\x7f]*$";

/// A JSON pointer, or nothing.
pub(crate) const POINTER_OR_EMPTY: &str = "^(/[^\\x00-\\x1f\"\\x7f]*)?$";

/// A web origin.
pub(crate) const ORIGIN: &str = "^(https?://[^\\x00-\\x20/\"\\\\\\x7f]+|null)$";

/// A topic or a channel: neither blanks nor control characters (G-11).
pub(crate) const TOPIC: &str = "^[^\\x00-\\x20\\x7f]+$";

/// A topic, or nothing.
pub(crate) const TOPIC_OR_EMPTY: &str = "^[^\\x00-\\x20\\x7f]*$";

/// An IPv4 address.
pub(crate) const IPV4: &str = concat!("^", ipv4!(), "$");

/// An IPv4 address with a prefix length from 8 to 29 (NC section 5).
pub(crate) const SUBNET: &str = concat!("^", ipv4!(), "/([89]|1[0-9]|2[0-9])$");

/// An IPv4 network.
pub(crate) const NETWORK: &str = concat!("^", ipv4!(), "/([0-9]|[12][0-9]|3[0-2])$");

/// A public key of Ed25519, in padded base64.
pub(crate) const ED25519: &str = "^[A-Za-z0-9+/]{43}=$";

/// What people call something: any text on one line.
pub(crate) const TEXT: &str = "^[^\\x00-\\x1f\\x7f]*$";
