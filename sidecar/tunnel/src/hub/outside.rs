//! What is beyond the switch at the server's own address: the machine that it runs on, where a TUN device leads there.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll},
};

use super::{Drop, Hub, Inbox, Peer, Wakes, inbox::Arrived};
use crate::{
    addresses::Network,
    packet::{Flow, Ipv4, Protocol, clamped},
    seam::PeerId,
};

/// Packets for the machine, where it takes any.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    is_open: AtomicBool,
    waiting: Inbox,
}

impl Outside {
    /// There is a device from now on.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Relaxed);
    }

    /// There is none any more.
    pub(crate) fn close(&self) {
        self.is_open.store(false, Relaxed);
    }

    /// Whether there is one.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    pub(super) fn push(&self, peer: PeerId, packet: &[u8]) -> Option<bool> {
        self.waiting.push(peer, packet)
    }

    pub(super) fn wake(&self) {
        self.waiting.wake();
    }

    /// All that wait.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<VecDeque<Arrived>> {
        self.waiting.poll_take(cx)
    }
}

impl Hub {
    /// Whether a packet to the server's own address is for the machine's device, and not for the switch: all but TCP to the ports
    /// that it serves itself.
    pub(super) fn is_outside(&self, packet: &Ipv4<'_>, doors: &[u16]) -> bool {
        let inside =
            packet.protocol == Protocol::Tcp && Flow::of(packet).ports.is_some_and(|(_, port)| doors.contains(&port));
        self.outside.is_open() && !inside
    }

    /// Whether the machine is asked to carry packets of a node to this address, which is in no network of the tunnel's: the node has
    /// its default route here (`redirectGateway`).
    pub(super) fn is_beyond(&self, to: Ipv4Addr) -> bool {
        self.outside.is_open() && !self.subnet.contains(to) && Network::of(to).routable(self.subnet).is_ok()
    }

    /// A packet of a node for the machine.
    pub(super) fn to_outside(&self, from: &Peer, bytes: &[u8], wakes: &mut Wakes) -> Result<(), Drop> {
        let is_first = self.outside.push(from.id, bytes).ok_or(Drop::Full)?;
        wakes.outside |= is_first;
        Ok(())
    }

    /// Sends a packet of the machine on its way to a node, or drops it and counts why.
    pub(crate) fn enter(&self, packet: &[u8], wakes: &mut Wakes) {
        let segment = self.rules.load().segment;
        match Ipv4::read(packet).ok().and_then(|read| clamped(&read, packet, segment)) {
            Some(changed) => self.answer(&changed, wakes),
            None => self.answer(packet, wakes),
        }
    }
}
