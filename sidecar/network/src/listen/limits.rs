//! The bounds of a listener, each with its default and the reason for it.

use std::time::Duration;

/// The bounds of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections from loopback: this node's applications. Default 16 384: ten thousand idle SDK clients and room.
    pub local_connections: usize,
    /// Connections from elsewhere; a bound of its own, so that strangers never shut out applications. Default 16 384. Of each
    /// room those of which no request was admitted get half, and the oldest of them gives way to the next.
    pub remote_connections: usize,
    /// Connections from one address elsewhere, of IPv6 from one /64. Default 4096: a quarter of the room. A partner has some
    /// 24, and twice that while it changes its certificate; behind one proxy or load balancer that hides addresses are 80 of
    /// them.
    pub household_connections: usize,
    /// How long a new connection may wait before its first byte, and a TLS one before its handshake is done. Default 10 s:
    /// the slowest link of a partner needs three round trips.
    pub handshake: Duration,
    /// How long a request's headers may take once they began. Default 15 s.
    pub headers: Duration,
    /// How long a connection may stay of which no request was admitted: strangers must not fill the bound for partners.
    /// Default 60 s: health checks of `/stats` come more often and may connect anew.
    pub strangers: Duration,
    /// The most bytes of headers. Default 64 KiB: sixteen values of the longest size that proxies pass, and room.
    pub header_bytes: usize,
    /// HTTP/2 pings after this silence, and gives up after the same once more. Default 20 s: a third of the 60 s after which
    /// middle boxes cut idle connections.
    pub ping: Duration,
    /// Requests at the same time on one HTTP/2 connection. Default 1024: each blocking pop of a partner's node is one.
    pub streams: u32,
    /// How long a connection that we close may go on sending what nobody reads, so that it still sees our answer
    /// (PTP section 13.2). Default 2 s.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            local_connections: 16_384,
            remote_connections: 16_384,
            household_connections: 4096,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(15),
            strangers: Duration::from_secs(60),
            header_bytes: 64 * 1024,
            ping: Duration::from_secs(20),
            streams: 1024,
            linger: Duration::from_secs(2),
        }
    }
}
