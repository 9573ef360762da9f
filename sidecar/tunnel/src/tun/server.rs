//! The hub at the other end of a device: the machine is at the server's own address, and beyond it.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{NoDevice, Plan, Wire, keep};
use crate::hub::{Hub, Wakes};

/// Makes a device with the server's own address, and carries packets between it and the hub from now on. Answers what it is called.
///
/// # Errors
/// See [`NoDevice`].
pub fn serve(hub: Arc<Hub>, mtu: u16) -> Result<String, NoDevice> {
    let plan = Plan { address: hub.subnet.server(), prefix: hub.subnet.prefix(), mtu };
    keep(plan, Switched { hub, wakes: Wakes::default() })
}

struct Switched {
    hub: Arc<Hub>,
    wakes: Wakes,
}

impl Wire for Switched {
    fn has_device(&mut self, has: bool) {
        self.hub.has_device(has);
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, packets: &mut Vec<Vec<u8>>) -> Poll<bool> {
        let arrived = ready!(self.hub.outside.poll_take(cx));
        packets.extend(arrived.into_iter().map(|arrived| arrived.packet));
        Poll::Ready(true)
    }

    fn bring(&mut self, packet: &[u8]) {
        self.hub.enter(packet, &mut self.wakes);
    }

    fn brought(&mut self) {
        self.wakes.wake(&self.hub);
    }
}
