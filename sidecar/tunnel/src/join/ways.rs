//! Which local ports lead into the tunnel, and which ports of the node's address in it lead to something here.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    str::FromStr,
    sync::Arc,
};

use tokio::{
    io::{DuplexStream, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep,
};

use super::{Confines, JoinError, dial};
use crate::{
    addresses::Network,
    ledger::MOST_ROUTES,
    packet::{Ipv4, Protocol},
};

/// When descriptors have run out, every accept fails at once.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// Connections that wait to enter the tunnel: while it is away, applications wait as for any slow server.
const WAITING: usize = 64;

/// `PORT:ADDRESS:PORT`: a port of this machine leads to an address in the tunnel. `IP:` before it listens elsewhere than at loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it leads.
    pub to: SocketAddrV4,
}

/// `PORT:HOST:PORT`: a port of the node's address in the tunnel leads to a TCP address that this machine reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The port in the tunnel.
    pub port: u16,
    /// Where it leads.
    pub to: (String, u16),
}

/// Why a text is none of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAWay {
    /// Of [`Forwarded`].
    #[error(
        "PORT:ADDRESS:PORT, such as 8080:10.1.1.5:80; or IP:PORT:ADDRESS:PORT to listen elsewhere than at 127.0.0.1"
    )]
    Forward,
    /// Of [`Exposed`].
    #[error("PORT:HOST:PORT, such as 80:127.0.0.1:8080")]
    Expose,
}

impl FromStr for Forwarded {
    type Err = NotAWay;

    fn from_str(text: &str) -> Result<Self, NotAWay> {
        let parts: Vec<&str> = text.rsplitn(4, ':').collect();
        let (host, port, to) = match parts[..] {
            [to_port, to, port] => ("127.0.0.1", port, (to, to_port)),
            [to_port, to, port, host] => (host, port, (to, to_port)),
            _ => return Err(NotAWay::Forward),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host: IpAddr = host.parse().map_err(|_| NotAWay::Forward)?;
        let address: Ipv4Addr = to.0.parse().map_err(|_| NotAWay::Forward)?;
        let (port, to) = (read_port(port, NotAWay::Forward)?, read_port(to.1, NotAWay::Forward)?);
        Ok(Self { listen: (host, port).into(), to: SocketAddrV4::new(address, to) })
    }
}

impl FromStr for Exposed {
    type Err = NotAWay;

    fn from_str(text: &str) -> Result<Self, NotAWay> {
        let (port, to) = text.split_once(':').ok_or(NotAWay::Expose)?;
        let (host, to) = dial::split(to).ok_or(NotAWay::Expose)?;
        if to == 0 {
            return Err(NotAWay::Expose);
        }
        Ok(Self { port: read_port(port, NotAWay::Expose)?, to: (host.to_owned(), to) })
    }
}

fn read_port(text: &str, otherwise: NotAWay) -> Result<u16, NotAWay> {
    text.parse().ok().filter(|port| *port != 0).ok_or(otherwise)
}

/// A connection of an application of this machine that wants into the tunnel.
pub(super) struct Entering {
    pub(super) tcp: TcpStream,
    pub(super) to: SocketAddrV4,
}

/// All ways of a node, with its listeners bound.
pub struct Ways {
    pub(super) entering: mpsc::Receiver<Entering>,
    /// Where its listeners are.
    #[cfg(test)]
    pub(super) listening: Vec<SocketAddr>,
    exposed: Vec<Exposed>,
    /// Where the machine itself is in the tunnel, by a device: in which networks it may be.
    pub(super) device: Option<Confines>,
    /// The networks of this machine that are reached through it.
    pub(super) networks: Arc<[Network]>,
}

impl Ways {
    /// Binds the listeners and begins to accept.
    ///
    /// # Errors
    /// A port that is taken, or not the user's to take.
    pub async fn open(
        forwards: &[Forwarded],
        exposed: Vec<Exposed>,
        networks: Vec<Network>,
    ) -> Result<Self, JoinError> {
        if networks.len() > MOST_ROUTES {
            return Err(JoinError::Local(format!("a node announces at most {MOST_ROUTES} networks")));
        }
        let (enter, entering) = mpsc::channel(WAITING);
        let mut listening = Vec::new();
        for forward in forwards {
            let local = |e| JoinError::Local(format!("cannot listen at {}: {e}", forward.listen));
            let listener = TcpListener::bind(forward.listen).await.map_err(local)?;
            listening.push(listener.local_addr().map_err(local)?);
            tokio::spawn(accept(listener, forward.to, enter.clone()));
        }
        if !forwards.is_empty() {
            tracing::info!(?listening, "ports of this machine lead into the tunnel");
        }
        Ok(Self {
            entering,
            exposed,
            device: None,
            networks: networks.into(),
            #[cfg(test)]
            listening,
        })
    }

    /// The same for a machine that is in the tunnel itself, by a TUN device: ports of it lead nowhere else.
    #[must_use]
    pub fn by_device(self, confines: Confines) -> Self {
        Self { device: Some(confines), ..self }
    }

    /// Whether a packet from the tunnel is for this node at `own`: to its address, or TCP to a network behind it.
    pub(super) fn takes(&self, own: Ipv4Addr, packet: &[u8]) -> bool {
        Ipv4::read(packet).is_ok_and(|packet| {
            packet.destination == own || packet.protocol == Protocol::Tcp && self.is_behind(packet.destination)
        })
    }

    /// Whether a place in the tunnel leads anywhere from here: a port of the node's address `own`, or an address behind the node.
    pub(super) fn has(&self, own: Ipv4Addr, to: SocketAddrV4) -> bool {
        if *to.ip() == own { self.exposed_at(to.port()).is_some() } else { self.is_behind(*to.ip()) }
    }

    /// Lets a connection of the tunnel through to what it is to: the place behind the node, or what the port leads to.
    pub(super) fn leave(&self, to: SocketAddrV4, mut stream: DuplexStream) {
        let (host, port) = match self.exposed_at(to.port()) {
            _ if self.is_behind(*to.ip()) => (to.ip().to_string(), to.port()),
            Some(exposed) => exposed.to.clone(),
            None => return,
        };
        tokio::spawn(async move {
            match dial::tcp(&host, port).await {
                Ok(mut target) => drop(copy_bidirectional(&mut stream, &mut target).await),
                Err(e) => tracing::warn!(%to, "what is reached through this node does not connect: {e}"),
            }
        });
    }

    fn exposed_at(&self, port: u16) -> Option<&Exposed> {
        self.exposed.iter().find(|exposed| exposed.port == port)
    }

    pub(super) fn is_behind(&self, address: Ipv4Addr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// Accepts until the node is gone.
async fn accept(listener: TcpListener, to: SocketAddrV4, enter: mpsc::Sender<Entering>) {
    loop {
        // A place first: whom it is not there for waits in the system's queue.
        let Ok(place) = enter.reserve().await else { return };
        match listener.accept().await {
            Ok((tcp, _)) => {
                // A message is a segment; nobody should wait for an acknowledgement.
                let _ = tcp.set_nodelay(true);
                place.send(Entering { tcp, to });
            }
            Err(e) => {
                tracing::warn!("accepting connections for {to} pauses: {e}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Carries a connection that has entered the tunnel, to its end.
pub(super) fn carry(mut tcp: TcpStream, mut stream: DuplexStream) {
    tokio::spawn(async move { drop(copy_bidirectional(&mut tcp, &mut stream).await) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::made;

    #[tokio::test]
    async fn what_is_behind_a_node_is_reached_by_tcp_and_nothing_else_is() {
        let own = Ipv4Addr::new(10, 1, 1, 3);
        let exposed = vec![Exposed { port: 80, to: ("127.0.0.1".into(), 9) }];
        let ways = Ways::open(&[], exposed, vec!["192.168.7.0/24".parse().unwrap()]).await.unwrap();
        let from = [10, 1, 1, 5];
        for (to, tcp, udp) in
            [([10, 1, 1, 3], true, true), ([192, 168, 7, 9], true, false), ([192, 168, 8, 9], false, false)]
        {
            assert_eq!(ways.takes(own, &made::tcp(from, to, (1, 22), 2, &[])), tcp, "{to:?}");
            assert_eq!(ways.takes(own, &made::udp(from, to, (1, 22), b"")), udp, "{to:?}");
        }
        assert!(!ways.takes(own, b"E"));
        let has = |to: [u8; 4], port| ways.has(own, SocketAddrV4::new(to.into(), port));
        assert!(has([10, 1, 1, 3], 80) && !has([10, 1, 1, 3], 22));
        assert!(has([192, 168, 7, 9], 22) && !has([192, 168, 8, 9], 80));
        let many = (0..=MOST_ROUTES).map(|n| format!("10.{n}.0.0/16").parse().unwrap()).collect();
        assert!(Ways::open(&[], Vec::new(), many).await.is_err());
    }

    #[test]
    fn ways_are_read_as_they_are_written() {
        let forward = |text: &str| text.parse::<Forwarded>().map(|it| (it.listen.to_string(), it.to.to_string()));
        assert_eq!(forward("8080:10.1.1.5:80"), Ok(("127.0.0.1:8080".into(), "10.1.1.5:80".into())));
        assert_eq!(forward("0.0.0.0:8080:10.1.1.5:80"), Ok(("0.0.0.0:8080".into(), "10.1.1.5:80".into())));
        assert_eq!(forward("[::1]:8080:10.1.1.5:80"), Ok(("[::1]:8080".into(), "10.1.1.5:80".into())));
        for bad in ["", "8080", "8080:10.1.1.5", "0:10.1.1.5:80", "8080:host:80", "a:1:10.1.1.5:80", "8080:10.1.1.5:0"]
        {
            assert_eq!(forward(bad), Err(NotAWay::Forward), "{bad}");
        }
        let expose = |text: &str| text.parse::<Exposed>().map(|it| (it.port, it.to));
        assert_eq!(expose("80:127.0.0.1:8080"), Ok((80, ("127.0.0.1".into(), 8080))));
        assert_eq!(expose("80:[::1]:8080"), Ok((80, ("::1".into(), 8080))));
        for bad in ["", "80", "80:8080", "80::8080", "0:a:1", "80:a:0", "80:a:65536"] {
            assert_eq!(expose(bad), Err(NotAWay::Expose), "{bad}");
        }
    }
}
