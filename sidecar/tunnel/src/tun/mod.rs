//! The server's own address on a TUN device of its machine (NC section 8, data plane): opt-in, and it wants CAP_NET_ADMIN.
//!
//! With it the machine itself is in the network: it has x.x.x.1, reaches nodes, and is reached by them at the ports that its own
//! firewall lets them reach. Port 6440 and the forwards stay with the switch, which knows whose a connection is.
//!
//! A thread of its own has the device, as the library that makes it keeps it to one, and panics where the kernel takes the device
//! away: that ends the thread and nothing else, and the switch answers by itself again.
//!
//! ```text
//! netlink.rs   its address, its largest packet, and that it is up
//! ```

mod netlink;

use std::{
    future::poll_fn,
    io,
    sync::{Arc, mpsc},
    task::{Context, Poll, ready},
    thread,
};

use smoltcp::{
    phy::{Device as _, Medium, RxToken as _, TunTapInterface, TxToken as _},
    time::Instant,
};
use tokio::io::unix::AsyncFd;

use crate::{
    addresses::Subnet,
    hub::{Arrived, Hub, Wakes},
};

/// Names that are tried in turn: other programs of the machine may have the first ones.
const NAMES: usize = 16;
/// What a device takes when it is made; the tunnel's packets are no larger on it.
const LARGEST: u16 = 1500;
/// Packets that are taken in before others have their turn.
const PACKETS_IN_A_ROW: usize = 256;

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum NoDevice {
    /// This machine does not let it be made.
    #[error("a TUN device cannot be made: it wants CAP_NET_ADMIN and /dev/net/tun ({0})")]
    Make(io::Error),
    /// It is there, and not as it shall be.
    #[error("the TUN device {name} cannot be given {subnet}: {source}")]
    SetUp {
        /// What it is called.
        name: String,
        /// What it was to be given.
        subnet: Subnet,
        /// What the kernel says.
        source: io::Error,
    },
    /// Its thread.
    #[error("the thread of the TUN device: {0}")]
    Thread(io::Error),
}

/// Makes a device with the server's own address, and carries packets between it and the hub for as long as both are there. Answers
/// what the device is called, which takes a moment of the caller's.
///
/// # Errors
/// See [`NoDevice`].
pub fn serve(hub: Arc<Hub>, subnet: Subnet, mtu: u16) -> Result<String, NoDevice> {
    let (tell, told) = mpsc::sync_channel(1);
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(e) => return drop(tell.send(Err(NoDevice::Thread(e)))),
        };
        runtime.block_on(async move {
            let (name, device) = match open(subnet, mtu) {
                Ok(made) => made,
                Err(e) => return drop(tell.send(Err(e))),
            };
            let open = Open::begin(Arc::clone(&hub), name.clone());
            if tell.send(Ok(name)).is_ok() {
                let mut carrying = Carrying { hub, device, wakes: Wakes::default() };
                let lost = poll_fn(|cx| carrying.poll(cx)).await;
                tracing::error!("the TUN device does not wait: {lost}");
            }
            drop(open);
        });
    };
    thread::Builder::new().name("tun".into()).spawn(run).map_err(NoDevice::Thread)?;
    told.recv().unwrap_or_else(|_| Err(NoDevice::Make(io::Error::other("it did not begin"))))
}

/// A device with its address, and its name.
#[expect(
    deprecated,
    reason = "its successor is unsafe code; the device owns its descriptor for longer than it is waited for"
)]
fn open(subnet: Subnet, mtu: u16) -> Result<(String, AsyncFd<TunTapInterface>), NoDevice> {
    let mut last = None;
    for number in 0..NAMES {
        let name = format!("mesh{number}");
        match TunTapInterface::new(&name, Medium::Ip) {
            Ok(device) => {
                let set_up = netlink::set_up(&name, subnet.server(), subnet.prefix(), mtu.min(LARGEST));
                let set_up = set_up.and_then(|()| AsyncFd::new(device));
                return match set_up {
                    Ok(device) => Ok((name, device)),
                    Err(source) => Err(NoDevice::SetUp { name, subnet, source }),
                };
            }
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => last = Some(e),
            Err(e) => return Err(NoDevice::Make(e)),
        }
    }
    Err(NoDevice::Make(last.unwrap_or_else(|| io::ErrorKind::ResourceBusy.into())))
}

/// While it is there, the hub sends packets for the machine to the device.
struct Open {
    hub: Arc<Hub>,
    name: String,
}

impl Open {
    fn begin(hub: Arc<Hub>, name: String) -> Self {
        hub.outside.open();
        Self { hub, name }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.hub.outside.close();
        tracing::error!(name = self.name, "the TUN device is lost: the server's own address is the switch's again");
    }
}

struct Carrying {
    hub: Arc<Hub>,
    device: AsyncFd<TunTapInterface>,
    wakes: Wakes,
}

impl Carrying {
    /// Ready when the device cannot be waited for.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.outward(cx);
        let inward = self.inward(cx);
        self.wakes.wake(&self.hub);
        inward
    }

    fn inward(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        for _ in 0..PACKETS_IN_A_ROW {
            let mut ready = match ready!(self.device.poll_read_ready_mut(cx)) {
                Ok(ready) => ready,
                Err(e) => return Poll::Ready(e),
            };
            match ready.get_inner_mut().receive(Instant::ZERO) {
                Some((packet, _)) => packet.consume(|packet| self.hub.enter(packet, &mut self.wakes)),
                None => ready.clear_ready(),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// To the device, which takes a packet at once or loses it. What waits now, and no more: nodes that send without end must not
    /// keep those away to whom the machine sends.
    fn outward(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(arrived) = self.hub.outside.poll_take(cx) {
            cx.waker().wake_by_ref();
            for Arrived { packet, .. } in arrived {
                if let Some(token) = self.device.get_mut().transmit(Instant::ZERO) {
                    token.consume(packet.len(), |room| room.copy_from_slice(&packet));
                }
            }
        }
    }
}
