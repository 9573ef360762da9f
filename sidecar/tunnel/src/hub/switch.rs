//! A packet's way through the hub (NC section 4, routing; section 8, data plane).

use std::sync::Arc;

use super::{Drop, Hub, Peer, Rules, policy::Marks};
use crate::packet::{Ipv4, Malformed, Protocol, clamped, echo_reply};

/// Whom to wake once all packets of a turn are in their queues: a receiver then finds many, and sends them at once.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    peers: Vec<Arc<Peer>>,
    inside: bool,
    pub(super) outside: bool,
}

impl Wakes {
    /// Wakes them.
    pub(crate) fn wake(&mut self, hub: &Hub) {
        self.peers.drain(..).for_each(|peer| peer.wake());
        if std::mem::take(&mut self.inside) {
            hub.inbox.wake();
        }
        if std::mem::take(&mut self.outside) {
            hub.outside.wake();
        }
    }

    pub(super) fn put(&mut self, peer: &Arc<Peer>, packet: &[u8]) -> Result<(), Drop> {
        if peer.push(packet)? {
            self.peers.push(Arc::clone(peer));
        }
        Ok(())
    }
}

impl Hub {
    /// Sends a packet of a peer on its way, or drops it and counts why.
    pub(crate) fn forward(&self, from: &Arc<Peer>, packet: &[u8], wakes: &mut Wakes) {
        from.brought(packet.len());
        match self.send(from, packet, wakes) {
            Ok(()) => {}
            Err(why) => {
                self.drops.count(why);
                // A full queue was counted by the peer that has it.
                if why != Drop::Full {
                    from.drops.count(why);
                }
            }
        }
    }

    /// Sends a packet of the server itself.
    pub(crate) fn answer(&self, packet: &[u8], wakes: &mut Wakes) {
        let sent = read(packet).and_then(|read| wakes.put(&self.receiver(&read)?, packet));
        if let Err(why) = sent {
            self.drops.count(why);
        }
    }

    /// Who has the address that a packet goes to, or the network that it lies in.
    pub(super) fn receiver(&self, packet: &Ipv4<'_>) -> Result<Arc<Peer>, Drop> {
        let at = self.table.find(packet.destination);
        at.as_ref().map(Arc::clone).or_else(|| self.routes.find(packet.destination)).ok_or(Drop::Unknown)
    }

    fn send(&self, from: &Arc<Peer>, bytes: &[u8], wakes: &mut Wakes) -> Result<(), Drop> {
        let packet = read(bytes)?;
        // One that was cut may have packets under way still: nothing of it passes any more.
        if from.has_ended() {
            return Err(Drop::Closed);
        }
        if !from.may_send_as(packet.source) {
            return Err(Drop::Spoofed);
        }
        let rules = self.rules.load();
        if packet.destination == self.subnet.server() {
            return self.to_server(from, &packet, bytes, &rules, wakes);
        }
        if from.is_parting() {
            return Err(Drop::Closed);
        }
        let to = packet.destination;
        if to.is_multicast() || to.is_broadcast() || to.is_unspecified() || to == self.subnet.broadcast() {
            return Err(Drop::NotUnicast);
        }
        let behind;
        let at = self.table.find(to);
        let to = match at.as_ref() {
            Some(to) => to,
            None => match self.routes.find(to) {
                Some(peer) => {
                    behind = peer;
                    &behind
                }
                None if self.is_beyond(to) => return self.to_beyond(from, &packet, bytes, &rules, wakes),
                None => return Err(Drop::Unknown),
            },
        };
        if Arc::ptr_eq(from, to) {
            return Err(Drop::Own);
        }
        if to.is_parting() {
            return Err(Drop::Unknown);
        }
        rules.admit(|rules| (rules.marks(from), rules.marks(to)), &packet)?;
        match clamped(&packet, bytes, rules.segment) {
            Some(changed) => wakes.put(to, &changed),
            None => wakes.put(to, bytes),
        }
    }

    /// To the server's own address: pings are answered here, TCP inside.
    fn to_server(
        &self,
        from: &Arc<Peer>,
        packet: &Ipv4<'_>,
        bytes: &[u8],
        rules: &Rules,
        wakes: &mut Wakes,
    ) -> Result<(), Drop> {
        if self.is_outside(packet, &rules.doors) {
            return match clamped(packet, bytes, rules.segment) {
                Some(changed) => self.to_outside(from, &changed, wakes),
                None => self.to_outside(from, bytes, wakes),
            };
        }
        match packet.protocol {
            Protocol::Icmp => wakes.put(from, &echo_reply(packet).ok_or(Drop::Closed)?),
            Protocol::Tcp => {
                let changed = clamped(packet, bytes, rules.segment);
                let is_first = self.inbox.push(from.id, changed.as_deref().unwrap_or(bytes)).ok_or(Drop::Full)?;
                wakes.inside |= is_first;
                Ok(())
            }
            Protocol::Udp | Protocol::Other => Err(Drop::Closed),
        }
    }
}

impl Rules {
    /// Whether a packet may go from one to the other, neither of which is the server itself.
    pub(super) fn admit(&self, ends: impl FnOnce(&Self) -> (Marks, Marks), packet: &Ipv4<'_>) -> Result<(), Drop> {
        if !self.interconnection {
            return Err(Drop::Isolated);
        }
        if self.policy.is_open() {
            return Ok(());
        }
        let (from, to) = ends(self);
        if self.policy.allows(&from, &to, packet) { Ok(()) } else { Err(Drop::Denied) }
    }

    /// Which rules name a peer, found out once for each policy.
    pub(super) fn marks(&self, peer: &Peer) -> Marks {
        let known = **peer.marks.load();
        if self.policy.made(&known) {
            return known;
        }
        let marks = self.policy.marks(&peer.labels);
        peer.marks.store(Arc::new(marks));
        marks
    }
}

/// Reads a packet, or says why it is dropped.
pub(super) fn read(bytes: &[u8]) -> Result<Ipv4<'_>, Drop> {
    Ipv4::read(bytes).map_err(|why| match why {
        Malformed::NotIpv4 => Drop::NotIpv4,
        Malformed::Header | Malformed::Length => Drop::Malformed,
    })
}
