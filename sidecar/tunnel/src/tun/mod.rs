//! An address of the tunnel on a TUN device of this machine (NC section 8, data plane): opt-in, and it wants CAP_NET_ADMIN.
//!
//! With it the machine itself is in the network. At the server it has x.x.x.1, reaches nodes, and is reached by them at the ports that
//! its own firewall lets them reach; port 6440 and the forwards stay with the switch, which knows whose a connection is. At a node it
//! has the node's address.
//!
//! A thread of its own has the device, as the library that makes it keeps it to one. Where the device is lost, it is made again, and in
//! the meantime there is none.
//!
//! ```text
//! device.rs    the device, and packets in and out
//! contained.rs what the library says by a panic
//! netlink.rs   its address, its largest packet, and that it is up
//! server.rs    the hub at its other end
//! ```

mod contained;
mod device;
mod netlink;
mod server;

use std::{
    future::poll_fn,
    io,
    net::Ipv4Addr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use self::device::{Carrying, Opened};
pub use self::server::serve;

/// When a device that was lost is made again: at first, and at last.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(30);

/// What a device is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The machine's address in the tunnel.
    pub(crate) address: Ipv4Addr,
    /// The length of the network's prefix.
    pub(crate) prefix: u8,
    /// The largest packet.
    pub(crate) mtu: u16,
}

/// The other end of a device.
pub(crate) trait Wire: Send + 'static {
    /// There is a device from now on, or there is none.
    fn has_device(&mut self, has: bool);

    /// Packets for the machine, put behind those that are there. `false`: there will be no more, and the device goes.
    fn poll_take(&mut self, cx: &mut Context<'_>, packets: &mut Vec<Vec<u8>>) -> Poll<bool>;

    /// A packet of the machine.
    fn bring(&mut self, packet: &[u8]);

    /// There are no more of them for now.
    fn brought(&mut self);
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum NoDevice {
    /// This machine does not let it be made.
    #[error("a TUN device cannot be made: it wants CAP_NET_ADMIN and /dev/net/tun ({0})")]
    Make(io::Error),
    /// Other interfaces have all its names.
    #[error(
        "a TUN device cannot be made: interfaces of others are called {first} to {last}; rename or remove one ({source})"
    )]
    Names {
        /// The first name that was tried.
        first: String,
        /// The last one.
        last: String,
        /// What the kernel says of it.
        source: io::Error,
    },
    /// It is there, and not as it shall be.
    #[error("the TUN device {name} cannot be given {address}/{prefix}: {source}")]
    SetUp {
        /// What it is called.
        name: String,
        /// What it was to be given.
        address: Ipv4Addr,
        /// The length of the network's prefix.
        prefix: u8,
        /// What the kernel says.
        source: io::Error,
    },
    /// It cannot be waited for.
    #[error("the TUN device does not wait: {0}")]
    Wait(io::Error),
    /// It was there.
    #[error("somebody deleted it or switched it off, or the kernel took no packet for it")]
    Gone,
    /// Its thread.
    #[error("the thread of the TUN device: {0}")]
    Thread(io::Error),
}

/// Finds out whether this machine lets a device be made: makes one and takes it away again.
///
/// # Errors
/// See [`NoDevice`].
pub fn try_out() -> Result<(), NoDevice> {
    device::make().map(drop)
}

/// Makes a device, and carries packets between it and `wire` until that is over. Answers what the device is called, which takes a moment
/// of the caller's.
///
/// # Errors
/// See [`NoDevice`].
pub(crate) fn keep(plan: Plan, wire: impl Wire) -> Result<String, NoDevice> {
    let (tell, told) = mpsc::sync_channel(1);
    let keeper = Keeper { plan, wire, tell: Some(tell) };
    thread::Builder::new().name("tun".into()).spawn(move || keeper.run()).map_err(NoDevice::Thread)?;
    told.recv().unwrap_or_else(|_| Err(NoDevice::Make(io::Error::other("it did not begin"))))
}

struct Keeper<W> {
    plan: Plan,
    wire: W,
    /// Who waits for the first one.
    tell: Option<mpsc::SyncSender<Result<String, NoDevice>>>,
}

impl<W: Wire> Keeper<W> {
    fn run(mut self) {
        let mut pause = SOON;
        loop {
            let begun = Instant::now();
            let ended = catch_unwind(AssertUnwindSafe(|| self.once()));
            self.wire.has_device(false);
            let why = match (ended, self.tell.take()) {
                (Ok(Ok(())), _) => return,
                (Ok(Err(e)), Some(tell)) => return drop(tell.send(Err(e))),
                (Err(_), Some(_)) => return,
                (Ok(Err(e)), None) => e.to_string(),
                // A bug of ours, which is in the log: the machine is in the network all the same.
                (Err(_), None) => "its thread panicked".to_owned(),
            };
            if begun.elapsed() > LATE {
                pause = SOON;
            }
            tracing::error!(?pause, "the TUN device is lost, and is made again: {why}");
            rest(pause);
            pause = (pause * 2).min(LATE);
        }
    }

    /// One device, until it is lost or the other end is over.
    fn once(&mut self) -> Result<(), NoDevice> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NoDevice::Thread)?;
        runtime.block_on(async {
            let Opened { name, number, device } = device::open(self.plan)?;
            self.wire.has_device(true);
            match self.tell.take() {
                Some(tell) => drop(tell.send(Ok(name))),
                None => {
                    tracing::warn!(name, "the TUN device is there again, without routes that led to the one before");
                }
            }
            let mut carrying = Carrying::new((number, device), &mut self.wire);
            poll_fn(|cx| carrying.poll(cx)).await
        })
    }
}

/// The thread has nothing else to do.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, which serves nobody")]
fn rest(pause: Duration) {
    thread::sleep(pause);
}
