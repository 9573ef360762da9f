//! What carries packets: a node of ours, by its switch alone and with a TUN device, the hub in Go, and bytes alone; and who is in them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

use super::traffic::Pair;
use crate::{
    client::{Expect, Grpc, Member, secured},
    peer::{bytes_alone, go_hub},
    process::{Server, free_port},
    work::folder,
};

/// Where GetToken is.
const GET_TOKEN: &str = "/pb.LiteKubeNCBootstrapService/GetToken";

/// A network that the switch carries alone, with places for thousands of nodes.
const SWITCHED: &str = "subnet: 10.1.0.1/16";
/// One that this machine is in too: of the addresses that are kept for benchmarks (RFC 2544), which lead nowhere else.
const WITH_DEVICE: &str = "subnet: 198.18.0.1/16, mode: Tun";

/// A node of ours with a network controller.
pub(super) struct Ours {
    pub(super) server: Server,
    pub(super) tunnel: SocketAddr,
    pub(super) bootstrap: SocketAddr,
    /// With which any number of nodes join.
    pub(super) token: String,
}

impl Ours {
    pub(super) fn start() -> Result<Self> {
        Self::start_in(SWITCHED)
    }

    fn start_in(network: &str) -> Result<Self> {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let [tunnel, register, bootstrap] = [local(free_port()?), local(free_port()?), local(free_port()?)];
        let section = format!("tunnel: {{advertise: 127.0.0.1, {network}, interconnection: true}}\n");
        let environment = [
            ("MESH_TUNNEL_LISTEN", tunnel.to_string()),
            ("MESH_TUNNEL_GRPC_LISTEN", register.to_string()),
            ("MESH_TUNNEL_BOOTSTRAP_LISTEN", bootstrap.to_string()),
        ];
        let server = Server::mesh_with(&folder("mesh")?, Some(&section), &environment)?;
        let words = ["tunnel", "token", "create", "--legacy", "--max-uses", "0", "--endless"];
        let shown = server.command(&words)?;
        let token = shown.split('@').next().unwrap_or_default().to_owned();
        Ok(Self { server, tunnel, bootstrap, token })
    }

    /// A caller of GetToken.
    pub(super) fn caller(&self) -> Result<Grpc> {
        caller(self.bootstrap, &self.token)
    }

    /// Tokens of so many new nodes.
    pub(super) fn nodes(&self, count: usize) -> Result<Vec<String>> {
        let (mut tokens, mut caller) = (Vec::new(), self.caller()?);
        for n in 0..count {
            // As often as one source may join at once.
            if n % CALLS == CALLS - 1 {
                caller = self.caller()?;
            }
            caller.turn()?;
            tokens.push(token_of(caller.message()).context("no token")?);
        }
        Ok(tokens)
    }
}

/// Calls of GetToken that one source may make at once (NC section 8).
pub(super) const CALLS: usize = 100;

/// An answer without six PEMs is shorter.
const GOOD: usize = 3000;

/// A caller from a source that was not there before.
pub(super) fn caller(to: SocketAddr, token: &str) -> Result<Grpc> {
    let stream = secured(source(), to, &[b"h2"])?;
    let message = [&[0x0a, u8::try_from(token.len())?][..], token.as_bytes()].concat();
    Grpc::over(Box::new(stream), to, "", &[(GET_TOKEN, message, Expect::AtLeast(GOOD))])
}

/// Another address of this machine each time.
pub(super) fn source() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0x7f02_0001);
    Ipv4Addr::from_bits(NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// The third field of an answer, all of which are texts.
fn token_of(mut answer: &[u8]) -> Option<String> {
    loop {
        let (tag, length) = (*answer.first()?, usize::from(*answer.get(1)?));
        let text = answer.get(2..2 + length)?;
        if tag == 0x1a {
            return String::from_utf8(text.to_vec()).ok();
        }
        answer = answer.get(2 + length..)?;
    }
}

/// What results call a node of ours with a TUN device.
const DEVICE: &str = "mode Tun";

/// A hub with pairs of members.
pub(super) struct Stage {
    pub(super) name: &'static str,
    pub(super) hub: Server,
    pub(super) pairs: Vec<Pair>,
}

impl Stage {
    pub(super) fn ours(pairs: usize) -> Result<Self> {
        Self::of("ours", Ours::start()?, pairs)
    }

    /// The same where the server's machine is in the network by a TUN device, which wants CAP_NET_ADMIN.
    pub(super) fn with_device(pairs: usize) -> Result<Self> {
        Self::of(DEVICE, Ours::start_in(WITH_DEVICE)?, pairs)
    }

    fn of(name: &'static str, ours: Ours, pairs: usize) -> Result<Self> {
        let nodes = ours.nodes(2 * pairs)?;
        let pairs = paired(pairs, |n| Member::open(source(), ours.tunnel, &nodes[n], None))?;
        Ok(Self { name, hub: ours.server, pairs })
    }

    pub(super) fn go(pairs: usize) -> Result<Self> {
        let hub = go_hub()?;
        let pairs = paired(pairs, |n| Member::open(source(), hub.address, &n.to_string(), None))?;
        Ok(Self { name: "Go hub", hub, pairs })
    }

    pub(super) fn bytes(pairs: usize) -> Result<Self> {
        let hub = bytes_alone()?;
        let open = |n: usize| {
            let address = Ipv4Addr::new(10, 1, 0, u8::try_from(2 * n + 3)?);
            Member::open(source(), hub.address, &n.to_string(), Some(address))
        };
        let pairs = paired(pairs, open)?;
        Ok(Self { name: "bytes alone", hub, pairs })
    }
}

fn paired(pairs: usize, open: impl Fn(usize) -> Result<Member>) -> Result<Vec<Pair>> {
    (0..pairs).map(|n| Pair::new(open(2 * n)?, open(2 * n + 1)?)).collect()
}
