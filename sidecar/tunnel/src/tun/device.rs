//! The device: made with its address, and packets between it and its other end.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use smoltcp::{
    phy::{Device as _, Medium, RxToken as _, TunTapInterface, TxToken as _},
    time::Instant,
};
use tokio::{
    io::unix::AsyncFd,
    time::{Interval, interval},
};

use super::{NoDevice, Plan, Wire, contained::contained, netlink};

/// Names that are tried in turn: other programs of the machine may have the first ones.
const NAMES: usize = 16;
/// What a device takes when it is made; the tunnel's packets are no larger on it.
const LARGEST: u16 = 1500;
/// How soon it is missed where somebody deletes it or switches it off.
const LOOK: Duration = Duration::from_secs(1);
/// Packets that are taken in before others have their turn.
const PACKETS_IN_A_ROW: usize = 256;

/// A device with a name that was free, and no address.
pub(super) fn make() -> Result<(String, TunTapInterface), NoDevice> {
    let called = |number| format!("mesh{number}");
    let mut taken = None;
    for name in (0..NAMES).map(called) {
        match TunTapInterface::new(&name, Medium::Ip) {
            Ok(device) => return Ok((name, device)),
            // Another program's TUN device, or an interface that is none.
            Err(e) if matches!(e.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::InvalidInput) => taken = Some(e),
            Err(e) => return Err(NoDevice::Make(e)),
        }
    }
    let source = taken.unwrap_or_else(|| io::ErrorKind::ResourceBusy.into());
    Err(NoDevice::Names { first: called(0), last: called(NAMES - 1), source })
}

/// A device with its address.
pub(super) struct Opened {
    pub(super) name: String,
    /// What the kernel calls it.
    pub(super) number: u32,
    pub(super) device: AsyncFd<TunTapInterface>,
}

/// Makes one.
#[expect(
    deprecated,
    reason = "its successor is unsafe code; the device owns its descriptor for longer than it is waited for"
)]
pub(super) fn open(plan: Plan) -> Result<Opened, NoDevice> {
    let (name, device) = make()?;
    let Plan { address, prefix, mtu } = plan;
    let set_up = netlink::set_up(&name, address, prefix, mtu.min(LARGEST));
    match set_up.and_then(|number| Ok((number, AsyncFd::new(device)?))) {
        Ok((number, device)) => Ok(Opened { name, number, device }),
        Err(source) => Err(NoDevice::SetUp { name, address, prefix, source }),
    }
}

/// A device at work.
pub(super) struct Carrying<'w, W> {
    number: u32,
    /// When it is looked at again: nobody is told when it is deleted, unless a packet goes to it.
    look: Interval,
    device: AsyncFd<TunTapInterface>,
    wire: &'w mut W,
    packets: Vec<Vec<u8>>,
}

impl<'w, W: Wire> Carrying<'w, W> {
    pub(super) fn new((number, device): (u32, AsyncFd<TunTapInterface>), wire: &'w mut W) -> Self {
        Self { number, look: interval(LOOK), device, wire, packets: Vec::new() }
    }

    /// Ready when the other end is over, or the device is lost.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoDevice>> {
        while self.look.poll_tick(cx).is_ready() {
            match netlink::is_up(self.number) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Err(NoDevice::Gone)),
                Err(e) => tracing::debug!("the TUN device is not looked at: {e}"),
            }
        }
        if let Poll::Ready(ended) = self.outward(cx) {
            return Poll::Ready(ended);
        }
        let inward = self.inward(cx);
        self.wire.brought();
        inward.map(Err)
    }

    fn inward(&mut self, cx: &mut Context<'_>) -> Poll<NoDevice> {
        for _ in 0..PACKETS_IN_A_ROW {
            let mut ready = match ready!(self.device.poll_read_ready_mut(cx)) {
                Ok(ready) => ready,
                Err(e) => return Poll::Ready(NoDevice::Wait(e)),
            };
            let device = ready.get_inner_mut();
            match contained(|| device.receive(Instant::ZERO).map(|(packet, _)| packet)) {
                Ok(Some(packet)) => packet.consume(|packet| self.wire.bring(packet)),
                Ok(None) => ready.clear_ready(),
                Err(_) => return Poll::Ready(NoDevice::Gone),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// To the device, which takes a packet at once or loses it. What waits now, and no more: nodes that send without end must not
    /// keep those away to whom the machine sends. Ready when the other end is over, or the device is lost.
    fn outward(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoDevice>> {
        if !ready!(self.wire.poll_take(cx, &mut self.packets)) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        for packet in self.packets.drain(..) {
            let Some(token) = self.device.get_mut().transmit(Instant::ZERO) else { continue };
            // It is switched off or deleted, and was not looked at since.
            if contained(|| token.consume(packet.len(), |room| room.copy_from_slice(&packet))).is_err() {
                return Poll::Ready(Err(NoDevice::Gone));
            }
        }
        Poll::Pending
    }
}
