//! This machine in the tunnel by a TUN device with the node's address: its packets go as they are, and TCP is the kernel's.

use std::{
    net::Ipv4Addr,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    JoinError, Ways,
    link::{Ended, Link},
};
use crate::{
    packet::Ipv4,
    tun::{self, Plan, Wire},
};

/// Packets that wait for the device and for the link each; what comes then is lost, as on any bad line.
const WAITING: usize = 1024;
/// Packets that go one way before others of the thread have their turn.
const PACKETS_IN_A_ROW: usize = 256;

/// A device, as long as this is there.
pub(super) struct Machine {
    plan: Plan,
    to: mpsc::Sender<Bytes>,
    from: mpsc::Receiver<Vec<u8>>,
}

impl Machine {
    /// Makes a device.
    pub(super) fn new(plan: Plan) -> Result<Self, JoinError> {
        let ((to, taken), (brought, from)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
        let name = tun::keep(plan, Lines { taken, brought }).map_err(|e| JoinError::Local(e.to_string()))?;
        tracing::info!(name, address = %plan.address, "this machine is in the tunnel's network");
        Ok(Self { plan, to, from })
    }

    /// Whether it is as it is to be.
    pub(super) fn is(&self, plan: Plan) -> bool {
        self.plan == plan
    }

    /// What the machine sends while there is no link is lost.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = self.from.poll_recv(cx) {}
    }

    /// Carries packets both ways. Comes back when the link is over.
    pub(super) fn poll(&mut self, link: &mut Link, ways: &Ways, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..PACKETS_IN_A_ROW {
            match link.poll_packet(cx) {
                Poll::Ready(Ok(packet)) if self.takes(ways, &packet) => drop(self.to.try_send(packet)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(ended)) => return Poll::Ready(ended),
                Poll::Pending => return self.poll_out(link, cx),
            }
        }
        cx.waker().wake_by_ref();
        self.poll_out(link, cx)
    }

    fn poll_out(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..PACKETS_IN_A_ROW {
            if !link.has_room() {
                if let Poll::Ready(ended) = link.poll_write(cx) {
                    return Poll::Ready(ended);
                }
                // Whatever makes room comes back here.
                if !link.has_room() {
                    return Poll::Pending;
                }
            }
            match self.from.poll_recv(cx) {
                // Kernels ask for routers by IPv6 on each new device, and the tunnel has none.
                Poll::Ready(Some(packet)) if Ipv4::read(&packet).is_ok() => link.push(&packet),
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) | Poll::Pending => return link.poll_write(cx),
            }
        }
        cx.waker().wake_by_ref();
        link.poll_write(cx)
    }

    /// Whether a packet from the tunnel is for this node, or for a network behind it.
    fn takes(&self, ways: &Ways, packet: &[u8]) -> bool {
        let to = |packet: &Ipv4<'_>| packet.destination;
        let is_ours = |to: Ipv4Addr| to == self.plan.address || ways.is_behind(to);
        Ipv4::read(packet).is_ok_and(|packet| is_ours(to(&packet)))
    }
}

/// The device's end of both.
struct Lines {
    taken: mpsc::Receiver<Bytes>,
    brought: mpsc::Sender<Vec<u8>>,
}

impl Wire for Lines {
    fn has_device(&mut self, _: bool) {}

    fn poll_take(&mut self, cx: &mut Context<'_>, packets: &mut Vec<Vec<u8>>) -> Poll<bool> {
        let Some(first) = ready!(self.taken.poll_recv(cx)) else { return Poll::Ready(false) };
        packets.push(first.into());
        while let Ok(next) = self.taken.try_recv() {
            packets.push(next.into());
        }
        Poll::Ready(true)
    }

    fn bring(&mut self, packet: &[u8]) {
        // Where it is full, the packet is lost.
        let _ = self.brought.try_send(packet.to_vec());
    }

    fn brought(&mut self) {}
}
