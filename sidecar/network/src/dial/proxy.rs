//! Dialling through a proxy (PTP section 11.4): HTTP CONNECT, over TLS to the proxy itself where it is an `https://` one, or SOCKS5
//! with the name left to the proxy to resolve.
//!
//! The proxy carries bytes; TLS is spoken with the partner through it, so it learns neither keys nor payloads.

use std::{fmt, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::either::Either;

use super::{Address, Stream};
use crate::{
    RouteError,
    tls::{Offer, Outside},
};

/// How a proxy is written.
const FORM: &str = "write the proxy as http://host:port, https://host:port or socks5://host:port";

/// What a proxy says before the connection is ours.
const LONGEST_ANSWER: usize = 8 * 1024;
/// A user name or a password of SOCKS5 has one byte of length (RFC 1929).
const LONGEST_SECRET: usize = 255;

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Connect,
    /// The same over TLS: who asks for what, and with which login, is the proxy's alone to know.
    ConnectOverTls,
    Socks5,
}

/// A proxy to dial through.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    scheme: Scheme,
    /// Where it is.
    pub address: Address,
    /// `user:password`.
    login: Option<(String, String)>,
}

impl Proxy {
    /// Reads `http://[user:password@]host:port`, the same with `https://` or with `socks5://`.
    ///
    /// # Errors
    /// `E0000000619`; the text is not quoted, it may hold a password.
    pub fn parse(url: &str) -> Result<Self, RouteError> {
        let wrong = |rule| RouteError::BadAddress { address: "of the proxy".to_owned(), rule };
        let (scheme, rest) = match url.trim().split_once("://") {
            Some(("http", rest)) => (Scheme::Connect, rest),
            Some(("socks5" | "socks5h", rest)) => (Scheme::Socks5, rest),
            Some(("https", rest)) => (Scheme::ConnectOverTls, rest),
            _ => return Err(wrong(FORM)),
        };
        let rest = rest.trim_end_matches('/');
        let (login, host) = match rest.rsplit_once('@') {
            Some((login, host)) => (Some(login.split_once(':').unwrap_or((login, ""))), host),
            None => (None, rest),
        };
        let address = Address::parse(host).map_err(|_| wrong(FORM))?;
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let is_long =
            |(user, password): &(String, String)| user.len() > LONGEST_SECRET || password.len() > LONGEST_SECRET;
        if login.as_ref().is_some_and(is_long) {
            return Err(wrong("the proxy's user and password have 255 bytes each at most"));
        }
        Ok(Self { scheme, address, login })
    }

    /// Has the proxy connect to `host:port`.
    pub(super) async fn connect(
        &self,
        tcp: TcpStream,
        outside: &Outside,
        host: &str,
        port: u16,
    ) -> Result<Stream, String> {
        let mut stream = match self.scheme {
            Scheme::Connect | Scheme::Socks5 => Either::Left(tcp),
            Scheme::ConnectOverTls => {
                let tls = outside.connect(tcp, &self.address.host, Offer::Http1).await;
                Either::Right(Box::new(tls.map_err(|e| self.no_tls(&e))?))
            }
        };
        match self.scheme {
            Scheme::Connect | Scheme::ConnectOverTls => self.by_connect(&mut stream, host, port).await?,
            Scheme::Socks5 => self.by_socks(&mut stream, host, port).await?,
        }
        Ok(stream)
    }

    fn no_tls(&self, reason: &str) -> String {
        format!(
            "TLS with the proxy fails: {reason}; its certificate must end in a root of SSL_CERT_FILE or of this node, and name {}",
            self.address.host
        )
    }

    async fn by_connect(&self, tcp: &mut Stream, host: &str, port: u16) -> Result<(), String> {
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let login = self.login.as_ref().map_or_else(String::new, |(user, password)| {
            format!("proxy-authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
        });
        let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{login}\r\n");
        tcp.write_all(request.as_bytes()).await.map_err(|e| broke(&e))?;
        tcp.flush().await.map_err(|e| broke(&e))?;
        // Byte by byte: what follows the head is the partner's.
        let mut head = Vec::with_capacity(256);
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= LONGEST_ANSWER {
                return Err("the proxy's answer does not end".to_owned());
            }
            head.push(tcp.read_u8().await.map_err(|e| broke(&e))?);
        }
        let line = String::from_utf8_lossy(head.split(|b| *b == b'\r').next().unwrap_or_default()).into_owned();
        let status = line.split(' ').nth(1).unwrap_or_default();
        match status.as_bytes() {
            [b'2', _, _] => Ok(()),
            b"407" => Err("the proxy wants a user and a password (HTTP 407)".to_owned()),
            _ => Err(format!(
                "the proxy answered {}",
                line.chars().filter(|c| !c.is_control()).take(80).collect::<String>()
            )),
        }
    }

    /// RFC 1928, with the user and password of RFC 1929.
    async fn by_socks(&self, tcp: &mut Stream, host: &str, port: u16) -> Result<(), String> {
        let method = if self.login.is_some() { 2 } else { 0 };
        tcp.write_all(&[5, 1, method]).await.map_err(|e| broke(&e))?;
        let mut chosen = [0; 2];
        tcp.read_exact(&mut chosen).await.map_err(|e| broke(&e))?;
        if chosen != [5, method] {
            return Err("the SOCKS proxy takes no such login".to_owned());
        }
        if let Some((user, password)) = &self.login {
            let length = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
            let said = [&[1, length(user)], user.as_bytes(), &[length(password)], password.as_bytes()].concat();
            tcp.write_all(&said).await.map_err(|e| broke(&e))?;
            tcp.read_exact(&mut chosen).await.map_err(|e| broke(&e))?;
            if chosen[1] != 0 {
                return Err("the SOCKS proxy refused user and password".to_owned());
            }
        }
        let target = match host.parse() {
            Ok(IpAddr::V4(ip)) => [&[1][..], &ip.octets()].concat(),
            Ok(IpAddr::V6(ip)) => [&[4][..], &ip.octets()].concat(),
            Err(_) => [&[3, u8::try_from(host.len()).unwrap_or(u8::MAX)], host.as_bytes()].concat(),
        };
        let request = [&[5, 1, 0], &target[..], &port.to_be_bytes()].concat();
        tcp.write_all(&request).await.map_err(|e| broke(&e))?;
        let mut head = [0; 4];
        tcp.read_exact(&mut head).await.map_err(|e| broke(&e))?;
        let rest = match head[3] {
            1 => 4,
            4 => 16,
            _ => usize::from(tcp.read_u8().await.map_err(|e| broke(&e))?),
        };
        let mut bound = vec![0; rest + 2];
        tcp.read_exact(&mut bound).await.map_err(|e| broke(&e))?;
        match head[1] {
            0 => Ok(()),
            2 => Err("the SOCKS proxy does not permit that address".to_owned()),
            3 | 4 => Err("the SOCKS proxy does not reach that address".to_owned()),
            5 => Err("the SOCKS proxy's connection was refused".to_owned()),
            other => Err(format!("the SOCKS proxy answered {other}")),
        }
    }
}

fn broke(error: &std::io::Error) -> String {
    format!("the proxy broke off: {error}")
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?} {})", self.scheme, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_and_its_password_never_shown() {
        let proxy = Proxy::parse("http://user:secret@proxy.example:3128/").unwrap();
        assert_eq!(proxy.address.to_string(), "proxy.example:3128");
        assert!(!format!("{proxy:?}").contains("secret"));
        assert_eq!(Proxy::parse("socks5://10.0.0.1:1080").unwrap().login, None);
        let over_tls = Proxy::parse("https://user:secret@proxy.example:3129").unwrap();
        assert_eq!((over_tls.scheme, over_tls.address.port), (Scheme::ConnectOverTls, 3129));
        for wrong in ["", "proxy:3128", "https://p", "ftp://p:1", "http://p", "http://u:secret@:1", "http://a b:1"] {
            let refused = Proxy::parse(wrong).unwrap_err();
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
    }
}
