//! What is beyond the switch at the server's own address: the machine that it runs on, where a TUN device leads there.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll},
};

use super::{Drop, Hub, Inbox, Peer, Rules, Wakes, inbox::Arrived, switch::read};
use crate::{
    addresses::Network,
    packet::{Flow, Ipv4, Protocol, clamped},
    seam::PeerId,
};

/// Packets for the machine, where it takes any.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    is_open: AtomicBool,
    /// There was a device once, and so there is to be one.
    was_open: AtomicBool,
    waiting: Inbox,
}

impl Outside {
    /// There is a device from now on. What waited for the one before is lost with it.
    pub(super) fn open(&self) {
        self.waiting.clear();
        self.is_open.store(true, Relaxed);
        self.was_open.store(true, Relaxed);
    }

    /// There is none any more.
    pub(super) fn close(&self) {
        self.is_open.store(false, Relaxed);
    }

    /// Whether there is one.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    /// Whether there is one, for people: `None` where there was never to be one.
    pub(super) fn shown(&self) -> Option<bool> {
        self.was_open.load(Relaxed).then(|| self.is_open())
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
    /// There is a device that leads to the machine from now on, or there is none.
    pub(crate) fn has_device(&self, has: bool) {
        if has {
            self.outside.open();
        } else {
            self.outside.close();
        }
        // What is promised counts where packets are carried on.
        self.reroute();
    }

    /// Whether a packet to the server's own address is for the machine's device, and not for the switch: all but TCP to the ports
    /// that it serves itself.
    pub(super) fn is_outside(&self, packet: &Ipv4<'_>, doors: &[u16]) -> bool {
        let inside =
            packet.protocol == Protocol::Tcp && Flow::of(packet).ports.is_some_and(|(_, port)| doors.contains(&port));
        self.outside.is_open() && !inside
    }

    /// Whether the machine is asked to carry packets of a node to this address: it is in no network of the tunnel's, and in none that
    /// is approved for a node that is away, whose packets are nobody else's.
    pub(super) fn is_beyond(&self, to: Ipv4Addr) -> bool {
        let is_foreign = || !self.subnet.contains(to) && Network::of(to).routable(self.subnet).is_ok();
        self.outside.is_open() && is_foreign() && !self.routes.is_promised(to)
    }

    /// A packet of a node for the machine itself.
    pub(super) fn to_outside(&self, from: &Peer, bytes: &[u8], wakes: &mut Wakes) -> Result<(), Drop> {
        let is_first = self.outside.push(from.id, bytes).ok_or(Drop::Full)?;
        wakes.outside |= is_first;
        Ok(())
    }

    /// A packet of a node that the machine is to carry on, as a node with its default route here sends it (`redirectGateway`). What lies
    /// beyond is like another node, one without labels.
    pub(super) fn to_beyond(
        &self,
        from: &Peer,
        packet: &Ipv4<'_>,
        bytes: &[u8],
        rules: &Rules,
        wakes: &mut Wakes,
    ) -> Result<(), Drop> {
        rules.admit(|rules| (rules.marks(from), rules.beyond), packet)?;
        match clamped(packet, bytes, rules.segment) {
            Some(changed) => self.to_outside(from, &changed, wakes),
            None => self.to_outside(from, bytes, wakes),
        }
    }

    /// Sends a packet of the machine on its way to a node, or drops it and counts why: its own, or one from beyond that it carries.
    pub(crate) fn enter(&self, bytes: &[u8], wakes: &mut Wakes) {
        if let Err(why) = self.let_in(bytes, wakes) {
            self.drops.count(why);
        }
    }

    fn let_in(&self, bytes: &[u8], wakes: &mut Wakes) -> Result<(), Drop> {
        let (packet, rules) = (read(bytes)?, self.rules.load());
        let to = self.receiver(&packet)?;
        if packet.source != self.subnet.server() {
            if !self.is_beyond(packet.source) {
                return Err(Drop::Spoofed);
            }
            if to.is_parting() {
                return Err(Drop::Unknown);
            }
            rules.admit(|rules| (rules.beyond, rules.marks(&to)), &packet)?;
        }
        match clamped(&packet, bytes, rules.segment) {
            Some(changed) => wakes.put(&to, &changed),
            None => wakes.put(&to, bytes),
        }
    }
}
